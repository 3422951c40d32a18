package session

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/protocol/prototest"
)

// TestMessageTimeout: a message that is not answered comes back when the connection's own timeout has passed, counts as timed
// out and not as requeued, and a late FIN is told so without ending the connection.
func TestMessageTimeout(t *testing.T) {
	inBubble(t, nil, func(w *world) {
		c := w.identify(`{"msg_timeout":1000}`)
		c.Send("SUB t c\nRDY 1\n")
		c.Expect("OK")
		w.publish("x")
		m := c.ExpectMessage("x", 1)
		c.Send("RDY 0\n")
		time.Sleep(999 * time.Millisecond)
		if s := w.channel(); s.InFlight != 1 || s.TimeoutCount != 0 {
			t.Errorf("before: %+v", s)
		}
		time.Sleep(2 * time.Millisecond)
		if s := w.channel(); s.InFlight != 0 || s.Depth != 1 || s.TimeoutCount != 1 || s.RequeueCount != 0 {
			t.Errorf("after: %+v", s)
		}
		c.Send("FIN " + m.ID + "\n")
		c.ExpectError("E_FIN_FAILED FIN " + m.ID + " failed ID not in flight")
		c.Send("RDY 1\n")
		if again := c.ExpectMessage("x", 2); again.ID != m.ID || again.Timestamp != m.Timestamp {
			t.Errorf("came back as %+v, was %+v", again, m)
		}
	})
}

// TestManyTimeouts: 250 messages that are in flight for 100 ms are all back right then.
func TestManyTimeouts(t *testing.T) {
	inBubble(t, func(c *Config, _ *topic.Config) { c.MsgTimeout = 100 * time.Millisecond }, func(w *world) {
		c := w.dial()
		c.Send("SUB t c\nRDY 250\n")
		c.Expect("OK")
		for i := range 250 {
			w.publish(fmt.Sprint(i))
		}
		for range 250 {
			c.Next()
		}
		if s := w.channel(); s.InFlight != 250 {
			t.Fatalf("%+v", s)
		}
		c.Send("RDY 0\n")
		time.Sleep(101 * time.Millisecond)
		if s := w.channel(); s.InFlight != 0 || s.Depth != 250 || s.TimeoutCount != 250 {
			t.Errorf("%+v", s)
		}
	})
}

