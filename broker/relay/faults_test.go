package relay_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"brokerd/broker/auth"
	"brokerd/broker/topic"
	"brokerd/protocol/grant"
	"brokerd/protocol/prototest"
)

// The broker of a relayed consumer dies: what its client has goes back at once, as with any connection that is lost.
func TestADeadNodesConsumersAreLostConnections(t *testing.T) {
	inBubble(t, 3, func(w *world) {
		w.lead(w.nodes[0])
		dies := w.nodes[1].consume(3, "", nil)
		w.publish("a", "b", "c")
		settle()
		expectBodies(t, dies, "a/1", "b/1", "c/1")
		lives := w.nodes[2].consume(3, "", fin)
		w.kill(w.nodes[1])
		settle()
		got := lives.bodies()
		slices.Sort(got)
		if !slices.Equal(got, []string{"a/2", "b/2", "c/2"}) || !dies.left() {
			t.Fatalf("the other got %q", got)
		}
		if s := w.channel(); s.Consumers != 1 || s.Counts.Finished != 3 || s.DisconnectRequeueCount != 3 {
			t.Fatalf("at the leader: %+v", s)
		}
	})
}

// A client that leaves gives back what it has, with its broker far from the leader.
func TestAClientThatLeavesGivesBackWhatItHas(t *testing.T) {
	inBubble(t, 2, func(w *world) {
		w.lead(w.nodes[0])
		leaves := w.nodes[1].consume(2, "", nil)
		w.publish("a", "b")
		settle()
		leaves.Conn.Close()
		settle()
		if s := w.channel(); s.Consumers != 0 || s.Depth != 2 || s.InFlight != 0 {
			t.Fatalf("at the leader: %+v", s)
		}
	})
}

// A client that does not read holds up neither its broker, nor the leader, nor others: so many bytes wait for it, and no more.
func TestASlowClientFillsNobodysMemory(t *testing.T) {
	inBubble(t, 2, func(w *world) {
		w.lead(w.nodes[0])
		slow := w.nodes[1].dial()
		slow.Send("SUB orders c\n")
		slow.Expect("OK")
		slow.Send("RDY 2500\n")
		body := strings.Repeat("x", 8<<10)
		for range 40 {
			var batch []string
			for range 10 {
				batch = append(batch, body)
			}
			w.publish(batch...)
		}
		settle()
		out := w.channel().InFlight
		if bytes := out * len(body); bytes < 256<<10 || bytes > 700<<10 {
			t.Fatalf("%d messages, %d bytes, are on their way to a client that does not read", out, bytes)
		}
		quick := w.nodes[1].consume(100, "", fin)
		settle()
		if s := w.channel(); s.InFlight != out || s.Depth != 0 || int(s.Counts.Finished) != 400-out || len(quick.bodies()) != 400-out {
			t.Fatalf("beside a slow client: %+v", s)
		}
		if l := w.wire(w.nodes[0], w.nodes[1]); l.most > mostOn+256<<10 {
			t.Fatalf("%d bytes waited for the link", l.most)
		}
		for range out { // it reads at last
			slow.Next()
		}
	})
}

// A link that is slow paces who sends over it: nobody is lost for it, and what waits is bounded.
func TestASlowLinkPacesGuests(t *testing.T) {
	inBubble(t, 2, func(w *world) {
		w.lead(w.nodes[0])
		var all []*client
		for range 20 {
			all = append(all, w.nodes[1].consume(100, "", fin))
		}
		l := w.wire(w.nodes[0], w.nodes[1])
		l.set(func() { l.held = true })
		body := strings.Repeat("x", 4<<10)
		for range 100 {
			var batch []string
			for range 20 {
				batch = append(batch, body)
			}
			w.publish(batch...)
		}
		settle()
		if l.most > 2*mostOn {
			t.Fatalf("%d bytes wait for the link", l.most)
		}
		l.set(func() { l.held = false })
		time.Sleep(5 * time.Second)
		settle()
		if s := w.channel(); s.Counts.Finished != 2000 || s.TimeoutCount != 0 {
			t.Fatalf("at the leader: %+v", s)
		}
		for _, c := range all {
			if c.left() {
				t.Error("a client was closed")
			}
		}
	})
}

