package broker_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"brokerd/broker"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/prototest"
)

// die ends a client as a kill -9 of its process ends it, with what it has not read yet: the connection is reset.
func die(t *testing.T, c *prototest.Client) {
	t.Helper()
	if err := c.Conn.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	c.Conn.Close()
}

// limited makes a topic at level disk with a channel that delivers a message so often.
func limited(n *node, attempts int) {
	n.run([]request{
		{"POST", "/topic/create?topic=t", "", 200, ""},
		{"POST", "/channel/create?topic=t&channel=c", "", 200, ""},
		{"POST", "/channel/config?topic=t&channel=c", fmt.Sprintf(`{"max_attempts":%d,"dead_letter":"graves"}`, attempts), 200, ""},
	})
}

// TestTheHolderIsKilledEachTime: a consumer that dies with a message counts as an attempt, so that the message does not kill one consumer
// after the other for good.
func TestTheHolderIsKilledEachTime(t *testing.T) {
	n := start(t, func(o *broker.Options) { o.Durability = levelDisk })
	limited(n, 3)
	n.publish("t", "kills")
	for attempt := range uint16(3) {
		c := n.subscribe("t", "c", 1)
		c.ExpectMessage("kills", attempt+1)
		die(t, c)
	}
	eventually(t, "it is a dead letter", func() bool { d := n.topic("graves"); return d != nil && d.Depth == 1 })
	if p := n.letters("topic=graves").Messages[0].Properties; p["dead_letter.failure"] != "disconnected" || p["dead_letter.attempts"] != "3" {
		t.Errorf("%v", p)
	}
	if s := n.channel("t", "c"); s.Depth+int64(s.InFlightCount)+int64(s.DeferredCount) != 0 || !s.Accounting.Balanced {
		t.Errorf("the channel has %+v", s)
	}
}

// TestAttemptsOverKills: the count of deliveries goes on over kill -9 of the broker, and over a move to another connection; the limit holds.
func TestAttemptsOverKills(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Durability = levelDisk
	n := startWith(t, o)
	limited(n, 4)
	n.publish("t", "m")
	for attempt := range uint16(4) {
		c := n.subscribe("t", "c", 1)
		c.ExpectMessage("m", attempt+1)
		n.publish("other", "m") // the log is in order: what is answered now has the delivery before it
		o.DataPath = killed(t, n)
		n.stop()
		n = startWith(t, o)
	}
	eventually(t, "it is a dead letter, without a consumer", func() bool { d := n.topic("graves"); return d != nil && d.Depth == 1 })
	if p := n.letters("topic=graves").Messages[0].Properties; p["dead_letter.attempts"] != "4" {
		t.Errorf("%v", p)
	}
}

// TestOneKillerAmongMany: a message that kills its consumer each time has its neighbours, which were sent ahead with it, counted as
// delivered too; with the message itself they are dead letters at worst, and one redrive after the fix brings all of them to their consumer.
func TestOneKillerAmongMany(t *testing.T) {
	const count, killer = 300, 150
	n := start(t, func(o *broker.Options) { o.Durability = levelDisk })
	limited(n, 3)
	var bodies []string
	for i := range count {
		bodies = append(bodies, fmt.Sprint("m", i))
	}
	n.publish("t", bodies...)
	done := map[string]int{}
	finish := func(c *prototest.Client, m prototest.Delivered) {
		done[string(m.Body)]++
		c.Send("FIN " + m.ID + "\n")
	}
	for range 3 {
		c := n.subscribe("t", "c", 100)
		for {
			m := c.Next().Message()
			if string(m.Body) == bodies[killer] {
				break
			}
			finish(c, m)
		}
		c.Send("NOP\n")
		eventually(t, "what was finished is", func() bool { return n.channel("t", "c").Accounting.Finished == uint64(len(done)) })
		die(t, c)
		eventually(t, "the consumer is gone", func() bool { return len(n.channel("t", "c").Clients) == 0 })
	}
	eventually(t, "the killer is a dead letter", func() bool {
		d, c := n.topic("graves"), n.channel("t", "c")
		return d != nil && int(d.Depth) == int(c.Accounting.Discarded["dead_lettered"]) && d.Depth > 0 && c.WaitingForTarget == 0
	})
	killed := false
	for _, m := range n.letters("topic=graves&limit=1000").Messages {
		killed = killed || *m.Body == bodies[killer]
	}
	if !killed {
		t.Error("the killer is no dead letter")
	}
	c := n.subscribe("t", "c", 100)
	n.post("/channel/redrive?topic=t&channel=c", "")
	for len(done) < count {
		finish(c, c.Next().Message())
	}
	for body, times := range done {
		if times != 1 {
			t.Errorf("%s was handled %d times", body, times)
		}
	}
	eventually(t, "nothing is left anywhere", func() bool {
		s := n.channel("t", "c")
		return n.topic("graves").Depth == 0 && s.Accounting.Finished == count && s.Depth+int64(s.InFlightCount) == 0 && s.Accounting.Balanced
	})
}

