package topic

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/journal"
)

// TestStandbyIsWhatTheLeaderIsWhateverIsDone is TestStandbyIsWhatTheLeaderIs with all else that can be done with a replicated topic: channels
// that are ephemeral, emptied, deleted, paused; messages with keys, cancelled, released, skipped, finished by hand; consumers of samples.
func TestStandbyIsWhatTheLeaderIsWhateverIsDone(t *testing.T) {
	for seed := range uint64(16) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { (&ledModel{t: t, rand: rand.New(rand.NewPCG(seed, 2)), rough: true}).run() })
		})
	}
}

// drop does one thing with a topic that may drop messages.
func (m *ledModel) drop() {
	var err error
	pos := Position(1 + m.rand.IntN(max(1, int(m.topic.d.next))))
	c := m.topic.own
	if list := m.topic.Channels(); len(list) > 0 && m.rand.IntN(5) > 0 {
		c = list[m.rand.IntN(len(list))]
	}
	switch m.rand.IntN(11) {
	case 0:
		if len(m.subs) < 6 {
			m.subs = append(m.subs, mustSubscribe(m.t, m.topic, []string{"e#ephemeral", "f#ephemeral"}[m.rand.IntN(2)], 5, SubscribeOptions{}))
		}
	case 1:
		if len(m.subs) < 6 {
			m.subs = append(m.subs, mustSubscribe(m.t, m.topic, "a", 5, SubscribeOptions{SampleRate: 1 + m.rand.IntN(99)}))
		}
	case 2:
		if err = c.Empty(); c == m.topic.own {
			err = m.topic.Empty()
		}
	case 3:
		if c != m.topic.own {
			err = m.topic.DeleteChannel(c.name)
			m.subs = slices.DeleteFunc(m.subs, func(s *Subscription) bool { return s.channel == c })
		}
	case 4:
		if c != m.topic.own {
			err = c.SetPaused(m.rand.IntN(2) == 0)
		}
	case 5, 6:
		var b Batch
		for range 1 + m.rand.IntN(4) {
			b.Add([]byte("keyed"))
		}
		b.Order(Mark{}, fmt.Sprint("key ", m.rand.IntN(3)))
		err = m.topic.PublishDeferred(&b, time.Duration(m.rand.IntN(2))*time.Second)
	case 7:
		_, err = c.FinishByHand(pos)
	case 8:
		_, err = m.topic.Cancel(pos, nil)
	case 9:
		_, err = m.topic.Release(pos, nil)
	case 10:
		if c != m.topic.own {
			_, err = c.Skip(Place{kind: atPosition, pos: pos}, m.rand.IntN(2) == 0, false)
		}
	}
	if err != nil && !errors.Is(err, ErrNoMessage) && !errors.Is(err, ErrNotDeferred) && !errors.Is(err, ErrChannelNotFound) {
		m.t.Fatal(err)
	}
}

// TestKeysOfAReplicatedTopicArriveWithItsMessages: a publish that says a key is one that all replicas can apply, and the key goes along, also when
// others of its publish are not needed any more.
func TestKeysOfAReplicatedTopicArriveWithItsMessages(t *testing.T) {
	t.Parallel()
	r := start(t, durableConfig())
	l, o := lead(t, r, NewStandby())
	topic := createLed(t, l, 1, "orders")
	mustChannel(t, topic, "c")
	var b Batch
	for i, key := range []string{"", "red", "", "green", "blue"} {
		before := b.Mark()
		b.Add(fmt.Append(nil, i))
		if key != "" {
			b.Order(before, key)
		}
	}
	if err := topic.Publish(&b); err != nil {
		t.Fatal(err)
	}
	for _, pos := range []Position{1, 3} { // what is left is not in one piece
		if _, err := topic.LookupChannel("c").FinishByHand(pos); err != nil {
			t.Fatal(err)
		}
	}
	snap, err := o.standby.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	read, err := OpenStandby(snap.Append(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	o.lose(0)
	l.Drop()
	lead(t, r, read)
	keys := keyReader{topic: r.Lookup("orders")}
	for pos, key := range map[Position]string{2: "red", 4: "green", 5: "blue"} {
		if sum, err := keys.of(pos); err != nil || sum != journal.KeySum([]byte(key)) {
			t.Errorf("message %d has key %d: %v", pos, sum, err)
		}
	}
}

// TestAnEphemeralChannelLeavesNothingInTheStandby: what it is given of the topic's own backlog is not there for the next channel, on any replica, and
// keeps nobody from writing the standby down.
func TestAnEphemeralChannelLeavesNothingInTheStandby(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, durableConfig())
		l, o := lead(t, r, NewStandby())
		topic := createLed(t, l, 1, "orders")
		publish(t, topic, 3)
		s := mustSubscribe(t, topic, "tail#ephemeral", 10, SubscribeOptions{})
		if n := drain(s); n != 3 {
			t.Fatalf("%d messages, want 3", n)
		}
		mustChannel(t, topic, "c")
		publish(t, topic, 1)
		if got, live := standbyHolds(t, o.standby, 1), liveHolds(t, topic); got != live {
			t.Errorf("the standby has\n%s\nand the leader\n%s", got, live)
		}
		if _, err := o.standby.Snapshot(); err != nil {
			t.Error(err)
		}
	})
}