// A client that closes its subscription in good order gets nothing more, wherever the lead goes, and may answer what it has.
func TestCLSOfARelayedConsumer(t *testing.T) {
	inBubble(t, 3, func(w *world) {
		w.lead(w.nodes[0])
		c := w.nodes[2].consume(2, "", nil)
		w.publish("a", "b", "c", "d")
		settle()
		c.tell("CLS\n")
		c.say("FIN", c.id("a"))
		settle()
		if s := w.channel(); s.Counts.Finished != 1 || s.InFlight != 1 {
			t.Fatalf("at the leader: %+v", s)
		}
		w.lead(w.nodes[1])
		settle()
		c.say("FIN", c.id("b"))
		settle()
		expectBodies(t, c, "a/1", "b/1")
		expectErrors(t, c, "E_FIN_FAILED")
		if s := w.channel(); s.InFlight != 0 || s.Depth != 3 || c.left() {
			t.Fatalf("at the new leader: %+v", s)
		}
	})
}

// A paused channel delivers nothing to relayed consumers, goes on when it is resumed, and is paused at the next leader too.
func TestPausedChannelOfARelayedConsumer(t *testing.T) {
	inBubble(t, 3, func(w *world) {
		w.lead(w.nodes[0])
		c := w.nodes[2].consume(5, "", fin)
		pause := func(paused bool) { w.leader().registry.Lookup("orders").LookupChannel("c").SetPaused(paused) }
		pause(true)
		w.publish("a", "b")
		settle()
		w.lead(w.nodes[1])
		settle()
		expectBodies(t, c)
		pause(false)
		settle()
		expectBodies(t, c, "a/1", "b/1")
	})
}

// While nothing may be delivered, as the lease is over, relayed consumers get nothing; they do once it is there again.
func TestNothingGoesToRelayedConsumersWithoutTheLease(t *testing.T) {
	inBubble(t, 2, func(w *world) {
		w.lead(w.nodes[0])
		c := w.nodes[1].consume(5, "", fin)
		settle()
		w.mu.Lock()
		w.reign.unleased = true
		w.mu.Unlock()
		w.publish("a")
		settle()
		expectBodies(t, c)
		w.mu.Lock()
		w.reign.unleased = false
		w.mu.Unlock()
		w.nodes[0].led.Resume()
		settle()
		expectBodies(t, c, "a/1")
	})
}

// A follower is cut off, and clients reach it: it keeps their connections for ten seconds, heartbeats go on, then it closes consumers.
func TestAFollowerThatIsCutOffClosesConsumersAfterTenSeconds(t *testing.T) {
	inBubble(t, 3, func(w *world) {
		w.lead(w.nodes[0])
		c := w.nodes[2].consume(5, `{"heartbeat_interval":1000}`, nil)
		w.publish("a")
		settle()
		w.isolate(w.nodes[2])
		w.know(nil, w.nodes[2])
		time.Sleep(9 * time.Second)
		if c.left() {
			t.Fatal("it was closed too early")
		}
		if s := w.channel(); s.Consumers != 0 || s.Depth != 1 {
			t.Fatalf("at the leader, which has lost the link: %+v", s)
		}
		time.Sleep(2 * time.Second)
		if !c.left() {
			t.Fatal("it is not closed")
		}
	})
}

// A leader is cut off from both, and clients reach it: it delivers nothing once it knows, and its consumers come back with the link, or are closed
// after ten seconds.
func TestALeaderThatIsCutOffKeepsItsConsumersForTenSeconds(t *testing.T) {
	for _, heals := range []bool{true, false} {
		inBubble(t, 3, func(w *world) {
			w.lead(w.nodes[0])
			c := w.nodes[0].consume(5, "", fin)
			w.isolate(w.nodes[0])
			w.promote(w.nodes[1])
			w.know(w.nodes[1], w.nodes[1], w.nodes[2])
			w.know(nil, w.nodes[0])
			w.nodes[0].drop()
			w.publish("a")
			time.Sleep(8 * time.Second)
			if c.left() {
				t.Fatal("it was closed too early")
			}
			expectBodies(t, c)
			if heals {
				w.connect(w.nodes[0], w.nodes[1])
				w.know(w.nodes[1])
				settle()
				expectBodies(t, c, "a/1")
			}
			time.Sleep(3 * time.Second)
			if c.left() == heals {
				t.Fatalf("healed %v, closed %v", heals, c.left())
			}
		})
	}
}

