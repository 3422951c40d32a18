package session

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/protocol"
	"brokerd/protocol/prototest"
)

func everyMillis(n int) func(*Config, *topic.Config) {
	return func(c *Config, _ *topic.Config) { c.HeartbeatInterval = time.Duration(n) * time.Millisecond }
}

// TestSilentClientIsDropped: a consumer that answers nothing hears one heartbeat and is gone after two intervals, and what it
// had in flight is another's.
func TestSilentClientIsDropped(t *testing.T) {
	inBubble(t, everyMillis(75), func(w *world) {
		c := w.dial()
		c.Send("SUB t c\nRDY 1\n")
		c.Expect("OK")
		w.publish("x")
		c.ExpectMessage("x", 1)
		frames, end := w.listen(c)
		if f := <-frames; f.at != 75*time.Millisecond || string(f.Payload) != protocol.Heartbeat {
			t.Errorf("heard %v at %v", f, f.at)
		}
		if at := <-end; at != 150*time.Millisecond {
			t.Errorf("closed at %v", at)
		}
		if err := <-w.ended; !errors.Is(err, errSilent) {
			t.Errorf("the session ended with %v", err)
		}
		if s := w.channel(); s.Depth != 1 || s.InFlight != 0 || s.Consumers != 0 || s.DisconnectRequeueCount != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// TestNopsKeepAlive: heartbeats come on time for as long as the client answers, whatever else it does.
func TestNopsKeepAlive(t *testing.T) {
	inBubble(t, everyMillis(100), func(w *world) {
		c := w.dial()
		frames, _ := w.listen(c)
		for i := 1; i <= 20; i++ {
			f := <-frames
			if want := time.Duration(i) * 100 * time.Millisecond; f.at != want || string(f.Payload) != protocol.Heartbeat {
				t.Fatalf("heard %v at %v, want a heartbeat at %v", f, f.at, want)
			}
			time.Sleep(50 * time.Millisecond)
			c.Send("NOP\n")
		}
	})
}

// TestHeartbeatsGoOnUnderTraffic: a producer that never pauses and never identified hears them too.
func TestHeartbeatsGoOnUnderTraffic(t *testing.T) {
	inBubble(t, everyMillis(100), func(w *world) {
		c := w.dial()
		frames, _ := w.listen(c)
		for range 100 {
			c.Send(prototest.Pub("t", "x"))
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		beats, oks := 0, 0
		for len(frames) > 0 {
			if f := <-frames; string(f.Payload) == protocol.Heartbeat {
				beats++
			} else {
				oks++
			}
		}
		if beats < 9 || beats > 10 || oks != 100 {
			t.Errorf("%d heartbeats and %d answers in a second", beats, oks)
		}
	})
}

// TestHeartbeatInterval: a client has the interval that it asks for.
func TestHeartbeatInterval(t *testing.T) {
	inBubble(t, nil, func(w *world) {
		frames, end := w.listen(w.identify(`{"heartbeat_interval":1000}`))
		if f := <-frames; f.at != time.Second {
			t.Errorf("heard %v at %v", f, f.at)
		}
		if at := <-end; at != 2*time.Second {
			t.Errorf("closed at %v", at)
		}
	})
}

// TestHeartbeatsOff: a client without heartbeats hears none, and may be silent for as long as it likes.
func TestHeartbeatsOff(t *testing.T) {
	inBubble(t, everyMillis(75), func(w *world) {
		c := w.identify(`{"heartbeat_interval":-1}`)
		frames, _ := w.listen(c)
		time.Sleep(10 * time.Hour)
		noneYet(t, frames)
		c.Send(prototest.Pub("t", "x"))
		if f := <-frames; string(f.Payload) != protocol.OK {
			t.Errorf("heard %v", f)
		}
	})
}

// TestBodyThatDribbles: the time for a command includes its body, however many bytes keep coming.
func TestBodyThatDribbles(t *testing.T) {
	inBubble(t, everyMillis(100), func(w *world) {
		c := w.dial()
		frames, end := w.listen(c)
		c.Send("PUB t\n" + prototest.I32(1000))
		for c.Write("x") == nil {
			time.Sleep(30 * time.Millisecond)
		}
		if at := <-end; at < 200*time.Millisecond || at > 300*time.Millisecond {
			t.Errorf("closed at %v", at)
		}
		var last prototest.Frame
		for f := range frames {
			last = f.Frame
		}
		if string(last.Payload) != "E_BAD_MESSAGE PUB failed to read message body" {
			t.Errorf("the last frame is %v", last)
		}
	})
}

// TestMagicIsAwaitedForAWhile: whoever connects and says nothing is not kept.
func TestMagicIsAwaitedForAWhile(t *testing.T) {
	for _, said := range []string{"", "  V"} {
		inBubble(t, nil, func(w *world) {
			c := w.raw()
			if said != "" {
				c.Send(said)
			}
			c.ExpectClosed()
			w.at(magicTimeout)
		})
	}
}

// TestClientThatDoesNotRead: one that takes nothing from its socket is dropped within a heartbeat interval or so, and its
// messages are another's at once.
func TestClientThatDoesNotRead(t *testing.T) {
	inBubble(t, everyMillis(1000), func(w *world) {
		deaf := w.dial()
		deaf.Send("SUB t c\nRDY 10\n")
		deaf.Expect("OK")
		w.publish("a", "b", "c")
		synctest.Wait()
		c := w.identify(`{"heartbeat_interval":10000}`)
		c.Send("SUB t c\nRDY 10\n")
		c.Expect("OK")
		for _, body := range []string{"a", "b", "c"} {
			c.ExpectMessage(body, 2)
		}
		if w.now() > 2*time.Second {
			t.Errorf("that took %v", w.now())
		}
		if s := w.channel(); s.DisconnectRequeueCount != 3 || s.TimeoutCount != 0 || s.Consumers != 1 {
			t.Errorf("%+v", s)
		}
	})
}
