package topic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/backlog"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

// checkpoint writes one that nobody reads.
func checkpoint(t *testing.T, r *Registry) {
	t.Helper()
	err := r.Cut().Run(io.Discard, func(journal.Offset) error { return nil }, func(int64) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
}

// eachTaken takes what there is, and answers as it is told.
func eachTaken(s *Subscription, answer func(protocol.MessageFrame) Answer) {
	var d Delivery
	for s.Take(&d) > 0 {
		var answers []Answer
		for _, run := range d.Runs {
			for rest := run.Frames; len(rest) > 0; {
				m := protocol.FirstMessage(rest)
				rest = rest[len(m):]
				a := answer(m)
				a.ID = m.MustID()
				answers = append(answers, a)
			}
		}
		d.Clear()
		s.Apply(answers, nil)
	}
}

// TestCompact: of messages on disk most are finished, some are deferred or given back; what is left is written together anew, the old
// files go after three checkpoints, and all of it is delivered, once.
func TestCompact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		makeDurable(&cfg)
		mem := vfs.NewMem()
		cfg.MemQueueSize, cfg.Segments = 10, keptSegments{mem}
		r := start(t, cfg)
		topic := mustTopic(t, r, "t")
		mustChannel(t, topic, "c")
		const count, every = 2000, 50
		for i := range count {
			var b Batch
			b.Add(fmt.Appendf(nil, "%04d%s", i, strings.Repeat("x", 2000)))
			if err := topic.Publish(&b); err != nil {
				t.Fatal(err)
			}
		}
		checkpoint(t, r)
		before := topic.d.segments.Bytes()
		want := map[string]bool{}
		s := mustSubscribe(t, topic, "c", count, SubscribeOptions{})
		n := 0
		for range 100 {
			eachTaken(s, func(m protocol.MessageFrame) Answer {
				if n++; n%every != 0 {
					return Answer{Verb: Finish}
				}
				want[string(m.Body())] = true
				return Answer{Verb: Requeue, Delay: time.Duration(1+n/every%2) * time.Hour}
			})
			time.Sleep(recheckDelay)
		}
		if n != count || len(want) != count/every {
			t.Fatalf("%d messages taken, %d are left", n, len(want))
		}
		s.SetReady(0)
		time.Sleep(90 * time.Minute) // half of them is due: they are to be delivered again, and nobody takes them yet
		read := 0
		done, err := r.Compact(context.Background(), func(bytes int) error { read += bytes; return nil })
		if err != nil || !done || read == 0 {
			t.Fatalf("compacted %v, %d bytes read, %v", done, read, err)
		}
		for range 2 { // of which the older one may refer to the old blocks
			checkpoint(t, r)
		}
		if len(topic.d.stale) == 0 {
			t.Error("blocks have gone to which a checkpoint that counts refers")
		}
		for range 2 {
			checkpoint(t, r)
		}
		r.PrepareDrop()
		if err := r.Drop(); err != nil {
			t.Fatal(err)
		}
		if after := topic.d.segments.Bytes(); after > before/4 {
			t.Errorf("%d bytes are left of %d", after, before)
		}
		if done, err := r.Compact(context.Background(), func(int) error { return nil }); done || err != nil {
			t.Errorf("compacted again: %v, %v", done, err)
		}
		s.SetReady(count)
		time.Sleep(2 * time.Hour)
		for range 20 {
			eachTaken(s, func(m protocol.MessageFrame) Answer {
				if body := string(m.Body()); !want[body] {
					t.Errorf("%.4s comes, which is finished or came before", body)
				}
				delete(want, string(m.Body()))
				return Answer{Verb: Finish}
			})
			time.Sleep(recheckDelay)
		}
		if len(want) > 0 {
			t.Errorf("%d messages are missing", len(want))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestPick: of frames that have some positions those that are needed come out, with their runs.
func TestPick(t *testing.T) {
	frames := func(positions ...int) (b []byte) {
		for _, p := range positions {
			b = protocol.AppendMessageHeader(b, 1, 1, protocol.MessageID(p), 0)
		}
		return b
	}
	for _, tt := range []struct {
		held, need []backlog.Range
		frames     []byte
		want       []byte
		runs       []segment.Run
	}{
		{[]backlog.Range{{First: 1, Last: 5}}, []backlog.Range{{First: 2, Last: 3}, {First: 5, Last: 9}}, frames(1, 2, 3, 4, 5), frames(2, 3, 5), []segment.Run{{First: 2, Count: 2}, {First: 5, Count: 1}}},
		{[]backlog.Range{{First: 1, Last: 1}, {First: 4, Last: 5}}, []backlog.Range{{First: 1, Last: 4}}, frames(1, 4, 5), frames(1, 4), []segment.Run{{First: 1, Count: 1}, {First: 4, Count: 1}}},
		{[]backlog.Range{{First: 4, Last: 5}}, []backlog.Range{{First: 1, Last: 3}}, frames(4, 5), nil, nil},
		{[]backlog.Range{{First: 4, Last: 5}}, nil, frames(4, 5), nil, nil},
	} {
		got, runs := pick(tt.frames, tt.held, tt.need)
		if string(got) != string(tt.want) || fmt.Sprint(runs) != fmt.Sprint(tt.runs) {
			t.Errorf("%v of %v: %v, %d bytes", tt.need, tt.held, runs, len(got))
		}
	}
}

// TestBlocksInDoubtAreCompacted: blocks that could not be synced are written anew elsewhere by compaction before the next checkpoint. Nobody needs them where they
// were: checkpoints go on.
func TestBlocksInDoubtAreCompacted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		makeDurable(&cfg)
		disk := vfs.NewFaulty(vfs.NewMem())
		cfg.MemQueueSize, cfg.Segments = 10, keptSegments{disk}
		r := start(t, cfg)
		topic := mustTopic(t, r, "t")
		mustChannel(t, topic, "c")
		const count = 2000
		for i := range count {
			var b Batch
			b.Add(fmt.Appendf(nil, "%04d%s", i, strings.Repeat("x", 2000)))
			if err := topic.Publish(&b); err != nil {
				t.Fatal(err)
			}
		}
		disk.SetRules(vfs.Rule{Ops: vfs.OpSync, Path: "*.seg", Err: syscall.EIO})
		err := r.Cut().Run(io.Discard, func(journal.Offset) error { return nil }, func(int64) error { return nil })
		if disk.SetRules(); !errors.Is(err, syscall.EIO) || len(topic.d.segments.Doubtful()) == 0 {
			t.Fatalf("a checkpoint on a disk that does not sync: %v, in doubt are %v", err, topic.d.segments.Doubtful())
		}
		s := mustSubscribe(t, topic, "c", count, SubscribeOptions{})
		n := 0
		for range 100 {
			eachTaken(s, func(protocol.MessageFrame) Answer {
				if n++; n%50 != 0 {
					return Answer{Verb: Finish}
				}
				return Answer{Verb: Requeue, Delay: time.Hour}
			})
			time.Sleep(recheckDelay)
		}
		if done, err := r.Compact(context.Background(), func(int) error { return nil }); !done || err != nil {
			t.Fatalf("compacted %v, %v", done, err)
		}
		checkpoint(t, r)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
