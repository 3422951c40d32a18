package topic

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/policy"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

// logged returns a registry whose topics are in a log, and level for what is at level memory.
func logged(t *testing.T, level Level) *Registry {
	cfg := config()
	cfg.MemQueueSize = 2_000_000
	if level > Memory {
		cfg.Journal, cfg.Segments, cfg.Level = &keptLog{}, keptSegments{vfs.NewMem()}, func(string) Level { return level }
	}
	return start(t, cfg)
}

func setTTL(t *testing.T, topic *Topic, ttl string) {
	t.Helper()
	if err := topic.SetOptions(map[string]json.RawMessage{"ttl": json.RawMessage(`"` + ttl + `"`)}); err != nil {
		t.Fatal(err)
	}
}

// publishWith publishes n messages with a time to live of their own, 0 for none.
func publishWith(t *testing.T, topic *Topic, n int, ttl time.Duration) {
	t.Helper()
	var b Batch
	for i := range n {
		b.Add(fmt.Appendf(nil, "m%d", i+1))
	}
	b.TTL = ttl
	if err := topic.Publish(&b); err != nil {
		t.Fatal(err)
	}
}

// TestManyExpireTogether: a hundred thousand messages, in make crash a million, whose time is over go at once, with nobody consuming, on
// each channel.
func TestManyExpireTogether(t *testing.T) {
	for _, c := range []struct {
		name  string
		level Level
		own   time.Duration
	}{{"option at memory", Memory, 0}, {"option at disk", Disk, 0}, {"own at disk", Disk, 10 * time.Second}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				topic := mustTopic(t, logged(t, c.level), "t")
				a, b := mustChannel(t, topic, "a"), mustChannel(t, topic, "b")
				if c.own == 0 {
					setTTL(t, topic, "10s")
				}
				const each = 20_000
				batches := 5
				if os.Getenv("BROKERD_CRASH_ROUNDS") != "" { // make crash: a million
					batches = 50
				}
				for range batches {
					publishWith(t, topic, each, c.own)
				}
				time.Sleep(9999 * time.Millisecond)
				if n := a.Stats().Depth; n != int64(batches*each) {
					t.Fatalf("%d wait a millisecond before their time is over", n)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				for _, ch := range []*Channel{a, b} {
					if s := ch.Stats(); s.Depth != 0 || s.Counts.Discarded[journal.Expired] != uint64(batches*each) || !s.Balanced {
						t.Errorf("channel %s: %d wait, %d expired, balanced %v", ch.Name(), s.Depth, s.Counts.Discarded[journal.Expired], s.Balanced)
					}
				}
			})
		})
	}
}

// TestExpiryKeepsTimeWhilePublishing: a thousand publishes a second put nothing off, by the option or by messages' own time, whether what
// waits is in memory or most of it on disk.
func TestExpiryKeepsTimeWhilePublishing(t *testing.T) {
	for _, level := range []Level{Memory, Disk, Fsync} {
		for _, memory := range []int{10_000, 50} {
			for _, own := range []time.Duration{0, 500 * time.Millisecond} {
				if own > 0 && level == Memory {
					continue
				}
				dir := t.TempDir()
				synctest.Test(t, func(t *testing.T) {
					cfg := config()
					cfg.MemQueueSize, cfg.Queues = memory, folder(dir)
					if level > Memory {
						cfg.Journal, cfg.Segments, cfg.Level = &keptLog{}, keptSegments{vfs.NewMem()}, func(string) Level { return level }
					}
					topic := mustTopic(t, start(t, cfg), "t")
					c := mustChannel(t, topic, "c")
					if own == 0 {
						setTTL(t, topic, "500ms")
					}
					most := int64(0)
					for range 2000 {
						publishWith(t, topic, 1, own)
						time.Sleep(time.Millisecond)
						most = max(most, c.Stats().Depth)
					}
					if late := lookLatest.Milliseconds(); most > 500+late { // a look that does not know what is next comes that late
						t.Errorf("level %s, %d in memory, own time %v: up to %d wait, of 500 that live", level, memory, own, most)
					}
				})
			}
		}
	}
}

// TestOtherOptionsLeaveTTL: each other option is set and put back while messages wait; they expire when they would have.
func TestOtherOptionsLeaveTTL(t *testing.T) {
	for i := range policy.Table {
		o := &policy.Table[i]
		if o.Name == "ttl" {
			continue
		}
		value := ""
		for _, some := range []string{`"fsync"`, `"body"`, `"drop-oldest"`, `"fixed:1s"`, `"graves"`, `"10m"`, `"1"`, `"end"`, "1000000", "5", "true"} {
			if _, err := (*policy.Set)(nil).With(raw(t, `{"`+o.Name+`":`+some+`}`), false); err == nil {
				value = some
				break
			}
		}
		if value == "" {
			t.Errorf("option %s takes none of the values that are tried", o.Name)
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			topic := mustTopic(t, logged(t, Disk), "t")
			c := mustChannel(t, topic, "c")
			own := mustTopic(t, c.topic.registry, "own")
			d := mustChannel(t, own, "c")
			setTTL(t, topic, "10s")
			publishWith(t, topic, 3, 0)
			publishWith(t, own, 3, 10*time.Second)
			for _, next := range []string{value, "null"} {
				time.Sleep(4 * time.Second)
				for _, to := range []*Topic{topic, own} {
					if err := to.SetOptions(raw(t, `{"`+o.Name+`":`+next+`}`)); err != nil {
						t.Fatal(err)
					}
				}
			}
			time.Sleep(1900 * time.Millisecond)
			before := [2]int64{c.Stats().Depth, d.Stats().Depth}
			time.Sleep(1500 * time.Millisecond)
			synctest.Wait()
			if after := [2]int64{c.Stats().Depth, d.Stats().Depth}; before != [2]int64{3, 3} || after != [2]int64{} {
				t.Errorf("%s: just before their time %v wait, behind it %v", o.Name, before, after)
			}
		})
	}
}

