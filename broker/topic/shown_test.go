package topic

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/journal"
)

var errDisk = errors.New("the disk does not take it")

// gatedLog is a log whose commits of publishes wait until the test says how they end.
type gatedLog struct {
	*keptLog
	mu   sync.Mutex
	open bool // commits succeed at once
	ends map[journal.Offset]chan error
}

func newGatedLog() *gatedLog {
	return &gatedLog{keptLog: &keptLog{}, open: true, ends: map[journal.Offset]chan error{}}
}

func (l *gatedLog) Commit(at journal.Offset, _ bool) error {
	l.mu.Lock()
	if l.open {
		l.mu.Unlock()
		return nil
	}
	end := make(chan error)
	l.ends[at] = end
	l.mu.Unlock()
	return <-end
}

// set lets commits pass or has them wait.
func (l *gatedLog) set(open bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = open
}

// finish ends the n-th commit that waits, in the order of the log.
func (l *gatedLog) finish(t *testing.T, n int, err error) {
	t.Helper()
	synctest.Wait()
	l.mu.Lock()
	var list []journal.Offset
	for at := range l.ends {
		list = append(list, at)
	}
	slices.SortFunc(list, func(a, b journal.Offset) int {
		if a.Before(b) {
			return -1
		}
		return 1
	})
	if n >= len(list) {
		t.Fatalf("%d commits wait, none is number %d", len(list), n)
	}
	end := l.ends[list[n]]
	delete(l.ends, list[n])
	l.mu.Unlock()
	end <- err
	synctest.Wait()
}

// gated is a topic with a channel whose log is gated.
type gated struct {
	t     *testing.T
	log   *gatedLog
	r     *Registry
	topic *Topic
	sub   *Subscription
	wg    sync.WaitGroup
	errs  map[string]error
	mu    sync.Mutex

	unordered bool // what is due at the same time comes in any order
}

func newGated(t *testing.T) *gated {
	g := &gated{t: t, log: newGatedLog(), errs: map[string]error{}}
	cfg := config()
	makeDurable(&cfg)
	cfg.Journal = g.log
	g.r = start(t, cfg)
	g.topic = mustTopic(t, g.r, "t")
	g.sub = mustSubscribe(t, g.topic, "c", 100, SubscribeOptions{})
	g.log.set(false)
	t.Cleanup(func() { g.log.set(true); g.wg.Wait() })
	return g
}

// publish publishes messages in the background, together, and returns once it waits for the disk.
func (g *gated) publish(delay time.Duration, bodies ...string) {
	g.wg.Go(func() {
		var b Batch
		for _, body := range bodies {
			b.Add([]byte(body))
		}
		err := g.topic.PublishDeferred(&b, delay)
		g.mu.Lock()
		defer g.mu.Unlock()
		g.errs[bodies[0]] = err
	})
	synctest.Wait()
}

// bodies takes all that the consumer can get.
func (g *gated) bodies() (got []string) {
	var d Delivery
	for g.sub.Take(&d) > 0 {
		for _, run := range d.Runs {
			for frames := run.Frames; len(frames) > 0; {
				f := first(frames)
				frames = frames[len(f):]
				got = append(got, string(f.Body()))
			}
		}
		d.Clear()
	}
	return got
}

func (g *gated) expect(want ...string) {
	g.t.Helper()
	synctest.Wait()
	got := g.bodies()
	if g.unordered {
		slices.Sort(got)
	}
	if !slices.Equal(got, want) {
		g.t.Errorf("the consumer got %v, want %v", got, want)
	}
	checkBooks(g.t, g.r)
}

// TestNothingIsShownBeforeItIsSafe: a message is given out once its publish and all before it are as safe as they are to be, and the
// consumer is woken then.
func TestNothingIsShownBeforeItIsSafe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGated(t)
		g.publish(0, "a1", "a2")
		g.publish(0, "b")
		g.expect()
		g.log.finish(t, 1, nil)
		g.expect() // a is before it
		woken(g.sub)
		g.log.finish(t, 0, nil)
		if !woken(g.sub) {
			t.Error("nobody tells the consumer")
		}
		g.expect("a1", "a2", "b")
	})
}

