package session

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"brokerd/broker/topic"
	"brokerd/protocol/prototest"
)

// elsewhere is the way to who leads.
type elsewhere struct {
	mu   sync.Mutex
	err  error
	sent []string
}

func (e *elsewhere) Publish(name string, b *topic.Batch, delay time.Duration) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sent = append(e.sent, fmt.Sprint(name, " ", b.Len(), " ", delay))
	if e.err == nil {
		b.Reset()
	}
	return e.err
}

// TestPublishesToATopicThatAnotherBrokerLeads: they go there, those that came together as one; a refusal leaves the connection open, and a topic that is not
// replicated any more is made here.
func TestPublishesToATopicThatAnotherBrokerLeads(t *testing.T) {
	e := &elsewhere{}
	replicated := true
	inBubble(t, func(cfg *Config, topics *topic.Config) {
		cfg.Forward = e
		topics.Elsewhere = func(name string) error {
			if e.mu.Lock(); name == "r" && replicated {
				e.mu.Unlock()
				return topic.ErrElsewhere
			}
			e.mu.Unlock()
			return nil
		}
	}, func(w *world) {
		two := strings.TrimPrefix(prototest.Mpub("r", "m", "n"), "MPUB r\n")
		p := w.dial()
		p.Send("PUB r\n" + prototest.Body("m") + "PUB r\n" + prototest.Body("m") + "MPUB r\n" + two + "DPUB r 2000\n" + prototest.Body("m") + "PUB t\n" + prototest.Body("m"))
		for range 5 {
			p.Expect("OK")
		}
		if want := []string{"r 2 0s", "r 2 0s", "r 1 2s"}; !slices.Equal(e.sent, want) {
			t.Errorf("sent %q, want %q", e.sent, want)
		}
		if w.topic().Stats().Depth != 1 {
			t.Error("a topic of this broker was published to elsewhere")
		}
		p.Send("PUB r\n" + prototest.Body("m") + "PUB r dedup=a\n" + prototest.Body("m") + "PUB r key=k\n" + prototest.Body("m") + "MPUB r acks=1 dedup=a\n" + two + "PUB r acks=0\n" + prototest.Body("m"))
		p.Expect("OK")
		for _, verb := range []string{"PUB", "PUB", "MPUB"} {
			p.ExpectError("E_" + verb + "_FAILED " + verb + " failed " + topic.ErrLedKeys.Error())
		}
		p.Expect("OK")
		if want := []string{"r 1 0s", "r 1 0s"}; !slices.Equal(e.sent[3:], want) {
			t.Errorf("sent %q beside what is refused, want %q", e.sent[3:], want)
		}
		for _, err := range []error{topic.ErrElsewhere, topic.ErrNotLeader, errors.New("there is no room")} {
			e.err = err
			p.Send("PUB r\n" + prototest.Body("m") + "DPUB r 5\n" + prototest.Body("m") + "MPUB r\n" + two)
			p.ExpectError("E_PUB_FAILED PUB failed " + err.Error())
			p.ExpectError("E_DPUB_FAILED DPUB failed " + err.Error())
			p.ExpectError("E_MPUB_FAILED MPUB failed " + err.Error())
		}
		e.mu.Lock()
		e.err = topic.ErrLedTTL
		e.mu.Unlock()
		q := w.dial()
		q.Send("PUB r ttl=30s\n" + prototest.Body("m"))
		q.ExpectError("E_BAD_MESSAGE PUB failed not with a replicated topic yet: a message's own ttl")
		e.mu.Lock()
		e.err, replicated = topic.ErrNotReplicated, false
		e.mu.Unlock()
		p.Send("PUB r\n" + prototest.Body("m"))
		p.Expect("OK")
	})
}

// late is a way to who leads, on which publishes take long.
type late time.Duration

func (l late) Publish(_ string, b *topic.Batch, _ time.Duration) error {
	time.Sleep(time.Duration(l))
	b.Reset()
	return nil
}

// TestHeartbeatsWhileAPublishWaits: a client hears the broker as often as it has asked for, whatever keeps its publish, and its answer comes behind that.
func TestHeartbeatsWhileAPublishWaits(t *testing.T) {
	for _, c := range []struct {
		interval, beats int
		find            time.Duration // how long it takes to learn that the topic is elsewhere, twice
	}{{1000, 4, 0}, {2000, 2, 0}, {60000, 0, 0}, {1000, 4, 2 * time.Second}} {
		inBubble(t, func(cfg *Config, topics *topic.Config) {
			cfg.Forward, cfg.Wait = late(4500*time.Millisecond-2*c.find), 5*time.Second
			topics.Elsewhere = func(string) error {
				time.Sleep(c.find)
				return topic.ErrElsewhere
			}
		}, func(w *world) {
			p := w.dial()
			p.Send("IDENTIFY\n" + prototest.Body(fmt.Sprintf(`{"heartbeat_interval":%d}`, c.interval)))
			p.Expect("OK")
			began := time.Now()
			p.Send(prototest.Pub("r", "m"))
			beats := 0
			for {
				f, err := p.ReadAny()
				if err != nil {
					t.Fatal(err)
				}
				if string(f.Payload) == "OK" {
					break
				}
				beats++
				if due := time.Duration(beats*c.interval) * time.Millisecond; time.Since(began) != due {
					t.Errorf("heartbeat %d after %v, want %v", beats, time.Since(began), due)
				}
			}
			if took := time.Since(began); beats != c.beats || took != 4500*time.Millisecond {
				t.Errorf("interval %d: %d heartbeats, and an answer after %v", c.interval, beats, took)
			}
		})
	}
}
