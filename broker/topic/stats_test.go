package topic

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"brokerd/protocol"
)

// TestABrokenSumIsLogged: when what became of a channel's messages does not add up the log says so, once for each channel.
func TestABrokenSumIsLogged(t *testing.T) {
	var log bytes.Buffer
	cfg := config()
	cfg.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))
	r := NewRegistry(cfg) // by hand: the books do not add up in the end
	r.Start()
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	topic := mustTopic(t, r, "t")
	for _, name := range []string{"c", "d"} {
		c := mustChannel(t, topic, name)
		publish(t, topic, 1)
		if c.Stats(); log.Len() > 0 {
			t.Fatalf("the log says %s", &log)
		}
		c.machine.Unload(func(protocol.MessageFrame, uint16) {}) // nothing of the product does that: one was accepted and is nowhere
		for range 3 {
			if s := c.Stats(); s.Balanced {
				t.Error("it is called balanced")
			}
		}
		if text := log.String(); strings.Count(text, "does not add up") != 1 || !strings.Contains(text, "level=ERROR") || !strings.Contains(text, "channel="+name) {
			t.Errorf("the log says %q", text)
		}
		log.Reset()
	}
}
