package storage

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

// fill publishes count messages of size bytes to t0, which has the channel c0, in batches of ten with a pause after each.
func fill(t *testing.T, n *node, count, size int, pause time.Duration) *topic.Topic {
	t.Helper()
	to, err := n.r.Topic("t0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := to.Channel("c0"); err != nil {
		t.Fatal(err)
	}
	for range count / 10 {
		var b topic.Batch
		for range 10 {
			b.Add(make([]byte, size))
		}
		if err := to.Publish(&b); err != nil {
			t.Fatal(err)
		}
		time.Sleep(pause)
	}
	return to
}

// TestStartReadsLittleOfTheLog: however much was published, a start after a clean stop reads next to nothing of the log, and one after a kill
// no more than what a checkpoint may leave and two seconds of writes. The log on disk is bounded in the same way.
func TestStartReadsLittleOfTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 1)
		const count, size = 20_000, 50
		fill(t, n, count, size, 5*time.Millisecond) // 10 s, 1.6 MB of log
		rate := n.k.wal.Stats().Bytes / 10
		n.fs = n.fs.KillClone()
		_ = n.stop()
		n.start()
		if read, most := n.k.Opened().Log.Bytes, int64(2*n.k.o.CheckpointBytes+3*rate); read > most {
			t.Errorf("a start after a kill has read %d bytes, want %d at most", read, most)
		}
		if depth := n.r.Lookup("t0").Channels()[0].Stats().Depth; depth != count {
			t.Errorf("%d messages are left after a kill", depth)
		}
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		n.start()
		if log := &n.k.Opened().Log; log.Bytes > int64(n.k.o.LogFileSize) {
			t.Errorf("a start after a clean stop has read %d records, %d bytes", log.Records, log.Bytes)
		}
		if bytes, most := n.k.wal.Stats().FileBytes, int64(4*n.k.o.CheckpointBytes); bytes > most {
			t.Errorf("a clean stop has left %d bytes of log, want %d at most", bytes, most)
		}
		if depth := n.r.Lookup("t0").Channels()[0].Stats().Depth; depth != count {
			t.Errorf("%d messages are left after a clean stop", depth)
		}
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// segmentBytes returns the size of all files of segments.
func (n *node) segmentBytes() (sum int64) {
	for _, name := range n.segmentFiles() {
		size, err := n.fs.Size("data/segments/" + name)
		if err != nil {
			n.t.Fatal(err)
		}
		sum += size
	}
	return sum
}

// TestAFewUnfinishedMessagesHoldLittle: of messages on disk all are finished but every 250th. Within a minute the space of the others is given
// back, also when nothing else happens, and those that are left are read without going through what was between them.
func TestAFewUnfinishedMessagesHoldLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 1)
		const count, size, every = 10_000, 1000, 250
		to := fill(t, n, count, size, time.Millisecond)
		s, err := to.Subscribe("c0", subscribeAll)
		if err != nil {
			t.Fatal(err)
		}
		s.SetReady(count)
		taken, left := 0, map[protocol.MessageID]bool{}
		for d := (topic.Delivery{}); taken < count; time.Sleep(time.Millisecond) {
			var answers []topic.Answer
			for s.Take(&d) > 0 {
				each(&d, func(f protocol.MessageFrame) {
					if taken++; taken%every == 0 {
						left[f.MustID()] = true
						return
					}
					answers = append(answers, topic.Answer{ID: f.MustID(), Verb: topic.Finish})
				})
				d.Clear()
			}
			s.Apply(answers, nil)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if bytes, most := n.segmentBytes(), int64(4*len(left)*size); bytes > most {
			t.Errorf("%d messages of %d bytes hold %d bytes, want %d at most", len(left), size, bytes, most)
		}
		_ = s.Close() // they wait again
		reads := n.countReads()
		s, err = to.Subscribe("c0", subscribeAll)
		if err != nil {
			t.Fatal(err)
		}
		s.SetReady(count)
		for d := (topic.Delivery{}); len(left) > 0; time.Sleep(time.Millisecond) {
			for s.Take(&d) > 0 {
				each(&d, func(f protocol.MessageFrame) { delete(left, f.MustID()) })
				d.Clear()
			}
		}
		if most := int64(count / every * 3); reads.Load() > most {
			t.Errorf("%d messages were read with %d reads", count/every, reads.Load())
		}
		if err := errors.Join(s.Close(), n.stop()); err != nil {
			t.Fatal(err)
		}
	})
}

// countReads counts what is read of segments from now on.
func (n *node) countReads() *atomic.Int64 {
	var reads atomic.Int64
	n.disk.Observe(func(op vfs.Op, name string) {
		if op&vfs.OpRead != 0 && strings.HasSuffix(name, ".seg") {
			reads.Add(1)
		}
	})
	return &reads
}

// each gives f the messages of a delivery.
func each(d *topic.Delivery, f func(protocol.MessageFrame)) {
	for _, run := range d.Runs {
		for frames := run.Frames; len(frames) > 0; frames = frames[len(protocol.FirstMessage(frames)):] {
			f(protocol.FirstMessage(frames))
		}
	}
}

// TestMixedBlocksAreReadTogether: immediate and deferred messages that were published in turn, behind a backlog, are read many at a time,
// however many they are.
func TestMixedBlocksAreReadTogether(t *testing.T) {
	for _, count := range []int{500, 2000} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t, 1)
				to := fill(t, n, 200, 100, 0)
				for range count {
					for _, delay := range []time.Duration{0, 10 * time.Second} {
						var b topic.Batch
						b.Add(make([]byte, 100))
						if err := to.PublishAs(&b, delay, topic.Disk); err != nil {
							t.Fatal(err)
						}
					}
				}
				time.Sleep(20 * time.Second) // all are due
				reads := n.countReads()
				s, err := to.Subscribe("c0", subscribeAll)
				if err != nil {
					t.Fatal(err)
				}
				s.SetReady(2500)
				got := 0
				for d := (topic.Delivery{}); got < 200+2*count; time.Sleep(time.Millisecond) {
					var answers []topic.Answer
					for s.Take(&d) > 0 {
						each(&d, func(f protocol.MessageFrame) {
							got++
							answers = append(answers, topic.Answer{ID: f.MustID(), Verb: topic.Finish})
						})
						d.Clear()
					}
					s.Apply(answers, nil)
				}
				if reads.Load() > int64(got/3) {
					t.Errorf("%d messages were read with %d reads", got, reads.Load())
				}
				if err := errors.Join(s.Close(), n.stop()); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}
