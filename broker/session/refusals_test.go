package session

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/protocol"
)

func TestRefusedCommandIsCountedAndLoggedWithItsReason(t *testing.T) {
	var text bytes.Buffer
	log := func(c *Config, _ *topic.Config) { c.Log = slog.New(slog.NewTextHandler(&text, nil)) }
	inBubble(t, log, func(w *world) {
		c := w.subscribed(`{"client_id":"worker-7"}`, "1")
		c.Send("FIN 0123456789abcdef\n")
		c.ExpectError("E_FIN_FAILED FIN 0123456789abcdef failed ID not in flight")
		c.Send("RDY many\n")
		c.ExpectError("E_INVALID RDY could not parse count many")
		<-w.ended
		want := map[protocol.Code]uint64{protocol.CodeFinFailed: 1, protocol.CodeInvalid: 1}
		if got := w.server.Refused(); len(got) != 2 || got[protocol.CodeFinFailed] != 1 || got[protocol.CodeInvalid] != 1 {
			t.Errorf("counted %v, wanted %v", got, want)
		}
		for _, part := range []string{"command refused", "client=worker-7", "topic=t", "channel=c", "code=E_FIN_FAILED", "code=E_INVALID",
			`reason="RDY could not parse count many"`} {
			if !strings.Contains(text.String(), part) {
				t.Errorf("the log lacks %s:\n%s", part, &text)
			}
		}
	})
}

// TestClientThatIsRefusedOftenGetsFewLines, on many connections too, and another client still gets its own.
func TestClientThatIsRefusedOftenGetsFewLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRefusals(nil)
		lines := 0
		for range 1000 {
			if say, _ := r.count("10.0.0.1", protocol.CodeInvalid, 1, time.Now()); say {
				lines++
			}
		}
		if lines != refusalBurst {
			t.Errorf("%d lines at once", lines)
		}
		if say, dropped := r.count("10.0.0.2", protocol.CodeInvalid, 1, time.Now()); !say || dropped != 0 {
			t.Error("another client has no line, or others' refusals")
		}
		time.Sleep(time.Second)
		if say, dropped := r.count("10.0.0.1", protocol.CodeInvalid, 1, time.Now()); !say || dropped != 1000-refusalBurst {
			t.Errorf("after a second: %v, %d not logged", say, dropped)
		}
		if n := r.counts()[protocol.CodeInvalid]; n != 1002 {
			t.Errorf("%d refusals counted", n)
		}
	})
}

func TestManyRefusedClientsCostNoMemory(t *testing.T) {
	r := newRefusals(nil)
	now := time.Now()
	for i := range 10 * maxRefused {
		r.count(string(rune('a'+i%26))+time.Duration(i).String(), protocol.CodeInvalid, 1, now)
	}
	if n := len(r.clients); n > maxRefused+1 {
		t.Errorf("%d clients are remembered", n)
	}
}
