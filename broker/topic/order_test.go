package topic

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/policy"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// orderedTopic is an ordered topic in a log, with a channel.
func orderedTopic(t testing.TB, l *keptLog) (*Topic, *Channel) {
	t.Helper()
	topic := mustTopic(t, durableRegistry(t, l), "t")
	c := mustChannel(t, topic, "c")
	setTopicOptions(t, topic, `{"ordered":true}`)
	return topic, c
}

// flight is what a consumer has, by body.
type flight map[string]protocol.MessageID

// takeAll takes what there is now, and returns the bodies in the order in which they came.
func (f flight) takeAll(s *Subscription) (bodies []string) {
	var d Delivery
	for s.Take(&d) > 0 {
		for _, run := range d.Runs {
			for frames := run.Frames; len(frames) > 0; {
				m := first(frames)
				frames = frames[len(m):]
				bodies = append(bodies, string(m.Body()))
				f[string(m.Body())] = m.MustID()
			}
		}
		d.Clear()
	}
	return bodies
}

// answer answers one message.
func (f flight) answer(t testing.TB, s *Subscription, body string, verb Verb, delay time.Duration) {
	t.Helper()
	a := []Answer{{ID: f[body], Verb: verb, Delay: delay}}
	delete(f, body)
	if s.Apply(a, nil); a[0].Err != nil {
		t.Fatalf("answering %s: %v", body, a[0].Err)
	}
}

func expectBodies(t testing.TB, when string, got []string, want string) {
	t.Helper()
	if text := strings.Join(got, " "); text != want {
		t.Fatalf("%s: %q comes, want %q", when, text, want)
	}
}