// The leader is paused: links stay, and another one is elected. Relayed consumers go there as soon as their broker knows.
func TestALeaderIsPausedAndItsRelayedConsumersGoOn(t *testing.T) {
	inBubble(t, 3, func(w *world) {
		w.lead(w.nodes[0])
		c := w.nodes[2].consume(1, "", nil)
		w.publish("a")
		settle()
		for _, o := range w.nodes[1:] { // it says nothing, and hears nothing
			for _, l := range []*wire{w.wire(w.nodes[0], o), w.wire(o, w.nodes[0])} {
				l.set(func() { l.held = true })
			}
		}
		was := w.nodes[0].led
		w.nodes[0].led = nil
		w.lead(w.nodes[1])
		settle()
		c.say("FIN", c.id("a"))
		settle()
		expectErrors(t, c, "E_FIN_FAILED")
		expectBodies(t, c, "a/1", "a/2")
		c.say("FIN", c.id("a"))
		for _, o := range w.nodes[1:] { // it goes on
			for _, l := range []*wire{w.wire(w.nodes[0], o), w.wire(o, w.nodes[0])} {
				l.set(func() { l.held = false })
			}
		}
		was.Drop()
		settle()
		expectBodies(t, c, "a/1", "a/2")
		if s := w.channel(); s.Counts.Finished != 1 || c.left() {
			t.Fatalf("at the new leader: %+v", s)
		}
	})
}

// A broker that has no replica finds who leads by asking, also after a move.
func TestABrokerWithoutAReplicaFindsTheLeader(t *testing.T) {
	inBubble(t, 4, func(w *world) {
		w.nodes[3].outside = true
		w.lead(w.nodes[2])
		c := w.nodes[3].consume(5, "", fin)
		w.publish("a")
		settle()
		w.lead(w.nodes[0])
		w.publish("b")
		settle()
		w.kill(w.nodes[0])
		time.Sleep(2 * time.Second)
		w.lead(w.nodes[1])
		w.publish("c")
		settle()
		settle()
		expectBodies(t, c, "a/1", "b/1", "c/1")
		if c.left() {
			t.Error("it was closed")
		}
	})
}

// Who subscribes while nobody leads waits for a leader, five seconds at most.
func TestASubscriptionWaitsForALeader(t *testing.T) {
	inBubble(t, 2, func(w *world) {
		w.lead(w.nodes[0]) // the topic is there
		w.endReign()
		w.nodes[0].drop()
		w.know(nil)
		c := w.nodes[1].dial()
		c.Send("SUB orders c\n")
		time.Sleep(4 * time.Second)
		w.lead(w.nodes[1])
		c.Expect("OK")
		w.endReign()
		w.nodes[1].drop()
		w.know(nil)
		late := w.nodes[0].dial()
		late.Send("SUB orders c\n")
		time.Sleep(6 * time.Second)
		late.ExpectError("E_SUB_FAILED SUB failed no broker is found that leads the topic")
		late.ExpectClosed()
	})
}

// What the leader says of a subscription that it does not take is what the client is told.
func TestTheLeadersRefusalIsTold(t *testing.T) {
	inBubble(t, 2, func(w *world) {
		w.nodes[0].registry.SetLimits(topic.Limits{MaxConsumers: 1, MaxMsgTimeout: time.Hour, MaxReqTimeout: time.Hour})
		w.lead(w.nodes[0])
		w.nodes[1].consume(1, "", nil)
		second := w.nodes[1].dial()
		second.Send("SUB orders c\n")
		second.ExpectError("E_SUB_FAILED SUB failed consumers for orders:c exceeds limit of 1")
		second.ExpectClosed()
	})
}

// Deleting a channel, or its topic, closes consumers wherever they are, as on one broker.
func TestDeletingClosesRelayedConsumers(t *testing.T) {
	inBubble(t, 2, func(w *world) {
		w.lead(w.nodes[0])
		c := w.nodes[1].consume(1, "", nil)
		if err := w.nodes[0].registry.Lookup("orders").DeleteChannel("c"); err != nil {
			t.Fatal(err)
		}
		settle()
		if !c.left() {
			t.Error("a consumer of a channel that is deleted was not closed")
		}
		c, own := w.nodes[1].consume(1, "", nil), w.nodes[0].consume(1, "", nil)
		if err := w.nodes[0].led.Delete(1); err != nil {
			t.Fatal(err)
		}
		settle()
		if !c.left() || !own.left() {
			t.Error("a consumer of a topic that is deleted was not closed")
		}
	})
}

