package topic

import (
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/channel"
	"brokerd/diskqueue/journal"
)

// TestARewindLeavesDeadLettersOnTheirWay: messages that are on their way to a dead letter topic while the channel is rewound, skipped, or has one
// finished by hand stay what they are: when they do not arrive they wait again, and none counts as emptied.
func TestARewindLeavesDeadLettersOnTheirWay(t *testing.T) {
	for name, act := range map[string]func(c *Channel) error{
		"rewind": func(c *Channel) error { _, err := c.Rewind(Place{kind: atBeginning}, false); return err },
		"skip":   func(c *Channel) error { _, err := c.Skip(Place{kind: atEnd}, true, false); return err },
		"finish": func(c *Channel) error { _, err := c.FinishByHand(5); return err },
	} {
		synctest.Test(t, func(t *testing.T) {
			r := logged(t, Disk)
			topic := mustTopic(t, r, "t")
			if err := topic.SetOptions(decodeOptions([]byte(`{"retain_time":"24h"}`))); err != nil {
				t.Fatal(err)
			}
			c := mustChannel(t, topic, "c")
			graves := mustTopic(t, r, "t.c.dlq")
			mustChannel(t, graves, "g")
			publish(t, graves, 1)
			if err := graves.SetOptions(decodeOptions([]byte(`{"max_depth":1}`))); err != nil {
				t.Fatal(err)
			}
			setOptions(t, c, `{"max_attempts":1}`)
			publish(t, topic, 4)
			s := mustSubscribe(t, topic, "c", 10, SubscribeOptions{})
			failAll(t, s) // their topic has no room: they wait
			s.SetReady(0)
			setOptions(t, c, `{"max_attempts":2}`) // so that the next one is not exhausted, and what waits is revived
			setOptions(t, c, `{"max_attempts":1}`)
			synctest.Wait()
			publish(t, topic, 2) // one of which is finished by hand
			c.enterNow()
			c.machine.At.Now += int64(time.Hour) // their topic is tried again
			c.machine.StartBurial(func() bool { return true })
			b := c.machine.BeginBurial(nil)
			c.exit()
			if b == nil || len(b.List) != 4 {
				t.Fatalf("%s: on their way are %+v, want 4", name, b)
			}
			if err := act(c); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			c.enterNow()
			_, n := b.End(channel.ErrNothing, 0)
			c.machine.BeginBurial(nil) // nobody moves them any more
			c.exit()
			if st := c.Stats(); n != 4 || st.Counts.Discarded[journal.Emptied] != 0 || !st.Balanced {
				t.Errorf("%s: %d wait for their topic, want 4, %d count as emptied: %+v", name, n, st.Counts.Discarded[journal.Emptied], st)
			}
			_ = s.Close()
		})
	}
}
