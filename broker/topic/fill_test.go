package topic

import (
	"bytes"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/vfs"
)

// TestWhatIsDueTogetherIsReadTogether: deferred messages whose bodies are on disk take a look at the disk for many of them when they fall due
// together, and one for each when they are far apart. All come, whole, and what is given back comes again.
func TestWhatIsDueTogetherIsReadTogether(t *testing.T) {
	const count, size = 6000, 300
	for _, apart := range []int{1, 500} { // of so many messages one is due now
		synctest.Test(t, func(t *testing.T) {
			cfg := config()
			makeDurable(&cfg)
			disk := vfs.NewFaulty(vfs.NewMem())
			cfg.Segments, cfg.MemQueueSize = keptSegments{disk}, 10
			r := start(t, cfg)
			topic := mustTopic(t, r, "t")
			mustChannel(t, topic, "c")
			body := func(i int) []byte { return bytes.Repeat([]byte{byte(i), byte(i >> 8)}, size/2) }
			wanted := 0
			for i := range count {
				var b Batch
				b.Add(body(i))
				delay := time.Hour
				if i%apart == 0 {
					delay, wanted = time.Minute, wanted+1
				}
				if err := topic.PublishDeferred(&b, delay); err != nil {
					t.Fatal(err)
				}
			}
			if topic.d.onDisk.Load() < 3 {
				t.Fatalf("%d nodes are on disk", topic.d.onDisk.Load())
			}
			var reads atomic.Int64
			disk.Observe(func(op vfs.Op, _ string) {
				if op == vfs.OpRead {
					reads.Add(1)
				}
			})
			time.Sleep(2 * time.Minute)
			s := mustSubscribe(t, topic, "c", 2*count, SubscribeOptions{})
			var d Delivery
			seen := map[int]int{}
			for round := range 2 {
				var answers []Answer
				for n := s.Take(&d); n > 0; n = s.Take(&d) {
					for _, run := range d.Runs {
						for frames := run.Frames; len(frames) > 0; {
							f := first(frames)
							frames = frames[len(f):]
							i := int(f.Body()[0]) + int(f.Body()[1])<<8
							if !bytes.Equal(f.Body(), body(i)) || i%apart != 0 || seen[i] != round {
								t.Fatalf("message %d came %d times, or has another body", i, seen[i]+1)
							}
							seen[i]++
							answers = append(answers, Answer{ID: f.MustID(), Verb: []Verb{Requeue, Finish}[round]})
						}
					}
					d.Clear()
				}
				if len(answers) != wanted {
					t.Fatalf("round %d: %d came, want %d", round, len(answers), wanted)
				}
				s.Apply(answers, nil)
			}
			most := int64(wanted/20 + 20)
			if apart > 1 {
				most = int64(3 * wanted)
			}
			if reads.Load() > most {
				t.Errorf("%d looks at the disk for %d messages, one of %d due: want %d at most", reads.Load(), 2*wanted, apart, most)
			}
			if c := topic.LookupChannel("c").Stats(); c.Held != count-wanted || !c.Balanced {
				t.Errorf("%+v", c)
			}
		})
	}
}