// TestARedriveEndsWithTheBroker: a redrive that a stop or a kill -9 interrupts has moved some, left the rest, and is shown as stopped, with how
// many went; no message is in both places or in none, and a new redrive sends the rest.
func TestARedriveEndsWithTheBroker(t *testing.T) {
	for _, how := range []string{"killed", "stopped"} {
		t.Run(how, func(t *testing.T) {
			const count = 60
			o := options(t)
			o.Durability = levelDisk
			n := startWith(t, o)
			limited(n, 1)
			var bodies []string
			for i := range count {
				bodies = append(bodies, fmt.Sprint("m", i))
			}
			n.publish("t", bodies...)
			c := n.subscribe("t", "c", count)
			for range count {
				c.Next()
			}
			die(t, c)
			eventually(t, "all are dead letters", func() bool { d := n.topic("graves"); return d != nil && d.Depth == count })
			n.run([]request{
				{"POST", "/channel/pause?topic=t&channel=c", "", 200, ""},
				{"POST", "/channel/redrive?topic=t&channel=c&rate=20", "", 200, `"running":true`},
			})
			redrive := func() httpapi.Redrive {
				if r := n.channel("t", "c").Redrive; r != nil {
					return *r
				}
				return httpapi.Redrive{}
			}
			eventually(t, "some have gone", func() bool { return redrive().Moved > 0 })
			n.publish("other", "m") // what is answered now has it before it in the log
			before := redrive()
			if how == "killed" {
				o.DataPath = killed(t, n)
			}
			n.stop()
			n = startWith(t, o)
			after, left, back := redrive(), int(n.topic("graves").Depth), int(n.channel("t", "c").Depth)
			if left == 0 {
				t.Skip("it had ended by then: this machine was very busy")
			}
			if after.Running || !after.Stopped || !strings.Contains(after.Error, "the broker was stopped") || after.From != "graves" ||
				after.Rate != 20 || after.Moved < before.Moved || after.Began != before.Began {
				t.Errorf("shown is %+v, and was %+v", after, before)
			}
			if left+back != count || how == "stopped" && after.Moved != back {
				t.Errorf("%d are back and %d left of %d; %d are said to be back", back, left, count, after.Moved)
			}
			n.post("/channel/redrive?topic=t&channel=c", "")
			eventually(t, "all are back", func() bool { return !redrive().Running && n.channel("t", "c").Depth == count })
			if r := redrive(); r.Stopped || r.Error != "" || r.Moved != left || n.topic("graves").Depth != 0 {
				t.Errorf("%+v, and %d left", r, n.topic("graves").Depth)
			}
			n.stop()
			n = startWith(t, o)
			if r := n.channel("t", "c").Redrive; r != nil {
				t.Errorf("one that has ended is shown after a start: %+v", r)
			}
		})
	}
}