// TestTurns: what each event does to a key. REQ holds that key only, and then the same message comes first; so it is with a timeout
// and a lost connection.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic, c := orderedTopic(t, &keptLog{})
		s := mustSubscribe(t, topic, "c", 100, SubscribeOptions{MsgTimeout: time.Minute})
		f := flight{}
		publishOrdered(t, topic, "a=a1", "b=b1", "a=a2", "n1", "b=b2", "a=a3", "n2")
		expectBodies(t, "at first", f.takeAll(s), "a1 b1 n1 n2")
		if st := c.Stats(); st.Depth != 3 || st.InFlight != 4 || !st.Balanced {
			t.Errorf("%+v", st)
		}
		f.answer(t, s, "a1", Finish, 0)
		expectBodies(t, "after FIN of a1", f.takeAll(s), "a2")
		f.answer(t, s, "a2", Requeue, 0)
		expectBodies(t, "after REQ of a2", f.takeAll(s), "a2")
		f.answer(t, s, "a2", Requeue, time.Hour/2)
		f.answer(t, s, "b1", Finish, 0)
		publishOrdered(t, topic, "a=a4", "c=c1")
		expectBodies(t, "while a2 is deferred", f.takeAll(s), "b2 c1")
		for _, body := range []string{"b2", "c1", "n1", "n2"} {
			f.answer(t, s, body, Finish, 0)
		}
		time.Sleep(time.Hour / 2)
		synctest.Wait()
		expectBodies(t, "once a2 is due", f.takeAll(s), "a2")
		time.Sleep(time.Minute)
		synctest.Wait()
		expectBodies(t, "once a2 has timed out", f.takeAll(s), "a2")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = mustSubscribe(t, topic, "c", 100, SubscribeOptions{MsgTimeout: time.Minute})
		expectBodies(t, "once the connection of a2 is lost", f.takeAll(s), "a2")
		for _, one := range [][2]string{{"a2", "a3"}, {"a3", "a4"}, {"a4", ""}} {
			f.answer(t, s, one[0], Finish, 0)
			expectBodies(t, "after "+one[0], f.takeAll(s), one[1])
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestADelayOnAnOrderedTopic: what is published for later takes its place when it is
// due. It holds up no message of its key before, goes behind what waits of it then, and waits for the one that is out.
func TestADelayOnAnOrderedTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic, _ := orderedTopic(t, &keptLog{})
		s := mustSubscribe(t, topic, "c", 100, SubscribeOptions{MsgTimeout: time.Hour})
		f := flight{}
		if err := topic.PublishDeferred(orderedBatch("a=later", "b=later"), time.Minute); err != nil {
			t.Fatal(err)
		}
		publishOrdered(t, topic, "a=a1", "a=a2")
		expectBodies(t, "before it is due", f.takeAll(s), "a1")
		f.answer(t, s, "a1", Finish, 0)
		expectBodies(t, "after a1", f.takeAll(s), "a2")
		publishOrdered(t, topic, "a=a3")
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		got := f.takeAll(s) // a3 has to wait: then the consumer is woken for what may be behind it
		if !woken(s) {
			t.Fatal("the consumer is not woken")
		}
		expectBodies(t, "when it is due and a2 is out", append(got, f.takeAll(s)...), "later")
		f.answer(t, s, "later", Finish, 0)
		publishOrdered(t, topic, "a=a4")
		f.answer(t, s, "a2", Finish, 0)
		expectBodies(t, "after a2", f.takeAll(s), "a3")
		f.answer(t, s, "a3", Finish, 0)
		expectBodies(t, "after a3", f.takeAll(s), "later")
		f.answer(t, s, "later", Finish, 0)
		expectBodies(t, "at last", f.takeAll(s), "a4")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestNextOfAKeyGoesAtOnce: when the message of a key that is out leaves otherwise than by FIN, because its time is over, it is
// cancelled, discarded or becomes a dead letter, the next one is delivered at once, and whoever waits for it is woken.
func TestNextOfAKeyGoesAtOnce(t *testing.T) {
	for _, c := range []struct {
		name, options string
		ttl           time.Duration
		delay         time.Duration // of REQ
		leave         func(t *testing.T, topic *Topic, c *Channel)
	}{
		{"too many attempts", `{"max_attempts":1,"dead_letter":"discard"}`, 0, 0, nil},
		{"a dead letter", `{"max_attempts":1}`, 0, 0, nil},
		{"its own time is over", `{}`, time.Minute, 2 * time.Minute, func(*testing.T, *Topic, *Channel) { time.Sleep(3 * time.Minute) }},
		{"its time is over", `{"ttl":"1m"}`, 0, 2 * time.Minute, func(_ *testing.T, topic *Topic, _ *Channel) { time.Sleep(3 * time.Minute) }},
		{"cancelled", `{}`, 0, time.Hour, func(t *testing.T, topic *Topic, c *Channel) {
			if from, err := topic.Cancel(1, c); err != nil || len(from) != 1 {
				t.Fatal(from, err)
			}
		}},
		{"the oldest is dropped", `{"max_depth":2,"overflow":"drop-oldest"}`, 0, 0, func(t *testing.T, topic *Topic, _ *Channel) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				topic, channel := orderedTopic(t, &keptLog{})
				b := orderedBatch("a=first")
				b.TTL = c.ttl
				if err := topic.Publish(b); err != nil {
					t.Fatal(err)
				}
				s := mustSubscribe(t, topic, "c", 100, SubscribeOptions{MsgTimeout: time.Hour})
				f := flight{}
				expectBodies(t, "at first", f.takeAll(s), "first")
				setOptions(t, channel, c.options)
				if c.name != "its time is over" {
					publishOrdered(t, topic, "a=second")
				}
				expectBodies(t, "while that is out", f.takeAll(s), "")
				for woken(s) {
				}
				if c.name == "the oldest is dropped" {
					s.SetReady(0)
				}
				f.answer(t, s, "first", Requeue, c.delay)
				switch c.name {
				case "its time is over": // the next one is younger
					time.Sleep(90 * time.Second)
					publishOrdered(t, topic, "a=second")
					time.Sleep(31 * time.Second)
				case "the oldest is dropped":
					publishOrdered(t, topic, "a=third", "b=fourth")
					s.SetReady(100)
				default:
					if c.leave != nil {
						c.leave(t, topic, channel)
					}
				}
				synctest.Wait()
				if !woken(s) {
					t.Error("nobody was woken")
				}
				want := "second"
				if c.name == "the oldest is dropped" {
					want = "third fourth"
				}
				expectBodies(t, "afterwards", f.takeAll(s), want)
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// TestLongKeyHidesNoOther: behind a message of a key that stands still many more of it wait than there are places, a million in make
// crash; a message of another key is delivered all the same, and what is known of them takes a place for each node.
func TestLongKeyHidesNoOther(t *testing.T) {
	topic, c := orderedTopic(t, &keptLog{})
	s := mustSubscribe(t, topic, "c", 100, SubscribeOptions{MsgTimeout: time.Hour})
	f := flight{}
	publishOrdered(t, topic, "a=first")
	expectBodies(t, "at first", f.takeAll(s), "first")
	const each = 10_000
	batches := policy.DefaultOrderedAhead/each + 2
	if os.Getenv("BROKERD_CRASH_ROUNDS") != "" { // make crash: a million
		batches = 100
	}
	var b Batch
	for range batches {
		mark := b.Mark()
		for range each {
			b.Add([]byte("a"))
		}
		b.Order(mark, "a")
		if err := topic.Publish(&b); err != nil {
			t.Fatal(err)
		}
	}
	publishOrdered(t, topic, "b=other")
	for takes := 0; f["other"] == 0; takes++ {
		if takes > 1000 {
			t.Fatalf("the other key never comes: %+v", c.Stats())
		}
		f.takeAll(s)
	}
	if aside := c.Stats().Aside; aside != batches*each {
		t.Errorf("%d messages are aside", aside)
	}
	f.answer(t, s, "first", Finish, 0)
	expectBodies(t, "once the first has left", f.takeAll(s), "a")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestChannelReadsNoFurther: at ordered_ahead a channel leaves what waits where it is, and goes on once a key is free.
func TestChannelReadsNoFurther(t *testing.T) {
	topic, c := orderedTopic(t, &keptLog{})
	setTopicOptions(t, topic, `{"ordered_ahead":3}`)
	s := mustSubscribe(t, topic, "c", 100, SubscribeOptions{MsgTimeout: time.Hour})
	f := flight{}
	publishOrdered(t, topic, "a=a1", "a=a2", "b=b1", "a=a3", "b=b2", "a=a4", "c=c1", "d=d1")
	expectBodies(t, "at first", f.takeAll(s), "a1 b1")
	if st := c.Stats(); st.Depth != 6 || st.Aside != 3 {
		t.Errorf("depth %d, %d aside", st.Depth, st.Aside)
	}
	f.answer(t, s, "a1", Finish, 0)
	expectBodies(t, "once a is free", f.takeAll(s), "a2")
	f.answer(t, s, "b1", Finish, 0)
	expectBodies(t, "once b is free", f.takeAll(s), "b2 c1 d1")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDeadLetterAndItsKey: the key goes on once its message is a dead letter; sent back it keeps its key, and goes behind what waits.
func TestDeadLetterAndItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic, c := orderedTopic(t, &keptLog{})
		setOptions(t, c, `{"max_attempts":1}`)
		s := mustSubscribe(t, topic, "c", 100, SubscribeOptions{MsgTimeout: time.Hour})
		f := flight{}
		publishOrdered(t, topic, "a=a1", "a=a2", "a=a3")
		expectBodies(t, "at first", f.takeAll(s), "a1")
		f.answer(t, s, "a1", Requeue, 0)
		synctest.Wait()
		expectBodies(t, "once that is a dead letter", f.takeAll(s), "a2")
		if _, err := topic.Redrive("c", RedriveOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		expectBodies(t, "while a2 is out", f.takeAll(s), "")
		f.answer(t, s, "a2", Finish, 0)
		expectBodies(t, "after a2", f.takeAll(s), "a3")
		f.answer(t, s, "a3", Finish, 0)
		expectBodies(t, "after a3", f.takeAll(s), "a1")
		f.answer(t, s, "a1", Finish, 0)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestDeadLetterTopicStandsStill: as long as its dead letter topic refuses a message its key stands still, and goes on afterwards.
func TestDeadLetterTopicStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic, c := orderedTopic(t, &keptLog{})
		setOptions(t, c, `{"max_attempts":1}`)
		dead := mustTopic(t, topic.registry, "t.c.dlq")
		setTopicOptions(t, dead, `{"max_depth":1}`)
		publish(t, dead, 1)
		s := mustSubscribe(t, topic, "c", 100, SubscribeOptions{MsgTimeout: time.Hour})
		f := flight{}
		publishOrdered(t, topic, "a=a1", "a=a2", "b=b1")
		expectBodies(t, "at first", f.takeAll(s), "a1 b1")
		f.answer(t, s, "a1", Requeue, 0)
		synctest.Wait()
		expectBodies(t, "while that cannot leave", f.takeAll(s), "")
		setTopicOptions(t, dead, `{"max_depth":5}`)
		time.Sleep(2 * buryAgain)
		synctest.Wait()
		expectBodies(t, "once it has left", f.takeAll(s), "a2")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestEmptyingMovesNoOther: emptying an ordered channel leaves another one's turns alone, and its own keys are free.
func TestEmptyingMovesNoOther(t *testing.T) {
	topic, c := orderedTopic(t, &keptLog{})
	mustChannel(t, topic, "d")
	s, other := mustSubscribe(t, topic, "c", 100, SubscribeOptions{MsgTimeout: time.Hour}), mustSubscribe(t, topic, "d", 100, SubscribeOptions{MsgTimeout: time.Hour})
	f, g := flight{}, flight{}
	publishOrdered(t, topic, "a=a1", "a=a2")
	expectBodies(t, "at first", f.takeAll(s), "a1")
	expectBodies(t, "at first, on the other", g.takeAll(other), "a1")
	if err := c.Empty(); err != nil {
		t.Fatal(err)
	}
	publishOrdered(t, topic, "a=a3")
	expectBodies(t, "once emptied", f.takeAll(s), "a3")
	expectBodies(t, "on the other", g.takeAll(other), "")
	g.answer(t, other, "a1", Finish, 0)
	expectBodies(t, "on the other, after a1", g.takeAll(other), "a2")
	for _, s := range []*Subscription{s, other} {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOrderOfAnEphemeralChannel: it is ordered as others are, as far as it has room.
func TestOrderOfAnEphemeralChannel(t *testing.T) {
	topic, _ := orderedTopic(t, &keptLog{})
	s := mustSubscribe(t, topic, "e#ephemeral", 100, SubscribeOptions{MsgTimeout: time.Hour})
	f := flight{}
	publishOrdered(t, topic, "a=a1", "b=b1", "a=a2", "b=b2")
	expectBodies(t, "at first", f.takeAll(s), "a1 b1")
	f.answer(t, s, "b1", Finish, 0)
	expectBodies(t, "after b1", f.takeAll(s), "b2")
	f.answer(t, s, "a1", Finish, 0)
	expectBodies(t, "after a1", f.takeAll(s), "a2")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestBlockedKeys: a key whose message is out for long while others wait is named, with that message; one that moves, or has nothing behind it,
// is not.
func TestBlockedKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic, c := orderedTopic(t, &keptLog{})
		s := mustSubscribe(t, topic, "c", 100, SubscribeOptions{MsgTimeout: time.Hour})
		f := flight{}
		publishOrdered(t, topic, "a=a1", "a=a2", "b=b1", "b=b2", "b=b3", "c=c1")
		expectBodies(t, "at first", f.takeAll(s), "a1 b1 c1")
		began := time.Now()
		a1 := f["a1"]
		time.Sleep(blockedAfter / 2)
		f.answer(t, s, "b1", Finish, 0)
		expectBodies(t, "after b1", f.takeAll(s), "b2")
		time.Sleep(blockedAfter * 3 / 4)
		want := BlockedKey{Sum: journal.KeySum([]byte("a")), Pos: 1, ID: a1, Since: began, Behind: 1}
		for range 2 {
			st := c.Stats()
			if st.Blocked != 1 || len(st.BlockedKeys) != 1 || st.Aside != 2 {
				t.Fatalf("%+v", st)
			}
			got := st.BlockedKeys[0]
			if since := got.Since.Sub(want.Since).Abs(); since > time.Second {
				t.Errorf("since %v, want %v", got.Since, want.Since)
			}
			if got.Since = want.Since; got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
			f.answer(t, s, "a1", Requeue, 0) // it stays so while it waits to be delivered again
			expectBodies(t, "again", f.takeAll(s), "a1")
			time.Sleep(time.Second)
		}
		f.answer(t, s, "a1", Finish, 0)
		if st := c.Stats(); st.Blocked != 0 || st.BlockedKeys != nil {
			t.Errorf("%+v", st)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// keyWatch is what consumers that come and go must not do to keys.
type keyWatch struct {
	t        *testing.T
	mu       sync.Mutex
	ready    map[int]time.Time // since when a message could be delivered
	next     map[string][]int  // messages of each key that are not finished, in order
	out      map[string]bool   // keys
	newest   map[string]int
	finished int
}

func (w *keyWatch) published(n int, key string) {
	w.next[key] = append(w.next[key], n)
	if len(w.next[key]) == 1 {
		w.ready[n] = time.Now()
	}
}

func (w *keyWatch) got(m protocol.MessageFrame, attempts uint16) (n int, key string) {
	if _, err := fmt.Sscan(string(m.Body()), &n, &key); err != nil {
		w.t.Errorf("body %q", m.Body())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.out[key]:
		w.t.Errorf("message %d of key %s comes while another is out", n, key)
	case len(w.next[key]) == 0 || w.next[key][0] != n:
		w.t.Errorf("message %d of key %s comes, and next are %v", n, key, w.next[key])
	case attempts == 1 && n < w.newest[key]:
		w.t.Errorf("message %d of key %s comes first behind %d", n, key, w.newest[key])
	}
	if idle := time.Since(w.ready[n]); idle > time.Second {
		w.t.Errorf("message %d of key %s was left for %v with a consumer ready", n, key, idle)
	}
	w.out[key], w.newest[key] = true, max(n, w.newest[key])
	return n, key
}

// back says that a message is not out any more.
func (w *keyWatch) back(n int, key string, finished bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out[key] = false
	w.ready[n] = time.Now()
	if finished {
		w.finished++
		if w.next[key] = w.next[key][1:]; len(w.next[key]) > 0 {
			w.ready[w.next[key][0]] = time.Now()
		}
	}
}

// consume is one life of a consumer: it takes, works for a while on all that it has, finishes or gives back, and leaves in some way. A steady
// one always takes at once and does not leave.
func (w *keyWatch) consume(topic *Topic, rng *rand.Rand, steady bool, stop chan struct{}) {
	s := mustSubscribe(w.t, topic, "c", 1000, SubscribeOptions{MsgTimeout: time.Hour})
	defer func() {
		if err := s.Close(); err != nil {
			w.t.Error(err)
		}
	}()
	type held struct {
		n   int
		key string
		id  protocol.MessageID
	}
	var all []held
	var d Delivery
	for life := 3 + rng.IntN(20); life > 0 || steady; life-- {
		for s.Take(&d) > 0 {
			for _, run := range d.Runs {
				for frames := run.Frames; len(frames) > 0; {
					m := first(frames)
					frames = frames[len(m):]
					n, key := w.got(m, max(run.Attempts, 1))
					all = append(all, held{n, key, m.MustID()})
				}
			}
			d.Clear()
		}
		work := time.Duration(rng.IntN(300)) * time.Millisecond // a slow one holds its keys, and no others
		select {
		case <-s.Wake():
			continue
		case <-time.After(work):
		case <-stop:
			return
		}
		rng.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
		for len(all) > 0 && rng.IntN(4) > 0 {
			m := all[0]
			all = all[1:]
			a := []Answer{{ID: m.id, Verb: Finish}}
			if rng.IntN(5) == 0 {
				a[0].Verb = Requeue
			}
			w.back(m.n, m.key, a[0].Verb == Finish)
			if s.Apply(a, nil); a[0].Err != nil {
				w.t.Errorf("message %d: %v", m.n, a[0].Err)
			}
		}
	}
	for _, m := range all { // it is killed with what it has
		w.back(m.n, m.key, false)
	}
}

// TestConsumersComeAndGo: five consumers join, leave, are killed and are slow. The order of each key is strict, and no key is idle for
// over a second while a consumer is ready.
func TestConsumersComeAndGo(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			topic, c := orderedTopic(t, &keptLog{})
			w := &keyWatch{t: t, ready: map[int]time.Time{}, next: map[string][]int{}, out: map[string]bool{}, newest: map[string]int{}}
			stop := make(chan struct{})
			var consumers sync.WaitGroup
			for i := range uint64(5) {
				rng := rand.New(rand.NewPCG(seed, i))
				consumers.Go(func() {
					for {
						w.consume(topic, rng, i == 0, stop)
						select {
						case <-stop:
							return
						case <-time.After(time.Duration(rng.IntN(2000)) * time.Millisecond):
						}
					}
				})
			}
			rng := rand.New(rand.NewPCG(seed, 99))
			const messages = 2000
			for n := 1; n <= messages; {
				var b Batch
				w.mu.Lock()
				for range 1 + rng.IntN(20) {
					key := fmt.Sprintf("k%d", rng.IntN(30))
					mark := b.Mark()
					b.Add(fmt.Appendf(nil, "%d %s", n, key))
					b.Order(mark, key)
					w.published(n, key)
					n++
				}
				err := topic.Publish(&b)
				w.mu.Unlock()
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
			}
			for range 600 {
				time.Sleep(time.Second)
				if c.Stats().Held == 0 {
					break
				}
			}
			close(stop)
			consumers.Wait()
			if left := c.Stats(); left.Held > 0 {
				t.Errorf("seed %d: %d messages are stuck: %+v", seed, left.Held, left)
			}
		})
	}
}

// TestOrderedNeedsTheLog: level memory and ephemeral topics refuse the option, with the reason, and an ordered topic does not go there.
func TestOrderedNeedsTheLog(t *testing.T) {
	topic, _ := orderedTopic(t, &keptLog{})
	for _, name := range []string{"memory", "e#ephemeral"} {
		other := mustTopic(t, topic.registry, name)
		for _, text := range []string{`{"ordered":true}`, `{"ordered_ahead":5}`} {
			if err := other.SetOptions(raw(t, text)); err == nil || !strings.Contains(err.Error(), "kept in the log") {
				t.Errorf("%s of topic %s: %v", text, name, err)
			}
		}
	}
	if err := topic.SetOptions(raw(t, `{"durability":"memory"}`)); err == nil || !strings.Contains(err.Error(), "ordered") {
		t.Errorf("an ordered topic goes to memory: %v", err)
	}
}

// TestOrderSwitchedOnWhileMessagesAreOut: what waits to be delivered again, or is deferred, then has its place; what is in flight has it when it
// comes back.
func TestOrderSwitchedOnWhileMessagesAreOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic := mustTopic(t, durableRegistry(t, &keptLog{}), "t")
		mustChannel(t, topic, "c")
		s := mustSubscribe(t, topic, "c", 100, SubscribeOptions{MsgTimeout: time.Hour})
		f := flight{}
		publishOrdered(t, topic, "a=a1", "a=a2", "a=a3", "b=b1", "b=b2")
		expectBodies(t, "without order", f.takeAll(s), "a1 a2 a3 b1 b2")
		s.SetReady(0)
		f.answer(t, s, "a2", Requeue, 0)
		f.answer(t, s, "a3", Requeue, time.Minute)
		f.answer(t, s, "b2", Requeue, 0)
		setTopicOptions(t, topic, `{"ordered":true}`)
		s.SetReady(100)
		expectBodies(t, "with order", f.takeAll(s), "a2 b2")
		f.answer(t, s, "a1", Requeue, 0)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		expectBodies(t, "while a2 is out", f.takeAll(s), "")
		f.answer(t, s, "a2", Finish, 0)
		got := f.takeAll(s)
		if len(got) != 1 || !slices.Contains([]string{"a1", "a3"}, got[0]) {
			t.Errorf("after a2 %v comes", got)
		}
		setTopicOptions(t, topic, `{"ordered":false}`)
		if got := f.takeAll(s); len(got) != 1 {
			t.Errorf("once the order is off %v comes", got)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
