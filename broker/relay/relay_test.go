package relay_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/prototest"
)

// The rows are those of the list of faults of comparable systems, and of what the design says happens when, that this package's tests were made of.

// expectBodies demands what a client has got, with attempts, in order.
func expectBodies(t *testing.T, c *client, want ...string) {
	t.Helper()
	if got := c.bodies(); !slices.Equal(got, want) {
		t.Fatalf("it got %q, want %q", got, want)
	}
}

// expectErrors demands what errors a client was told since it connected: their codes.
func expectErrors(t *testing.T, c *client, want ...string) {
	t.Helper()
	var got []string
	for _, e := range c.told() {
		code, _, _ := strings.Cut(e, " ")
		got = append(got, code)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("it was told %q, want %q", c.told(), want)
	}
}

// clients returns the clients of channel c, as /stats of who leads lists them.
func (w *world) clients() (list []httpapi.Client) {
	for _, s := range w.leader().registry.Lookup("orders").LookupChannel("c").Subscriptions() {
		list = append(list, s.Owner().(interface{ Stats() httpapi.Client }).Stats())
	}
	return list
}

// What a client says to a broker that does not lead counts at the one that does, which lists it with that broker.
func TestAnswersOfARelayedConsumerCountAtTheLeader(t *testing.T) {
	inBubble(t, 2, func(w *world) {
		w.lead(w.nodes[0])
		c := w.nodes[1].consume(10, `{"client_id":"far","hostname":"h","user_agent":"test/1"}`, nil)
		w.publish("a", "b", "c")
		settle()
		expectBodies(t, c, "a/1", "b/1", "c/1")
		if s := w.channel(); s.InFlight != 3 || s.Consumers != 1 {
			t.Fatalf("at the leader: %+v", s)
		}
		list := w.clients()
		if len(list) != 1 || list[0].Via != "n2" || list[0].ClientID != "far" || list[0].ReadyCount != 10 || list[0].InFlightCount != 3 || list[0].UserAgent != "test/1" || list[0].State != 3 {
			t.Fatalf("the leader lists %+v", list)
		}
		c.say("FIN", c.id("a"))
		c.say("REQ", c.id("b"))
		c.say("FIN", c.id("a")) // again: the client has it no more
		settle()
		expectBodies(t, c, "a/1", "b/1", "c/1", "b/2")
		expectErrors(t, c, "E_FIN_FAILED")
		if s := w.channel(); s.InFlight != 2 || s.Counts.Finished != 1 || s.RequeueCount != 1 {
			t.Fatalf("at the leader: %+v", s)
		}
		time.Sleep(50 * time.Second)
		c.say("TOUCH", c.id("c"))
		time.Sleep(20 * time.Second)
		settle()
		expectBodies(t, c, "a/1", "b/1", "c/1", "b/2", "b/3") // its time was over, that of c is longer now
		time.Sleep(time.Minute)
		settle()
		c.say("TOUCH", c.id("b")) // from long ago
		settle()
		if s := w.channel(); s.TimeoutCount < 3 {
			t.Fatalf("at the leader: %+v", s)
		}
	})
}

// An answer that comes too late is refused by who leads, and the client is told so.
func TestAnAnswerThatComesTooLateIsRefused(t *testing.T) {
	inBubble(t, 2, func(w *world) {
		w.lead(w.nodes[0])
		c := w.nodes[1].consume(1, `{"msg_timeout":1000}`, nil)
		w.publish("a")
		settle()
		late := c.id("a")
		c.tell("RDY 0\n")
		time.Sleep(2 * time.Second)
		c.say("FIN", late)
		settle()
		expectErrors(t, c, "E_FIN_FAILED")
		if s := w.channel(); s.TimeoutCount != 1 || s.Depth != 1 || s.Counts.Finished != 0 {
			t.Fatalf("at the leader: %+v", s)
		}
	})
}

