package broker

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/simnet"
	"brokerd/broker/topic"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol/prototest"
)

// TestADrainGivesTheLeadAway: a broker that drains delivers nothing. The topics that it leads are led by another one for as long as it does, and
// clients of the others go on.
func TestADrainGivesTheLeadAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 77)
		s.prepare()
		for number := range 2 {
			s.work.Go(func() { s.publish(number, rand.New(rand.NewPCG(uint64(number), 1))) })
		}
		s.work.Go(s.consume)
		time.Sleep(time.Second)
		drains := s.leader()
		moves := s.h.Begin("%s gives the lead away", drains.host) // what was finished just then may come again
		if err := drains.now().StartDrain(Drain{Stay: true}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		moves.End()
		if s.leader() == drains {
			t.Error("the broker that drains still leads")
		}
		before := s.h.Acknowledged()
		time.Sleep(10 * time.Second)
		if acked, open := s.h.Acknowledged()-before, s.h.Open(); acked < 50 || open > 20 {
			t.Errorf("%d messages were acknowledged in 10 s, and %d of all have not come", acked, open)
		}
		if err := drains.now().EndDrain(); err != nil {
			t.Error(err)
		}
		s.judge()
	})
}

// TestADrainWaitsForRelayedConsumers: clients of a broker that drains get nothing more of a topic that another one leads, and what they have they can
// answer; the drain waits for that. One who takes too long for that is not waited for. A drain that is taken back has them get more.
func TestADrainWaitsForRelayedConsumers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 80)
		s.prepare()
		at := 0
		for i, b := range s.brokers {
			if b != s.leader() {
				at = i
			}
		}
		server := s.brokers[at].now()
		c, err := s.dial(at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Conn.Close()
		c.Send("IDENTIFY\n" + prototest.Body(`{"msg_timeout":20000,"heartbeat_interval":60000}`) + "SUB " + simTopic + " " + simChannel + "\nRDY 2\n")
		c.Expect("OK")
		c.Expect("OK")
		c.Send(prototest.Mpub(simTopic, "1", "2", "3", "4", "5"))
		c.Expect("OK")
		var has []string
		for range 2 {
			has = append(has, c.Next().Message().ID)
		}
		drain := func(state string, out int) {
			t.Helper()
			time.Sleep(2 * time.Second)
			if d, _ := server.drainState(); d.State != state || d.InFlight != out {
				t.Errorf("the drain is %+v, not %s with %d out", d, state, out)
			}
		}
		quiet := func() {
			t.Helper()
			c.Timeout = time.Second
			if f, err := c.Read(); err == nil {
				t.Errorf("there came %q", f.Payload)
			}
			c.Timeout = 8 * time.Second
		}
		if err := server.StartDrain(Drain{Stay: true}); err != nil {
			t.Fatal(err)
		}
		drain(stateDraining, 2)
		c.Send("FIN " + has[0] + "\n")
		drain(stateDraining, 1)
		quiet()
		c.Send("FIN " + has[1] + "\n")
		drain(stateDrained, 0)
		quiet()
		if err := server.EndDrain(); err != nil {
			t.Fatal(err)
		}
		c.ExpectMessage("3", 1)
		c.ExpectMessage("4", 1)
		if err := server.StartDrain(Drain{Empty: true, Stay: true}); err != nil {
			t.Fatal(err)
		}
		c.Send("PUB " + simTopic + "\n" + prototest.Body("more"))
		c.ExpectError("E_PUB_FAILED PUB failed " + topic.ErrDraining.Error())
		drain(stateDraining, 2)
		time.Sleep(20 * time.Second) // and what it has comes again to others
		drain(stateDrained, 0)
		for _, b := range s.brokers {
			if err := b.stop(); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestAWipedBrokerTakesNothingForItsOwn: a broker whose folder was emptied knows no topic of its cluster. Until it is let in it makes none of its own,
// which would be in the way of the replicated one, and whose messages nobody else has.
func TestAWipedBrokerTakesNothingForItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 78)
		s.prepare()
		b := s.brokers[2]
		b.kill(false)
		b.disk = vfs.NewMem()
		if err := b.disk.MkdirAll(b.opts.DataPath); err != nil {
			t.Fatal(err)
		}
		b.start()
		for _, command := range []string{"PUB " + simTopic + "\n" + prototest.Body("lost"), "SUB " + simTopic + " " + simChannel + "\n"} {
			c, err := s.dial(2)
			if err == nil {
				err = c.Write(command)
			}
			if err != nil {
				t.Fatal(err)
			}
			if f, err := c.Read(); err != nil || f.Type != prototest.Error {
				t.Errorf("%.3s: it was told %q, %v", command, f.Payload, err)
			} else {
				t.Logf("%.3s: %s", command, f.Payload)
			}
			c.Conn.Close()
		}
		c, err := s.dial(2)
		if err == nil {
			err = c.Write("PUB own#ephemeral\n" + prototest.Body("one that is never replicated"))
		}
		if err != nil {
			t.Fatal(err)
		}
		c.Expect("OK")
		c.Conn.Close()
		if b.now().registry.Lookup(simTopic) != nil {
			t.Error("it has a topic of that name")
		}
		for _, b := range s.brokers {
			if err := b.stop(); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestABrokerThatIsCutOffMakesNoTopicOfItsOwn: a topic is made replicated while a broker is cut off and has not noticed. What it is asked to publish
// under that name it does not take for a topic of its own.
func TestABrokerThatIsCutOffMakesNoTopicOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 79)
		s.prepare()
		v := s.brokers[0].now().member.View(t.Context())
		at := 0 // of one that does not lead the map
		for _, n := range v.Nodes {
			for i, b := range s.brokers {
				if !n.Leads && simnet.HostOf(n.Address) == b.host {
					at = i
				}
			}
		}
		off := s.brokers[at]
		for _, o := range s.others(off) {
			s.n.Cut(true, off.host, o.host)
			s.n.Cut(true, o.host, off.host)
		}
		if err := s.others(off)[0].now().member.CreateTopic(t.Context(), "late", false); err != nil {
			t.Fatal(err)
		}
		publish := func() string {
			c, err := s.dial(at)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Conn.Close()
			c.Timeout = time.Minute
			if err := c.Write("PUB late\n" + prototest.Body("m")); err != nil {
				t.Fatal(err)
			}
			f, err := c.Read()
			if err != nil {
				t.Fatal(err)
			}
			return string(f.Payload)
		}
		if answer := publish(); answer == "OK" || off.now().registry.Lookup("late") != nil {
			t.Errorf("cut off: %q", answer)
		} else {
			t.Log(answer)
		}
		for _, o := range s.others(off) {
			s.n.Cut(false, off.host, o.host)
			s.n.Cut(false, o.host, off.host)
		}
		s.eventually("all is well again", time.Minute, s.well)
		if answer := publish(); answer != "OK" {
			t.Errorf("when all is well: %q", answer)
		}
		for _, b := range s.brokers {
			if err := b.stop(); err != nil {
				t.Error(err)
			}
		}
	})
}