// TestTouch: each one gives the message the whole timeout again.
func TestTouch(t *testing.T) {
	inBubble(t, func(c *Config, _ *topic.Config) { c.MsgTimeout = 150 * time.Millisecond }, func(w *world) {
		c := w.dial()
		c.Send("SUB t c\nRDY 1\n")
		c.Expect("OK")
		w.publish("x")
		id := c.ExpectMessage("x", 1).ID
		time.Sleep(75 * time.Millisecond)
		c.Send("TOUCH " + id + "\n")
		time.Sleep(149 * time.Millisecond)
		c.Send("TOUCH " + id + "\n")
		time.Sleep(149 * time.Millisecond)
		c.Send("FIN " + id + "\n")
		synctest.Wait()
		if s := w.channel(); s.TimeoutCount != 0 || s.InFlight != 0 || s.Depth != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestTouchHasALimit: counted from the delivery, which TOUCH does not move.
func TestTouchHasALimit(t *testing.T) {
	inBubble(t, func(c *Config, tc *topic.Config) {
		c.MsgTimeout, tc.MaxMsgTimeout = 150*time.Millisecond, 400*time.Millisecond
	}, func(w *world) {
		c := w.dial()
		c.Send("SUB t c\nRDY 1\n")
		c.Expect("OK")
		w.publish("x")
		id := c.ExpectMessage("x", 1).ID
		for range 3 {
			time.Sleep(100 * time.Millisecond)
			c.Send("TOUCH " + id + "\n")
		}
		c.ExpectMessage("x", 2)
		w.at(400 * time.Millisecond)
	})
}

// TestRequeueDelay: at once, when it is due, and at the limit when it was to be later than that.
func TestRequeueDelay(t *testing.T) {
	inBubble(t, func(c *Config, tc *topic.Config) {
		c.MaxReqTimeout, c.MaxDefer, tc.MaxReqTimeout = time.Minute, time.Minute, time.Minute
	}, func(w *world) {
		c := w.dial()
		c.Send("SUB t c\nRDY 1\n")
		c.Expect("OK")
		w.publish("x")
		id := c.ExpectMessage("x", 1).ID
		c.Send("REQ " + id + " 0\n")
		c.ExpectMessage("x", 2)
		w.at(0)
		c.Send("REQ " + id + " 500\n")
		synctest.Wait()
		if s := w.channel(); s.Deferred != 1 || s.Depth != 0 || s.RequeueCount != 2 {
			t.Errorf("%+v", s)
		}
		c.ExpectMessage("x", 3)
		w.at(500 * time.Millisecond)
		c.Send("REQ " + id + " 120000\n")
		frames, _ := w.listen(c)
		time.Sleep(30*time.Second + time.Millisecond) // a heartbeat is due at 30 s
		c.Send("NOP\n")
		for f := range frames {
			if f.Type == prototest.Message {
				if m := f.Message(); m.Attempts != 4 || f.at != time.Minute+500*time.Millisecond {
					t.Errorf("attempt %d at %v", m.Attempts, f.at)
				}
				break
			}
		}
	})
}

// TestDeferredPublish: neither early nor late, and counted as deferred meanwhile.
func TestDeferredPublish(t *testing.T) {
	inBubble(t, nil, func(w *world) {
		c := w.dial()
		c.Send("SUB t c\nRDY 2\n")
		c.Expect("OK")
		c.Send("DPUB t 1000\n" + prototest.Body("later"))
		c.Expect("OK")
		if s := w.channel(); s.Deferred != 1 || s.MessageCount != 1 || s.Depth != 0 {
			t.Errorf("%+v", s)
		}
		c.ExpectMessage("later", 1)
		w.at(time.Second)
	})
}

// TestSampling: of ten thousand messages about 42 percent are delivered, and the others are gone.
func TestSampling(t *testing.T) {
	inBubble(t, func(c *Config, _ *topic.Config) { c.MaxRdyCount = 10000 }, func(w *world) {
		c := w.identify(`{"sample_rate":42}`)
		c.Send("SUB t c\n")
		c.Expect("OK")
		for range 10000 {
			w.publish("x")
		}
		frames, _ := w.listen(c)
		c.Send("RDY 10000\n")
		synctest.Wait()
		if s := w.channel(); s.Depth != 0 || s.InFlight < 3700 || s.InFlight > 4700 || len(frames) != s.InFlight {
			t.Errorf("%+v, %d frames", s, len(frames))
		}
	})
}

// TestDisconnectReturnsMessages: at once, with their attempts counted, apart from requeues and timeouts in the figures.
func TestDisconnectReturnsMessages(t *testing.T) {
	inBubble(t, nil, func(w *world) {
		first := w.dial()
		first.Send("SUB t c\nRDY 2\n")
		first.Expect("OK")
		second := w.dial()
		second.Send("SUB t c\n")
		second.Expect("OK")
		w.publish("a", "b", "c")
		id := first.ExpectMessage("a", 1).ID
		first.ExpectMessage("b", 1)
		first.Send("FIN " + id + "\n")
		first.ExpectMessage("c", 1)
		first.Conn.Close()
		second.Send("RDY 10\n")
		second.ExpectMessage("b", 2)
		second.ExpectMessage("c", 2)
		w.at(0)
		if s := w.channel(); s.DisconnectRequeueCount != 2 || s.RequeueCount != 0 || s.TimeoutCount != 0 || s.InFlight != 2 {
			t.Errorf("%+v", s)
		}
	})
}

// TestPause: a consumer of a paused channel hears nothing, what it says still counts, and delivery goes on afterwards.
func TestPause(t *testing.T) {
	inBubble(t, nil, func(w *world) {
		c := w.dial()
		c.Send("SUB t c\nRDY 2\n")
		c.Expect("OK")
		w.publish("a")
		id := c.ExpectMessage("a", 1).ID
		w.topic().LookupChannel("c").SetPaused(true)
		frames, _ := w.listen(c)
		w.publish("b")
		c.Send("REQ " + id + " 0\n")
		noneYet(t, frames)
		if s := w.channel(); s.Depth != 2 || s.InFlight != 0 || !s.Paused {
			t.Errorf("%+v", s)
		}
		w.topic().LookupChannel("c").SetPaused(false)
		got := map[string]uint16{}
		for range 2 {
			m := (<-frames).Message()
			got[string(m.Body)] = m.Attempts
		}
		if got["a"] != 2 || got["b"] != 1 {
			t.Errorf("got %v", got)
		}
	})
}

// TestEmptyTakesCreditBack: what was in flight when the channel was emptied no longer counts against the consumer.
func TestEmptyTakesCreditBack(t *testing.T) {
	inBubble(t, nil, func(w *world) {
		c := w.dial()
		c.Send("SUB t c\nRDY 2\n")
		c.Expect("OK")
		w.publish("a", "b", "c")
		id := c.ExpectMessage("a", 1).ID
		c.ExpectMessage("b", 1)
		if err := w.topic().LookupChannel("c").Empty(); err != nil {
			t.Fatal(err)
		}
		if s := w.channel(); s.Depth != 0 || s.InFlight != 0 {
			t.Errorf("%+v", s)
		}
		w.publish("d", "e")
		c.ExpectMessage("d", 1)
		c.ExpectMessage("e", 1)
		c.Send("FIN " + id + "\n")
		c.ExpectError("E_FIN_FAILED FIN " + id + " failed ID not in flight")
	})
}

// TestDeletedChannelClosesItsConsumers without a word, as it does in NSQ.
func TestDeletedChannelClosesItsConsumers(t *testing.T) {
	inBubble(t, nil, func(w *world) {
		c := w.dial()
		c.Send("SUB t c\nRDY 1\n")
		c.Expect("OK")
		other := w.dial()
		other.Send("SUB t d\n")
		other.Expect("OK")
		if err := w.topic().DeleteChannel("c"); err != nil {
			t.Fatal(err)
		}
		c.ExpectClosed()
		if err := w.registry.DeleteTopic("t"); err != nil {
			t.Fatal(err)
		}
		other.ExpectClosed()
		again := w.dial()
		again.Send(prototest.Pub("t", "x"))
		again.Expect("OK")
	})
}