// An ephemeral channel is at the leader, goes with its last consumer, and is new after a move; its consumer stays.
func TestEphemeralChannelIsNewAtTheNextLeader(t *testing.T) {
	inBubble(t, 3, func(w *world) {
		w.lead(w.nodes[0])
		w.nodes[0].consume(1, "", fin) // of another channel: else the topic keeps all
		c := w.nodes[2].consumeFrom("e#ephemeral", 1, "", fin)
		w.publish("a")
		settle()
		w.lead(w.nodes[1])
		settle()
		w.publish("b")
		settle()
		expectBodies(t, c, "a/1", "b/1")
		c.Conn.Close()
		settle()
		if w.leader().registry.Lookup("orders").LookupChannel("e#ephemeral") != nil {
			t.Error("it is still there")
		}
	})
}

// After the death of a leader each relayed subscription is opened again: a hundred of each kind get messages within ten seconds.
func TestAfterALeadersDeathEachRelayedConsumerGetsMessages(t *testing.T) {
	inBubble(t, 3, func(w *world) {
		w.lead(w.nodes[0])
		kinds := []string{"", `{"msg_timeout":20000}`, `{"output_buffer_timeout":100}`, `{"sample_rate":99,"output_buffer_size":64}`}
		var all []*client
		for i := range 400 {
			all = append(all, w.nodes[1+i%2].consume(1, kinds[i%len(kinds)], fin))
		}
		settle()
		away := func() int { return w.nodes[1].relay.Away() + w.nodes[2].relay.Away() }
		if n := away(); n != len(all) {
			t.Errorf("%d consumers are elsewhere", n)
		}
		w.kill(w.nodes[0])
		time.Sleep(700 * time.Millisecond)
		if n := away(); n != len(all) {
			t.Errorf("%d consumers look for who leads", n)
		}
		w.lead(w.nodes[1])
		for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(100 * time.Millisecond) {
			for range 10 {
				w.publish("1", "2", "3", "4", "5", "6", "7", "8", "9", "10")
			}
		}
		settle()
		for i, c := range all {
			if len(c.bodies()) == 0 || c.left() || c.most > 1 {
				t.Fatalf("client %d of kind %q has got %d messages, %d at once, closed %v", i, kinds[i%len(kinds)], len(c.bodies()), c.most, c.left())
			}
		}
	})
}

// door is an Authority of one caller, whose grants can be taken back.
type door struct {
	state   *auth.State
	revoked atomic.Bool
}

func (d *door) On() bool                                                  { return true }
func (d *door) Gone(*auth.State) bool                                     { return false }
func (d *door) Demanded() bool                                            { return false }
func (d *door) Unasked(auth.Identity) *auth.State                         { return d.state }
func (d *door) Query(context.Context, auth.Identity) (*auth.State, error) { return d.state, nil }
func (d *door) Again(s *auth.State, _ time.Time) *auth.State {
	if d.revoked.Load() {
		return nil
	}
	return s
}

// A broker that stops gives its clients nothing more from elsewhere; what they have they answer.
func TestABrokerThatStopsTakesNoMoreFromElsewhere(t *testing.T) {
	inBubble(t, 2, func(w *world) {
		w.lead(w.nodes[0])
		c := w.nodes[1].consume(2, "", nil)
		w.publish("a", "b", "c")
		settle()
		w.nodes[1].relay.Refuse()
		if n := w.nodes[1].relay.InFlight(); n != 2 {
			t.Fatalf("%d are in flight", n)
		}
		c.say("FIN", c.id("a"))
		c.say("FIN", c.id("b"))
		settle()
		expectBodies(t, c, "a/1", "b/1")
		expectErrors(t, c)
		if s := w.channel(); s.Counts.Finished != 2 || s.Depth != 1 || s.InFlight != 0 || w.nodes[1].relay.InFlight() != 0 {
			t.Fatalf("at the leader: %+v", s)
		}
	})
}