// The lead goes from one broker to another while a client of a third has all that it may: its connection stays, what it has is not its own any
// more, and it gets new messages only as it answers the old ones.
func TestLeadMovesWithMessagesInFlight(t *testing.T) {
	inBubble(t, 3, func(w *world) {
		w.lead(w.nodes[0])
		c := w.nodes[2].consume(3, "", nil)
		w.publish("a", "b", "c", "d", "e")
		settle()
		expectBodies(t, c, "a/1", "b/1", "c/1")
		w.lead(w.nodes[1])
		settle()
		expectBodies(t, c, "a/1", "b/1", "c/1") // it has three
		if list := w.clients(); len(list) != 1 || list[0].ReadyCount != 0 || list[0].Via != "n3" {
			t.Fatalf("the new leader lists %+v", list)
		}
		c.say("FIN", c.id("b"))
		settle()
		expectErrors(t, c, "E_FIN_FAILED")
		expectBodies(t, c, "a/1", "b/1", "c/1", "a/2")
		c.say("REQ", c.id("c"))
		c.say("TOUCH", c.id("b"))
		settle()
		expectErrors(t, c, "E_FIN_FAILED", "E_REQ_FAILED", "E_TOUCH_FAILED")
		if c.most != 3 {
			t.Fatalf("it had %d at once, and may have 3", c.most)
		}
		c.mu.Lock()
		c.answer = fin
		var ids []string
		for id := range c.holds {
			for range c.holds[id] {
				ids = append(ids, id)
			}
		}
		c.mu.Unlock()
		for _, id := range ids {
			c.say("FIN", id)
		}
		settle()
		if s := w.channel(); s.Counts.Finished != 5 || s.Depth+int64(s.InFlight) != 0 {
			t.Fatalf("at the new leader: %+v, and it got %q, %q", s, c.bodies(), c.told())
		}
		if c.most != 3 || c.left() {
			t.Fatalf("it had %d at once, closed %v", c.most, c.left())
		}
	})
}

// What a client never answers counts until its time is over, and no longer.
func TestWhatIsNotAnsweredCountsUntilItsTimeIsOver(t *testing.T) {
	inBubble(t, 3, func(w *world) {
		w.lead(w.nodes[0])
		c := w.nodes[2].consume(2, `{"msg_timeout":5000}`, nil)
		w.publish("a", "b")
		settle()
		time.Sleep(2 * time.Second)
		c.say("TOUCH", c.id("b"))
		settle()
		w.lead(w.nodes[1])
		time.Sleep(2 * time.Second)
		settle()
		expectBodies(t, c, "a/1", "b/1")
		time.Sleep(time.Second) // five seconds since a came
		settle()
		expectBodies(t, c, "a/1", "b/1", "a/2")
		time.Sleep(2 * time.Second)
		settle()
		expectBodies(t, c, "a/1", "b/1", "a/2", "b/2")
		expectErrors(t, c)
	})
}

// A client of the broker that loses the lead is relayed from then on, and is the broker's own again when it has the lead again, without being closed.
func TestLeadGoesFromAClientsBrokerAndComesBack(t *testing.T) {
	inBubble(t, 2, func(w *world) {
		w.lead(w.nodes[0])
		c := w.nodes[0].consume(2, "", nil)
		w.publish("a", "b", "c")
		settle()
		expectBodies(t, c, "a/1", "b/1")
		w.lead(w.nodes[1])
		settle()
		if list := w.clients(); len(list) != 1 || list[0].Via != "n1" || list[0].ReadyCount != 0 {
			t.Fatalf("the new leader lists %+v", list)
		}
		c.say("FIN", c.id("a"))
		settle()
		expectErrors(t, c, "E_FIN_FAILED")
		expectBodies(t, c, "a/1", "b/1", "a/2")
		w.lead(w.nodes[0])
		settle()
		if list := w.clients(); len(list) != 1 || list[0].Via != "" || list[0].InFlightCount != 2 {
			t.Fatalf("the first leader lists %+v", list) // its own figures: two in the client's hands
		}
		c.say("FIN", c.id("a"))
		settle()
		expectBodies(t, c, "a/1", "b/1", "a/2", "a/3")
		c.mu.Lock()
		c.answer = fin
		c.mu.Unlock()
		c.say("FIN", c.id("a"))
		c.say("FIN", c.id("b"))
		settle()
		if s := w.channel(); s.Counts.Finished != 3 || c.most != 2 || c.left() {
			t.Fatalf("at the leader: %+v; it had %d at once, got %q", s, c.most, c.bodies())
		}
	})
}