// TestAClockThatIsSetExpiresNothing: neither forth nor back; what is over by the time that has passed goes, and delays are what they were.
func TestAClockThatIsSetExpiresNothing(t *testing.T) {
	for _, by := range []time.Duration{24 * time.Hour, -30 * time.Minute} {
		for _, level := range []Level{Memory, Disk} {
			synctest.Test(t, func(t *testing.T) {
				r := logged(t, level)
				topic := mustTopic(t, r, "t")
				c := mustChannel(t, topic, "c")
				setTTL(t, topic, "1h")
				own := time.Duration(0)
				if level > Memory {
					own = time.Hour
				}
				publishWith(t, topic, 3, own)
				var b Batch
				b.Add([]byte("later"))
				if err := topic.PublishDeferred(&b, 2*time.Hour); err != nil {
					t.Fatal(err)
				}
				time.Sleep(20 * time.Minute)
				r.skew = by // the clock is set
				publishWith(t, topic, 2, own)
				depth := func(want int64, deferred int) {
					t.Helper()
					synctest.Wait()
					if s := c.Stats(); s.Depth != want || s.Deferred != deferred {
						t.Errorf("set by %v, level %v: %d wait and %d are deferred, want %d and %d", by, level, s.Depth, s.Deferred, want, deferred)
					}
				}
				time.Sleep(39 * time.Minute)
				depth(5, 1)
				time.Sleep(2 * time.Minute)
				depth(2, 1)
				time.Sleep(18 * time.Minute)
				depth(2, 1)
				time.Sleep(2 * time.Minute)
				depth(0, 1)
				time.Sleep(39 * time.Minute)
				depth(1, 0)
				time.Sleep(58 * time.Minute)
				depth(1, 0)
				time.Sleep(2 * time.Minute)
				depth(0, 0)
			})
		}
	}
}

// TestAClockThatIsSetChangesNoDelay: set back or forth it neither ends nor stretches a time in flight, a requeue's delay or a backoff, and what
// is published then is delivered.
func TestAClockThatIsSetChangesNoDelay(t *testing.T) {
	for _, by := range []time.Duration{24 * time.Hour, -30 * time.Minute} {
		for _, level := range []Level{Memory, Disk} {
			synctest.Test(t, func(t *testing.T) {
				r := logged(t, level)
				topic := mustTopic(t, r, "t")
				c := mustChannel(t, topic, "c")
				setOptions(t, c, `{"backoff":"fixed:1m"}`)
				s := mustSubscribe(t, topic, "c", 10, SubscribeOptions{MsgTimeout: time.Minute})
				publish(t, topic, 2)
				var d Delivery
				if s.Take(&d) != 2 {
					t.Fatal("nothing comes")
				}
				off := []Answer{{ID: first(d.Runs[0].Frames).MustID(), Verb: Requeue, Delay: 3 * time.Minute}}
				s.Apply(off, nil)
				d.Clear()
				r.skew = by // the clock is set
				publish(t, topic, 1)
				come := func(at time.Duration, want int) {
					t.Helper()
					synctest.Wait()
					if n := s.Take(&d); n != want {
						t.Errorf("set by %v, level %v: after %v %d come, want %d", by, level, at, n, want)
					}
					d.Clear()
				}
				come(0, 1)
				time.Sleep(59 * time.Second)
				if n := c.Stats().InFlight; n != 2 {
					t.Errorf("set by %v, level %v: %d are in flight before their time is over", by, level, n)
				}
				time.Sleep(2 * time.Second)
				if n := c.Stats().InFlight; n != 0 {
					t.Errorf("set by %v, level %v: %d are in flight behind their time", by, level, n)
				}
				come(61*time.Second, 0) // they rest
				time.Sleep(58 * time.Second)
				come(119*time.Second, 0)
				time.Sleep(2 * time.Second)
				come(121*time.Second, 2)
				time.Sleep(58 * time.Second)
				come(179*time.Second, 0)
				time.Sleep(2 * time.Second)
				come(181*time.Second, 1)
			})
		}
	}
}

// TestTheTracerIsToldWhichMessages: of a publish it hears the ids that consumers see.
func TestTheTracerIsToldWhichMessages(t *testing.T) {
	told := &toldTracer{}
	cfg := config()
	cfg.Trace = told
	topic := mustTopic(t, start(t, cfg), "t")
	c := mustSubscribe(t, topic, "c", 10, SubscribeOptions{})
	publish(t, topic, 2)
	var d Delivery
	c.Take(&d)
	if id := first(d.Runs[0].Frames).MustID(); told.first != uint64(id) || told.count != 2 {
		t.Errorf("told of %d from %x on, delivered was %x", told.count, told.first, uint64(id))
	}
}

type toldTracer struct {
	first uint64
	count int
}

func (t *toldTracer) Published(_ string, first protocol.MessageID, count int, _ int64) {
	t.first, t.count = uint64(first), count
}
func (t *toldTracer) Traces(protocol.MessageID) bool                              { return false }
func (t *toldTracer) Delivered(string, string, protocol.MessageID, int64, uint16) {}
