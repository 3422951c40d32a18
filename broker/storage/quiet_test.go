package storage

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestALogOfAFullDiskIsShort: a thousand failures a minute are a few lines, and none is forgotten; what a start finds is told whole.
func TestALogOfAFullDiskIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log, said := newQuiet(slog.New(slog.NewTextHandler(&out, nil)))
		for range 100 {
			log.Error("damage")
		}
		if n := strings.Count(out.String(), "damage"); n != 100 {
			t.Errorf("before the start %d of 100 lines", n)
		}
		said.on.Store(true)
		out.Reset()
		for range 1000 {
			log.With("file", 1).Error("no space")
			log.Info("all is well")
			time.Sleep(60 * time.Millisecond)
		}
		lines := strings.Count(out.String(), "no space")
		if lines < quietBurst || lines > quietBurst+7 || strings.Count(out.String(), "all is well") != 1000 {
			t.Errorf("%d lines of 1000 in a minute, and %d of another 1000", lines, strings.Count(out.String(), "all is well"))
		}
		out.Reset()
		time.Sleep(time.Hour)
		log.Error("no space")
		if !strings.Contains(out.String(), "left_out=") {
			t.Errorf("after an hour: %q", out.String())
		}
	})
}