// TestAChangeOfAReplicatedTopicIsAnsweredOnceCommitted: also when another one is on its way, and not as done when the lead is lost first.
func TestAChangeOfAReplicatedTopicIsAnsweredOnceCommitted(t *testing.T) {
	for what, act := range map[string]func(*Topic, *Channel) error{
		"a pause":               func(_ *Topic, c *Channel) error { return c.SetPaused(true) },
		"a pause of the topic":  func(t *Topic, _ *Channel) error { return t.SetPaused(true) },
		"an empty":              func(_ *Topic, c *Channel) error { return c.Empty() },
		"an empty of the topic": func(t *Topic, _ *Channel) error { return t.Empty() },
		"a new channel":         func(t *Topic, _ *Channel) error { _, err := t.Channel("new"); return err },
		"a subscription": func(t *Topic, _ *Channel) error {
			_, err := t.Subscribe("new", SubscribeOptions{Owner: newStub()})
			return err
		},
		"a deletion":       func(t *Topic, c *Channel) error { return t.DeleteChannel(c.name) },
		"a finish by hand": func(_ *Topic, c *Channel) error { _, err := c.FinishByHand(1); return err },
		"a cancel":         func(t *Topic, _ *Channel) error { _, err := t.Cancel(2, nil); return err },
		"a release":        func(t *Topic, _ *Channel) error { _, err := t.Release(2, nil); return err },
	} {
		for _, late := range []bool{false, true} { // the lead is lost while it waits, or before
			t.Run(fmt.Sprint(what, ", late ", late), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := start(t, durableConfig())
					l, o := lead(t, r, NewStandby())
					topic := createLed(t, l, 1, "orders")
					c := mustChannel(t, topic, "c")
					publish(t, topic, 1)
					var b Batch
					b.Add([]byte("later"))
					if err := topic.PublishDeferred(&b, time.Hour); err != nil {
						t.Fatal(err)
					}
					o.set(func() { o.hold = true })
					if late {
						o.lose(0)
					}
					results := make(chan error, 2)
					go func() { results <- act(topic, c) }()
					synctest.Wait()
					if !late {
						go func() { results <- c.SetPaused(true) }()
						synctest.Wait()
						if len(results) > 0 {
							t.Fatalf("answered before it is committed: %v", <-results)
						}
						o.lose(0)
						if err := <-results; !errors.Is(err, ErrNotLeader) {
							t.Errorf("one of two: %v", err)
						}
					}
					if err := <-results; !errors.Is(err, ErrNotLeader) {
						t.Errorf("the lead was lost: %v", err)
					}
					l.Drop()
				})
			})
		}
	}
}

// TestIdsHaveTheNumberOfTheNode: the one that a cluster gives it, from when it does.
func TestIdsHaveTheNumberOfTheNode(t *testing.T) {
	t.Parallel()
	r := start(t, durableConfig())
	topic := mustTopic(t, r, "orders")
	node := func() int {
		var b Batch
		b.Add([]byte("m"))
		if err := topic.Publish(&b); err != nil {
			t.Fatal(err)
		}
		return int(b.Receipt().ID >> 54)
	}
	for _, n := range []int{1023, 0, 7} {
		if r.SetNode(n); node() != n {
			t.Errorf("node %d: another number", n)
		}
	}
}

// TestAPublishThatComesAgainKeepsItsMessages: until what has taken it is committed they are needed, also when it comes to the topic of the same reign.
func TestAPublishThatComesAgainKeepsItsMessages(t *testing.T) {
	for committed := range 2 {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, durableConfig())
			l, o := lead(t, r, NewStandby())
			orders := createLed(t, l, 1, "orders")
			b := Batch{From: journal.Origin{ID: 7, Number: 1, Low: 1}}
			b.Add([]byte("m"))
			o.set(func() { o.hold = true })
			result := make(chan error, 1)
			go func() { result <- orders.Publish(&b) }()
			synctest.Wait()
			o.lose(committed)
			if err := <-result; (err == nil) != (committed == 1) {
				t.Fatalf("%d committed: %v", committed, err)
			}
			b.From = journal.Origin{ID: 7, Number: 1, Low: 1}
			for range 2 {
				if b.Len() != 1-committed {
					t.Errorf("%d committed: it has %d messages", committed, b.Len())
				}
				if err := orders.Publish(&b); (err == nil) != (committed == 1) {
					t.Errorf("%d committed, again: %v", committed, err)
				}
			}
			l.Drop()
		})
	}
}
