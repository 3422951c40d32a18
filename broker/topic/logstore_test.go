package topic

import (
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/inflight"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

// A channel that is emptied while due messages are brought from where they are lets go of them: their node must not be kept,
// in memory or on disk, until the next restart.
func TestEmptyWhileLoadingUnpins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		makeDurable(&cfg)
		r := start(t, cfg)
		topic := mustTopic(t, r, "t")
		c := mustChannel(t, topic, "c")
		var b Batch
		b.Add([]byte("later"))
		if err := topic.PublishDeferred(&b, time.Second); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		c.enter()
		want := c.machine.BeginFill()
		c.exit()
		if len(want.Retries) != 1 {
			t.Fatalf("%d messages are due, want 1", len(want.Retries))
		}
		if err := c.Empty(); err != nil {
			t.Fatal(err)
		}
		c.enter()
		back := c.machine.EndFill(&want)
		c.exit()
		if back {
			t.Error("what was emptied came back")
		}
		checkBooks(t, r)
		for _, s := range topic.d.table.each() {
			if n := s.pins.Load(); n != 0 {
				t.Errorf("node %d is pinned %d times", s.first, n)
			}
		}
	})
}

// A consumer that leaves while it reads from disk leaves the reading to the others.
func TestConsumerThatLeftHasOthersRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		cfg.MemQueueSize, cfg.Queues = 0, folder(t.TempDir())
		topic := mustTopic(t, start(t, cfg), "t")
		gone := mustSubscribe(t, topic, "c", 1, SubscribeOptions{})
		stays := mustSubscribe(t, topic, "c", 1, SubscribeOptions{})
		drain(stays)
		c := gone.Channel()
		publish(t, topic, 1)
		if _, fill := gone.take(new(Delivery), true, false); !fill {
			t.Fatal("gone is not chosen to read")
		}
		woken(stays)
		drain(stays)
		if err := gone.Close(); err != nil {
			t.Fatal(err)
		}
		c.enter()
		f := c.machine.BeginFill()
		c.machine.EndFill(&f) // it could not read just now
		c.exit()
		gone.rest()
		time.Sleep(recheckDelay)
		synctest.Wait()
		if !woken(stays) || drain(stays) != 1 {
			t.Error("nobody reads the message on disk")
		}
		if err := stays.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A disk that cannot be read is asked again now and then, not all the time, also while there are messages to deliver again;
// when it can be read nothing is missing.
func TestUnreadableDiskIsNotAskedAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		makeDurable(&cfg)
		disk := vfs.NewFaulty(vfs.NewMem())
		cfg.MemQueueSize, cfg.Segments = 10, keptSegments{disk}
		topic := mustTopic(t, start(t, cfg), "t")
		c := mustChannel(t, topic, "c")
		const count = 40
		for range count {
			var b Batch
			b.Add(make([]byte, 100<<10))
			if err := topic.Publish(&b); err != nil {
				t.Fatal(err)
			}
		}
		s := mustSubscribe(t, topic, "c", count, SubscribeOptions{})
		var reads atomic.Int64
		disk.Observe(func(op vfs.Op, _ string) {
			if op == vfs.OpRead || op == vfs.OpOpen {
				reads.Add(1)
			}
		})
		disk.SetRules(vfs.Rule{Ops: vfs.OpRead | vfs.OpOpen, Err: syscall.EIO})
		c.enterNow()
		for i := range 2 { // to be delivered again, and it is the turn of what waits
			f := protocol.AppendMessageHeader(nil, 1, 1, protocol.MessageID(1+i), 0)
			c.machine.Hold(inflight.Due{Frame: f, Attempts: 1})
		}
		c.exit()
		got := 0
		for end := time.Now().Add(time.Second); time.Now().Before(end); {
			got += drain(s)
			select {
			case <-s.Wake():
			case <-time.After(time.Until(end)):
			}
		}
		if got != 2 || reads.Load() == 0 || reads.Load() > 50 {
			t.Errorf("%d messages came, and in a second the disk was asked %d times", got, reads.Load())
		}
		disk.SetRules()
		for end := time.Now().Add(time.Second); time.Now().Before(end); {
			got += drain(s)
			select {
			case <-s.Wake():
			case <-time.After(time.Until(end)):
			}
		}
		if got != count {
			t.Errorf("%d of %d came when the disk could be read again", got, count)
		}
	})
}

// A topic whose consumers keep up goes on in the memory of what they are done with, however few messages that is.
func TestConsumedMessagesLeaveMemory(t *testing.T) {
	f := flowAt(t, Disk, 4)
	f.body = make([]byte, 256<<10)
	most := int64(0)
	for range 4 * minEnough / (f.size * len(f.body)) {
		f.publish()
		f.take()
		f.answer(Finish)
		most = max(most, f.topic.d.memory.Load())
	}
	if most > 2*minEnough {
		t.Errorf("%d bytes of messages that were finished were in memory", most)
	}
	if f.topic.Channels()[0].Stats().Depth != 0 {
		t.Error("something is left")
	}
}

// A large body takes memory as it arrives, not as was announced, until all may be set aside; then it is moved once more.
func TestLargeBodyTakesMemoryAsItArrives(t *testing.T) {
	const size, part = 10 << 20, 64 << 10
	var b Batch
	b.Begin(size)
	moved, last := 0, 0
	for i := range size / part {
		if i == 2 {
			b.Reserve(size + protocol.MessageOverhead)
		}
		b.Extend(make([]byte, part))
		if cap(b.frames) != last {
			last = cap(b.frames)
			moved++
		}
		if last > 3*len(b.frames) && i < 2 {
			t.Fatalf("%d bytes for %d that have arrived", last, len(b.frames))
		}
	}
	if extra := cap(b.frames) - len(b.frames); moved > 3 || extra > size/4 {
		t.Errorf("moved %d times, %d bytes too many", moved, extra)
	}
}