// TestRefusedPublishIsNeverDelivered: what the disk did not take nobody gets, whatever is published before, behind and afterwards, and
// whoever reads the log later sees it the same way.
func TestRefusedPublishIsNeverDelivered(t *testing.T) {
	for refused := range 3 {
		for _, delay := range []time.Duration{0, time.Minute} {
			t.Run(fmt.Sprint(refused, delay), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { refuseOne(t, refused, delay) })
			})
		}
	}
}

// refuseOne publishes three times, one of which is refused, and then once more.
func refuseOne(t *testing.T, refused int, delay time.Duration) {
	g := newGated(t)
	g.unordered = delay > 0
	batches := [][]string{{"a1", "a2"}, {"b1", "b2"}, {"c1", "c2"}}
	for _, b := range batches {
		g.publish(delay, b...)
	}
	for i := len(batches) - 1; i >= 0; i-- {
		if i == refused {
			g.log.finish(t, i, errDisk)
		} else {
			g.log.finish(t, i, nil)
		}
	}
	var want []string
	for i, b := range batches {
		if err := g.errs[b[0]]; (err != nil) != (i == refused) {
			t.Errorf("publish %d: %v", i, err)
		}
		if i != refused {
			want = append(want, b...)
		}
	}
	if s := g.topic.Stats(); s.MessageCount != 4 {
		t.Errorf("%d messages are counted, want 4", s.MessageCount)
	}
	time.Sleep(delay)
	g.expect(want...)
	g.log.set(true)
	publish(t, g.topic, 1)
	g.expect("m1")

	again := recovered(t, g.log.keptLog).Lookup("t").LookupChannel("c")
	if s := again.Stats(); s.Depth != 5 || !s.Balanced || s.Counts.Accepted != 5 {
		t.Errorf("who reads the log finds %+v", s)
	}
	g.sub.Close()
}

// TestRefusedPublishInATopicWithoutChannels: what was refused while it waited in the topic does not come to its channels.
func TestRefusedPublishInATopicWithoutChannels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, delay := range []time.Duration{0, time.Minute} {
			g := newGated(t)
			g.log.set(true)
			g.topic.SetPaused(true)
			g.log.set(false)
			g.publish(delay, "a")
			g.publish(delay, "b")
			g.log.set(true)
			g.topic.SetPaused(false) // both move to the channel
			g.log.set(false)
			g.log.finish(t, 0, errDisk)
			g.log.finish(t, 0, nil)
			time.Sleep(delay)
			g.expect("b")
			g.log.set(true)
			g.sub.Close()
		}
	})
}

// TestDueBeforeItIsSafe: a deferred message whose time comes before its publish is safe waits for that.
func TestDueBeforeItIsSafe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGated(t)
		g.publish(time.Second, "a")
		g.publish(time.Second, "b")
		time.Sleep(time.Minute)
		g.expect()
		g.log.finish(t, 0, errDisk)
		g.log.finish(t, 0, nil)
		g.expect("b")
		g.log.set(true)
		g.sub.Close()
	})
}

// TestVoidIsSaidUntilItIsWritten: as long as commits fail the log may not say which positions are void, so that each publish says it.
func TestVoidIsSaidUntilItIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGated(t)
		for _, name := range []string{"a", "b", "c"} {
			g.publish(0, name)
			g.log.finish(t, 0, errDisk)
		}
		g.log.set(true)
		publish(t, g.topic, 1)
		voids := func() (n int) {
			for _, r := range g.log.records {
				if r.kind == journal.KindVoid {
					n++
				}
			}
			return n
		}
		if n := voids(); n != 1+1+2+2+3+3 {
			t.Errorf("%d records say what is void, want 12", n)
		}
		publish(t, g.topic, 1)
		if n := voids(); n != 12 {
			t.Error("it is said again although the log has it")
		}
		g.expect("m1", "m1")
	})
}
