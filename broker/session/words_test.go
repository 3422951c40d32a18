package session

import (
	"strings"
	"testing"

	"brokerd/broker/topic"
	"brokerd/protocol"
	"brokerd/protocol/prototest"
)

// TestWordsBehindTheTopic: those that are not known are passed over as nsqd does; a known one with a bad value fails that publish after its
// body was read, and ends the connection; what came before it is published and answered.
func TestWordsBehindTheTopic(t *testing.T) {
	one := strings.TrimPrefix(prototest.Mpub("t", "m"), "MPUB t\n")
	for name, c := range map[string]struct {
		send  string
		want  []string // answers; the last one is an error when it is no OK
		depth int64
	}{
		"unknown ones":        {"PUB t color=blue x dedups=1 xdedup=1 Dedup= acks2=9\n" + prototest.Body("m") + "MPUB t = a=b\n" + one, []string{"OK", "OK"}, 2},
		"unknown before time": {"DPUB t color=blue 0\n" + prototest.Body("m"), []string{"OK"}, 1},
		"behind the time":     {"DPUB t 0 color=blue more\n" + prototest.Body("m"), []string{"OK"}, 1},
		"two blanks":          {"DPUB t color=blue   soon  0\n", []string{"E_INVALID DPUB could not parse timeout soon"}, 0},
		"no time":             {"DPUB t ttl=1s color=blue\n", []string{"E_INVALID DPUB could not parse timeout ttl=1s"}, 0},
		"bad value": {"PUB t ttl=soon\n" + prototest.Body("m"),
			[]string{"E_BAD_MESSAGE PUB ttl must be a time from 1ms to 365d, as 30s, 12h or 7d"}, 0},
		"too long":   {"MPUB t ttl=366d\n" + one, []string{"E_BAD_MESSAGE MPUB ttl must be a time from 1ms to 365d, as 30s, 12h or 7d"}, 0},
		"empty":      {"PUB t ttl=\n" + prototest.Body("m"), []string{"E_BAD_MESSAGE PUB the word ttl must have 1 to 256 bytes"}, 0},
		"twice":      {"DPUB t ttl=1s ttl=1s 5\n" + prototest.Body("m"), []string{"E_BAD_MESSAGE DPUB the word ttl must be there once"}, 0},
		"bad escape": {"PUB t ttl=%zz\n" + prototest.Body("m"), []string{"E_BAD_MESSAGE PUB the word ttl must be percent-encoded"}, 0},
		"behind good ones": {"PUB t\n" + prototest.Body("m") + "PUB t\n" + prototest.Body("m") + "PUB t ttl=0s\n" + prototest.Body("m") + "PUB t\n" + prototest.Body("m"),
			[]string{"OK", "OK", "E_BAD_MESSAGE PUB ttl must be a time from 1ms to 365d, as 30s, 12h or 7d"}, 2},
		"needs the log": {"PUB t ttl=30s\n" + prototest.Body("m"), []string{"E_BAD_MESSAGE PUB failed " + topic.ErrNoTTL.Error()}, 0},
		"bad acks":      {"PUB t acks=2\n" + prototest.Body("m"), []string{"E_BAD_MESSAGE PUB acks must be 0, 1 or all"}, 0},
		"empty dedup":   {"MPUB t dedup=\n" + one, []string{"E_BAD_MESSAGE MPUB the word dedup must have 1 to 256 bytes"}, 0},
		"long key":      {"PUB t key=" + strings.Repeat("k", 257) + "\n" + prototest.Body("m"), []string{"E_BAD_MESSAGE PUB the word key must have 1 to 256 bytes"}, 0},
		"no log":        {"PUB t dedup=a acks=0 key=k\n" + prototest.Body("m") + "PUB t dedup=a acks=all\n" + prototest.Body("m"), []string{"OK", "OK"}, 2},
		"also deferred": {"DPUB t ttl=30s 5\n" + prototest.Body("m"), []string{"E_BAD_MESSAGE DPUB failed " + topic.ErrNoTTL.Error()}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(w *world) {
				p := w.dial()
				p.Send(c.send)
				for _, want := range c.want {
					if want == "OK" {
						p.Expect(want)
						continue
					}
					p.ExpectError(want)
					p.ExpectClosed()
				}
				if got := w.topic().Stats().Depth; got != c.depth {
					t.Errorf("depth %d, want %d", got, c.depth)
				}
			})
		})
	}
}

// TestWordsCostNothing when there are none.
func TestWordsCostNothing(t *testing.T) {
	line := []byte("PUB orders")
	if n := testing.AllocsPerRun(100, func() {
		if c := protocol.ParseLine(line); c.Count != 1 || c.Rest != nil {
			t.Error(c)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestBadWordOfABodyThatComesLater: the publishes before it, which do not wait for it, are there once.
func TestBadWordOfABodyThatComesLater(t *testing.T) {
	inBubble(t, nil, func(w *world) {
		p := w.dial()
		p.Send("PUB t\n" + prototest.Body("one") + "PUB t ttl=soon\n")
		p.Expect("OK")
		p.Send(prototest.Body("two"))
		p.ExpectError("E_BAD_MESSAGE PUB ttl must be a time from 1ms to 365d, as 30s, 12h or 7d")
		p.ExpectClosed()
		if got := w.topic().Stats().Depth; got != 1 {
			t.Errorf("depth %d, want 1", got)
		}
	})
}
