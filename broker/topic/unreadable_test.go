package topic

import (
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/vfs"
)

// TestADiskThatCannotBeReadIsToldNowAndThen: a consumer comes to messages that cannot be read. It is tried again all the time, logged every ten seconds, and
// all of them come once they can be read.
func TestADiskThatCannotBeReadIsToldNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged strings.Builder
		disk := vfs.NewFaulty(vfs.NewMem())
		cfg := config()
		makeDurable(&cfg)
		cfg.MemQueueSize, cfg.Segments = 10, smallSegments{disk}
		cfg.Log = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelWarn}))
		topic := mustTopic(t, start(t, cfg), "t")
		mustChannel(t, topic, "c")
		padded(t, topic, 500, 2000, 0)
		disk.SetRules(vfs.Rule{Ops: vfs.OpRead, Err: syscall.EIO})
		s := mustSubscribe(t, topic, "c", 1000, SubscribeOptions{})
		got := 0
		for range 600 {
			got += drain(s)
			time.Sleep(100 * time.Millisecond)
		}
		if n := strings.Count(logged.String(), "reading messages from disk"); n < 2 || n > 8 || !strings.Contains(logged.String(), "left_out=") {
			t.Errorf("in a minute it is logged %d times:\n%.2000s", n, logged.String())
		}
		disk.SetRules()
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			got += drain(s)
		}
		if got != 500 {
			t.Errorf("%d messages have come", got)
		}
		_ = s.Close()
	})
}