// An answer that is lost between the client's broker and the one that leads does not count: the message comes again, with its attempts
// counted.
func TestAnAnswerThatIsLostOnItsWayDoesNotCount(t *testing.T) {
	inBubble(t, 3, func(w *world) {
		w.lead(w.nodes[0])
		c := w.nodes[2].consume(1, "", nil)
		w.publish("a")
		settle()
		l := w.wire(w.nodes[2], w.nodes[0])
		l.set(func() { l.held = true })
		c.say("FIN", c.id("a"))
		synctest.Wait()
		w.kill(w.nodes[0])
		w.lead(w.nodes[1])
		settle()
		expectBodies(t, c, "a/1", "a/2")
		expectErrors(t, c)
		c.say("FIN", c.id("a"))
		settle()
		if s := w.channel(); s.Counts.Finished != 1 || c.left() {
			t.Fatalf("at the new leader: %+v", s)
		}
	})
}

// After the lead has moved each message belongs to somebody: what was in flight is delivered again, and the parts add up.
func TestAfterAMoveEachMessageBelongsToSomebody(t *testing.T) {
	inBubble(t, 3, func(w *world) {
		w.lead(w.nodes[0])
		var all []*client
		for _, n := range w.nodes {
			all = append(all, n.consume(4, `{"msg_timeout":10000}`, nil))
		}
		var bodies []string
		for i := range 30 {
			bodies = append(bodies, fmt.Sprint(i))
		}
		w.publish(bodies...)
		settle()
		if s := w.channel(); s.InFlight != 12 {
			t.Fatalf("at the leader: %+v", s)
		}
		w.lead(w.nodes[1])
		time.Sleep(11 * time.Second)
		settle()
		sum := int64(0)
		for _, c := range w.clients() {
			sum += c.InFlightCount
		}
		if s := w.channel(); sum != int64(s.InFlight) || s.InFlight != 12 || !s.Balanced || int(s.Depth)+s.InFlight != 30 {
			t.Fatalf("clients have %d of %+v", sum, s)
		}
		for _, c := range all {
			if c.left() {
				t.Error("a client was closed")
			}
			c.mu.Lock()
			c.answer = fin
			c.mu.Unlock()
		}
		time.Sleep(11 * time.Second)
		settle()
		if s := w.channel(); s.Counts.Finished != 30 || s.InFlight+int(s.Depth) != 0 {
			t.Fatalf("at the end: %+v", s)
		}
	})
}

// A client subscribes before its broker knows the map: when that has come, and does not have the topic, it is one of this broker alone.
func TestATopicThatTurnsOutNotToBeReplicated(t *testing.T) {
	inBubble(t, 2, func(w *world) {
		n := w.nodes[0]
		c := n.dial()
		c.Send("SUB orders c\n")
		time.Sleep(time.Second)
		n.mu.Lock()
		n.gone, n.local = true, true
		n.mu.Unlock()
		c.Expect("OK")
		c.Send("RDY 1\n")
		var b topic.Batch
		b.Add([]byte("a"))
		if err := n.registry.Lookup("orders").Publish(&b); err != nil {
			t.Fatal(err)
		}
		if m := c.Next().Message(); string(m.Body) != "a" {
			t.Errorf("it got %q", m.Body)
		}
	})
}

// One that is being deleted is not waited for.
func TestATopicThatIsBeingDeleted(t *testing.T) {
	inBubble(t, 2, func(w *world) {
		n := w.nodes[0]
		n.gone = true
		c := n.dial()
		c.Send("SUB orders c\n")
		if f := c.Next(); f.Type != prototest.Error {
			t.Errorf("it was told %q", f.Payload)
		}
	})
}