// TestWhatAChannelLetsGoOfWhileItIsReadIsNotLost: a channel that is emptied, or goes, while due messages are read of the disk needs none of them, and
// their nodes may go with it: nobody is told that they were lost. One that stays and misses some is said to have lost them.
func TestWhatAChannelLetsGoOfWhileItIsReadIsNotLost(t *testing.T) {
	const count = 6000
	body := bytes.Repeat([]byte("m"), 300)
	for name, act := range map[string]func(*Channel) error{
		"emptied": (*Channel).Empty,
		"gone":    func(c *Channel) error { return c.topic.DeleteChannel(c.name) },
		"stays":   nil,
	} {
		for _, channel := range []string{"c", "c#ephemeral"} {
			synctest.Test(t, func(t *testing.T) {
				var log strings.Builder
				cfg := config()
				makeDurable(&cfg)
				disk := vfs.NewFaulty(vfs.NewMem())
				cfg.Segments, cfg.MemQueueSize = keptSegments{disk}, 10
				cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
				r := start(t, cfg)
				topic := mustTopic(t, r, "t")
				c := mustChannel(t, topic, channel)
				for range count {
					var b Batch
					b.Add(body)
					if err := topic.PublishDeferred(&b, time.Minute); err != nil {
						t.Fatal(err)
					}
				}
				if n := topic.d.onDisk.Load(); n < 3 {
					t.Fatalf("%d nodes are on disk", n)
				}
				time.Sleep(2 * time.Minute)
				s := mustSubscribe(t, topic, channel, 2*count, SubscribeOptions{})
				var acted atomic.Bool
				disk.Observe(func(op vfs.Op, _ string) {
					if op != vfs.OpRead || acted.Swap(true) {
						return
					}
					if act != nil {
						if err := act(c); err != nil {
							t.Error(err)
						}
					}
					topic.pub.Lock()
					defer topic.pub.Unlock()
					if act != nil {
						topic.reclaimLocked()
						return
					}
					for _, s := range topic.d.table.each() { // as if they were damaged
						topic.dropLocked(s)
					}
				})
				var d Delivery
				for s.Take(&d) > 0 {
					d.Clear()
				}
				synctest.Wait()
				if !acted.Load() {
					t.Fatal("nothing was read of the disk")
				}
				if told := strings.Contains(log.String(), "was lost"); told != (act == nil) {
					t.Errorf("channel %s, %s: the log says %.400q", channel, name, log.String())
				}
			})
		}
	}
}

// TestAnEphemeralChannelLosesNothingWhenOrderBeginsToCount: an ephemeral channel that has discarded some has copies of others, which are all that there
// is of them once their nodes have gone. With the option ordered set, or taken off, while they are out, have come back or are aside, all come again.
func TestAnEphemeralChannelLosesNothingWhenOrderBeginsToCount(t *testing.T) {
	const bound = 100
	for name, c := range map[string]struct {
		before bool // it comes back before the option is set
		delay  time.Duration
		off    bool // the option is set before all, and taken off
	}{
		"out": {}, "out, deferred": {delay: time.Minute}, "back": {before: true}, "deferred": {before: true, delay: time.Minute},
		"off, out": {off: true}, "off, back": {off: true, before: true}, "off, deferred": {off: true, before: true, delay: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log strings.Builder
				cfg := config()
				makeDurable(&cfg)
				cfg.MemQueueSize = bound
				cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
				r := start(t, cfg)
				topic := mustTopic(t, r, "t")
				if c.off {
					setTopicOptions(t, topic, `{"ordered":true}`)
				}
				s := mustSubscribe(t, topic, "c#ephemeral", bound, SubscribeOptions{})
				var b Batch
				for i := range 2 * bound {
					b.Add(bytes.Repeat([]byte("m"), 300))
					if i < bound/2 || c.off {
						b.setSum(i, uint32(i%bound/2+1))
					}
				}
				if err := topic.Publish(&b); err != nil {
					t.Fatal(err)
				}
				topic.pub.Lock() // as much that comes would have it
				topic.d.nodes.Close()
				topic.d.tail = nil
				topic.reclaimLocked()
				left := len(topic.d.table.each())
				topic.pub.Unlock()
				if left > 0 {
					t.Fatalf("%s: %d nodes are there", name, left)
				}
				take := func() (list []Answer) {
					var d Delivery
					for s.Take(&d) > 0 {
						for _, run := range d.Runs {
							for frames := run.Frames; len(frames) > 0; {
								f := first(frames)
								frames = frames[len(f):]
								list = append(list, Answer{ID: f.MustID(), Verb: Requeue, Delay: c.delay})
							}
						}
						d.Clear()
					}
					return list
				}
				set := `{"ordered":true}`
				if c.off {
					set = `{"ordered":null}`
				}
				out := take()
				if !c.before {
					setTopicOptions(t, topic, set)
				}
				s.Apply(out, nil)
				if c.before {
					setTopicOptions(t, topic, set)
				}
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				again := 0
				for list := take(); len(list) > 0; list = take() {
					again += len(list)
					for i := range list {
						list[i].Verb = Finish
					}
					s.Apply(list, nil)
					synctest.Wait()
				}
				if again != bound || strings.Contains(log.String(), "ERROR") {
					t.Errorf("%s: %d messages came of %d, the log: %.300q", name, again, bound, log.String())
				}
			})
		})
	}
}