// A client whose grants are taken back is closed within five seconds, with RDY set and over a relay.
func TestARevokedClientIsClosedOverARelay(t *testing.T) {
	inBubble(t, 2, func(w *world) {
		grants, err := grant.ParseGrants([]string{"consume:*"})
		if err != nil {
			t.Fatal(err)
		}
		d := &door{state: &auth.State{Identity: "app", Caller: &grant.Caller{Kind: grant.Token, Name: "app", Grants: grants}}}
		n := w.nodes[1]
		n.config.Auth = d
		n.sessions.SetConfig(n.config)
		ctx, stop := context.WithCancel(context.Background())
		var keeping sync.WaitGroup
		keeping.Go(func() { n.sessions.KeepGrants(ctx) })
		defer keeping.Wait()
		defer stop()
		w.lead(w.nodes[0])
		c := n.consume(5, "", nil)
		w.publish("a", "b")
		settle()
		expectBodies(t, c, "a/1", "b/1")
		d.revoked.Store(true)
		time.Sleep(5 * time.Second)
		settle()
		expectErrors(t, c, "E_AUTH_FAILED")
		if s := w.channel(); !c.left() || s.Consumers != 0 || s.Depth != 2 {
			t.Fatalf("closed %v, at the leader %+v", c.left(), s)
		}
	})
}

// Messages that were delivered again, and large ones, come as they are.
func TestAttemptsAndLargeMessagesComeAsTheyAre(t *testing.T) {
	inBubble(t, 2, func(w *world) {
		w.lead(w.nodes[0])
		large := strings.Repeat("l", 900<<10)
		attempts := 0
		c := w.nodes[1].consume(3, "", func(m prototest.Delivered) string {
			if m.Attempts < 4 {
				return "REQ"
			}
			attempts++
			return "FIN"
		})
		w.publish(large, "s", large)
		settle()
		if attempts != 3 || len(c.bodies()) != 12 {
			t.Fatalf("%d were finished, %d came", attempts, len(c.bodies()))
		}
		for _, m := range c.got {
			if string(m.Body) != large && string(m.Body) != "s" {
				t.Fatalf("a body of %d bytes came", len(m.Body))
			}
		}
	})
}

// The channel is deleted while the link to a client's node is full: the client is closed all the same, once there is room.
func TestTheEndOfAChannelIsHeardOverAFullLink(t *testing.T) {
	inBubble(t, 2, func(w *world) {
		w.lead(w.nodes[0])
		c := w.nodes[1].consume(1, "", fin)
		settle()
		l := w.wire(w.nodes[0], w.nodes[1])
		l.set(func() { l.held, l.bytes = true, mostOn })
		w.nodes[0].fill(true)
		if err := w.nodes[0].registry.Lookup("orders").DeleteChannel("c"); err != nil {
			t.Fatal(err)
		}
		settle()
		w.nodes[0].fill(false)
		l.set(func() { l.held, l.bytes = false, 0 })
		settle()
		if !c.left() {
			t.Error("its channel is gone, and the client waits for messages")
		}
	})
}

// A client leaves while the link to who leads is full, so that this is not heard there: its subscription ends with the first message, which others get.
func TestWhoHasLeftUnheardGetsNothing(t *testing.T) {
	inBubble(t, 3, func(w *world) {
		w.lead(w.nodes[0])
		leaves := w.nodes[1].consume(100, "", nil)
		settle()
		w.nodes[1].fill(true)
		leaves.Conn.Close()
		settle()
		w.nodes[1].fill(false)
		stays := w.nodes[2].consume(100, "", fin)
		settle()
		w.publish("a", "b", "c", "d")
		settle()
		got := stays.bodies()
		if s := w.channel(); len(got) != 4 || s.Consumers != 1 || s.InFlight != 0 {
			t.Errorf("the one who stays got %q; at the leader: %+v", got, s)
		}
	})
}

// So does one that nothing is sent to: it is told there once there is room on the link, and listed no more.
func TestWhoHasLeftUnheardIsListedNoMore(t *testing.T) {
	inBubble(t, 3, func(w *world) {
		w.lead(w.nodes[0])
		leaves := w.nodes[1].consume(100, "", nil)
		settle()
		w.nodes[1].fill(true)
		leaves.Conn.Close()
		settle()
		if s := w.channel(); s.Consumers != 1 {
			t.Errorf("it was heard over a full link: %+v", s)
		}
		w.nodes[1].fill(false)
		settle()
		if s, n := w.channel(), w.nodes[0].relay.Guests(); s.Consumers != 0 || n != 0 {
			t.Errorf("at the leader: %+v, %d guests", s, n)
		}
	})
}
