package topic

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/segment"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

// smallSegments keeps segments in files of a few blocks each.
type smallSegments struct{ fs vfs.FS }

func (k smallSegments) Open(id uint32, name string, whole map[uint32]int64) (*segment.Store, []segment.Block, []segment.Damage, error) {
	return segment.Open(segment.Options{FS: k.fs, Dir: strconv.Itoa(int(id)), Name: name, FileSize: 128 << 10})
}

// onSegments is a topic with a channel whose messages are in segments but for a few, and what its registry logs.
func onSegments(t *testing.T) (topic *Topic, logged *strings.Builder) {
	t.Helper()
	logged = &strings.Builder{}
	cfg := config()
	makeDurable(&cfg)
	cfg.MemQueueSize, cfg.Segments = 10, smallSegments{vfs.NewMem()}
	cfg.Log = slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelWarn}))
	topic = mustTopic(t, start(t, cfg), "t")
	mustChannel(t, topic, "c")
	return topic, logged
}

// padded publishes so many messages of a size, deferred when there is a delay.
func padded(t *testing.T, topic *Topic, count, size int, delay time.Duration) {
	t.Helper()
	pad := strings.Repeat("x", size)
	for i := range count {
		var b Batch
		b.Add(fmt.Appendf(nil, "%d %s", i, pad))
		if err := topic.PublishDeferred(&b, delay); err != nil {
			t.Fatal(err)
		}
	}
}

// deferredPages goes through all that is deferred.
func deferredPages(t *testing.T, c *Channel, o Look, page func([]Message)) (pages int) {
	t.Helper()
	for mark := (DueMark{}); ; pages++ {
		list, next, err := c.BrowseDeferred(t.Context(), mark, o)
		if err != nil {
			t.Fatal(err)
		}
		page(list)
		if mark = next; mark == (DueMark{}) {
			return pages + 1
		}
	}
}

// TestBrowseDeferredBounds: an answer keeps to its bounds, whatever it looks for, and cursors go through all of it once.
func TestBrowseDeferredBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic, _ := onSegments(t)
		const count = 1000
		padded(t, topic, count, 2000, time.Hour)
		c := topic.Channels()[0]
		for _, o := range []Look{{Limit: 7, Body: 4}, {Limit: 1000, Body: -1, MaxBytes: 5000}, {Limit: 1000, Body: 4, Scan: 1}, {Limit: 1000, Body: 0}} {
			var last Position
			seen := 0
			pages := deferredPages(t, c, o, func(list []Message) {
				size := 0
				for _, m := range list {
					if m.Pos <= last {
						t.Fatalf("%+v shows %d behind %d", o, m.Pos, last)
					}
					last = m.Pos
					seen++
					size += len(m.Body)
				}
				if len(list) > o.Limit || o.MaxBytes > 0 && size > o.MaxBytes+2100 || o.Scan == 1 && len(list) > 1 {
					t.Fatalf("%d messages of %d bytes for %+v", len(list), size, o)
				}
			})
			if seen != count {
				t.Errorf("%+v shows %d messages in %d pages", o, seen, pages)
			}
		}
		found := 0
		pages := deferredPages(t, c, Look{Limit: 10, Body: 4, Contains: []byte("999 ")}, func(list []Message) { found += len(list) })
		if found != 1 || pages != 1 {
			t.Errorf("a search has found %d in %d pages", found, pages)
		}
		done, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := c.BrowseDeferred(done, DueMark{}, Look{Limit: 10}); !errors.Is(err, context.Canceled) {
			t.Errorf("whoever asked has left: %v", err)
		}
	})
}

// TestDeferredBodiesAreNotKept: who lists what is deferred has one body in memory, however many there are.
func TestDeferredBodiesAreNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic, _ := onSegments(t)
		const count, size = 40, 1 << 20
		padded(t, topic, count, size, time.Hour)
		heap := func() uint64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		var list []Scheduled
		before := heap()
		if _, _, err := topic.Channels()[0].eachDeferred(t.Context(), DueMark{}, count, func(m *Scheduled, _ protocol.MessageFrame) bool {
			list = append(list, *m)
			if len(list) == count {
				if more := int64(heap() - before); more > 8*size {
					t.Errorf("%d bytes are in memory", more)
				}
			}
			return true
		}); err != nil || len(list) != count {
			t.Errorf("%d messages: %v", len(list), err)
		}
	})
}

// TestBrowseOfWhatGoes: nodes that nobody needs any more, or whose topic is deleted, are passed over by who just looks, without a word: nothing is
// lost.
func TestBrowseOfWhatGoes(t *testing.T) {
	for _, deleted := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			topic, logged := onSegments(t)
			r := topic.registry
			padded(t, topic, 300, 2000, 0)
			var nodes []*stored
			for _, s := range topic.d.table.each() {
				if s.onDisk.Load() && s.node.Frames() == nil {
					nodes = append(nodes, s)
				}
			}
			if len(nodes) < 2 {
				t.Fatalf("%d nodes are on disk", len(nodes))
			}
			if deleted {
				if err := r.DeleteTopic("t"); err != nil {
					t.Fatal(err)
				}
			} else {
				if err := topic.Channels()[0].Empty(); err != nil {
					t.Fatal(err)
				}
				r.Reclaim()
				r.PrepareDrop()
				if err := r.Drop(); err != nil || r.OnDisk() != 0 {
					t.Fatalf("%v, %d nodes are on disk", err, r.OnDisk())
				}
			}
			for _, s := range nodes {
				node, beside, err := topic.look(s, nil)
				if err != nil || len(node.frames) > 0 && !deleted || beside != nil {
					t.Fatalf("%d bytes, %v", len(node.frames), err)
				}
			}
			if logged.Len() > 0 {
				t.Errorf("logged is %s", logged)
			}
		})
	}
}

// TestBrowseBesideRefusals: what the disk has refused is never seen, by whoever looks at whatever moment.
func TestBrowseBesideRefusals(t *testing.T) {
	l := &keptLog{}
	topic := mustTopic(t, durableRegistry(t, l), "t")
	c := mustChannel(t, topic, "c")
	const again = 20_000 // to be delivered again, so that a look takes its time
	for range again / 1000 {
		publish(t, topic, 1000)
	}
	s := mustSubscribe(t, topic, "c", again, SubscribeOptions{})
	var d Delivery
	for s.Take(&d) > 0 {
		d.Clear()
	}
	s.Close()
	l.fail(errDisk)
	var done atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			var b Batch
			for !done.Load() {
				b.Reset()
				b.Add([]byte("refused"))
				if err := topic.Publish(&b); !errors.Is(err, errDisk) {
					t.Errorf("a publish that the disk refuses: %v", err)
					return
				}
			}
		})
	}
	look := Look{From: again + 1, Limit: 1, Body: -1}
	for range 80 {
		l, err := c.BrowseWaiting(t.Context(), look)
		if err == nil && len(l.Messages) == 0 {
			l, err = topic.Browse(t.Context(), look)
		}
		if err != nil || len(l.Messages) > 0 {
			t.Errorf("%q is seen, %v", texts(l.Messages), err)
			break
		}
		if err := topic.walk(again+1, func(m protocol.MessageFrame, pos Position, _ []byte, _ uint32) bool {
			t.Errorf("%q is seen at %d", m.Body(), pos)
			return false
		}); err != nil || t.Failed() {
			t.Error(err)
			break
		}
		look.From = max(again+1, topic.Shown()-100)
	}
	done.Store(true)
	wg.Wait()
	l.fail(nil)
}
