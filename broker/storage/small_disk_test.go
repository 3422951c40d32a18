package storage

import (
	"math"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/diskqueue/vfs"
)

// TestASmallDiskRefusesNothingWhileHistoryIsThere: on a disk that has room for a few files, filled by what is only kept, in files or in the log alone,
// no publish is refused; by the time that the space is looked at, and when the log meets the end of the disk before that.
func TestASmallDiskRefusesNothingWhileHistoryIsThere(t *testing.T) {
	for _, c := range []struct {
		what         string
		limit        int64
		burst, pause int // messages of 1 KB, and milliseconds behind them
		watermark    uint64
	}{
		{"little in a look", 400 << 10, 10, 100, 0},
		{"with space that must stay free", 400 << 10, 10, 100, 60 << 10},
		{"much in a look", 1 << 20, 150, 100, 0},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &keeping{node: newNode(t, 7)}
				if c.watermark > 0 {
					_ = w.stop()
					w.free = func(uint64) uint64 { return c.watermark }
					w.start()
				}
				w.set(`{"retain_time":"24h"}`)
				w.subscribe()
				w.fs.SetLimit(c.limit)
				for range 4 * int(c.limit) / (1000 * c.burst) {
					w.publish(c.burst, 1000)
					w.consume()
					time.Sleep(time.Duration(c.pause) * time.Millisecond)
				}
				if _, _, count := w.shown(); count == 0 || w.topic().Kept().Early == 0 {
					t.Errorf("%d messages are kept, %d were dropped early", count, w.topic().Kept().Early)
				}
				if err := w.r.Health(); err != nil {
					t.Error(err)
				}
				w.again()
				if _, _, count := w.shown(); count == 0 {
					t.Error("nothing is kept over a kill")
				}
				if err := w.stop(); err == nil {
					return
				} else if !full(err) { // the last checkpoint may find no room: then the log says what it would have said
					t.Error(err)
				}
				w.fs.SetLimit(math.MaxInt64)
				w.start()
				if _, _, count := w.shown(); count == 0 {
					t.Error("nothing is kept over a stop on a full disk")
				}
				w.end()
			})
		})
	}
}

// TestAFullDiskRefusesWhenHistoryCannotHelp: what a channel needs is not dropped for a publish, and what is kept behind it goes first.
func TestAFullDiskRefusesWhenHistoryCannotHelp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := keep(t, `{"retain_time":"24h"}`)
		w.fs.SetLimit(600 << 10)
		w.publish(100, 1000)
		w.consume()
		time.Sleep(time.Second)
		if _, err := w.topic().Channel("c1"); err != nil { // which nobody reads
			t.Fatal(err)
		}
		refused, taken := 0, 0
		for range 100 {
			var b topic.Batch
			for range 10 {
				b.Add(make([]byte, 1000))
			}
			if err := w.topic().Publish(&b); err != nil {
				refused++
			} else {
				taken += 10
			}
			w.consume()
			time.Sleep(200 * time.Millisecond)
		}
		if d := w.topic().LookupChannel("c1").Stats().Depth; refused == 0 || int(d) != taken || taken < 200 {
			t.Errorf("%d publishes were refused; the channel that nobody reads has %d messages of %d", refused, d, taken)
		}
		if early := w.topic().Kept().Early; early < 90 {
			t.Errorf("%d of 100 messages that were only kept went first", early)
		}
		w.fs.SetLimit(0)
		w.end()
	})
}

// TestTheReserveIsForRoomAlone: a disk that fails, or a process that has no descriptors, leaves the reserve where it is, and no segments go early; one
// that is full does not.
func TestTheReserveIsForRoomAlone(t *testing.T) {
	for _, failed := range diskErrors {
		t.Run(failed.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t, 7)
				_ = n.stop()
				n.reserve = 64 << 10
				n.start()
				const count = 400
				to := fill(t, n, count, 200, 10*time.Millisecond)
				time.Sleep(time.Minute) // all is in segments, and in a checkpoint
				n.disk.SetRules(vfs.Rule{Ops: vfs.OpWrite | vfs.OpPreallocate, Err: failed})
				finishCount(t, to, count)
				time.Sleep(10 * time.Second)
				synctest.Wait()
				_, err := n.fs.Size(n.k.reservePath())
				early := slices.ContainsFunc(n.segmentFiles(), func(name string) bool { return strings.HasSuffix(name, doneSuffix) })
				if given := err != nil; given != full(failed) || early != full(failed) {
					t.Errorf("the reserve was given up: %v; segments went early: %v", given, early)
				}
				n.disk.SetRules()
				time.Sleep(10 * time.Second)
				if _, err := n.fs.Size(n.k.reservePath()); err != nil {
					t.Errorf("the disk is well again, and the reserve: %v", err)
				}
				if err := n.stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestASmallerReserveIsGivenUpToo: the disk is full, and the reserve that is there is that of a start that had smaller files of the log. What consumers do
// is written all the same, and the reserve is whole once there is room.
func TestASmallerReserveIsGivenUpToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 7)
		_ = n.stop()
		n.reserve = 32 << 10
		n.start()
		const count = 100
		to, err := n.r.Topic("t0")
		if err == nil {
			_, err = to.Channel("c1") // which nobody consumes, so that no segments go
		}
		if err != nil {
			t.Fatal(err)
		}
		fill(t, n, count, 200, 10*time.Millisecond)
		time.Sleep(time.Minute) // all is in segments, and in a checkpoint
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
		n.reserve, n.sizes.log = 64<<10, 16<<10
		n.fs.SetLimit(n.fs.Used() - 16<<10) // also when spare files of the log go, which are too small now
		n.start()
		to = n.r.Lookup(to.Name())
		finishCount(t, to, count)
		time.Sleep(10 * time.Second)
		if err := n.k.Journal().Err(); err != nil {
			t.Errorf("what consumers did is not written: %v", err)
		}
		if _, err := n.fs.Size(n.k.reservePath()); err == nil || !n.k.reserve.isSpent() {
			t.Errorf("the reserve is there: %v; it is spent: %v", err == nil, n.k.reserve.isSpent())
		}
		n.fs.SetLimit(0)
		time.Sleep(10 * time.Second)
		if size, err := n.fs.Size(n.k.reservePath()); err != nil || size != n.reserve || n.k.reserve.isSpent() {
			t.Errorf("with room again the reserve has %d bytes, %v; it is spent: %v", size, err, n.k.reserve.isSpent())
		}
		if err := n.stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestHistoryGoesForTheReserve: the reserve is spent as the disk could not be written, and the disk is full of what is only kept. That goes until the
// reserve is there again, so that publishes are taken.
func TestHistoryGoesForTheReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &keeping{node: newNode(t, 7)}
		_ = w.stop()
		w.reserve = 200 << 10
		w.start()
		w.set(`{"retain_time":"24h"}`)
		w.subscribe()
		time.Sleep(2 * time.Second)
		w.fs.SetLimit(800 << 10)
		for range 60 {
			w.publish(10, 1000)
			w.consume()
			time.Sleep(100 * time.Millisecond)
		}
		try := func() error {
			var b topic.Batch
			b.Add(make([]byte, 1000))
			return w.topic().Publish(&b)
		}
		w.disk.SetRules(vfs.Rule{Ops: vfs.OpWrite | vfs.OpSync, Times: math.MaxInt, Err: syscall.EDQUOT})
		for range 20 {
			if try() == nil {
				t.Fatal("a publish was taken on a disk that cannot be written")
			}
			time.Sleep(100 * time.Millisecond)
		}
		w.disk.SetRules()
		err := try()
		for range 50 {
			time.Sleep(200 * time.Millisecond)
			if err = try(); err == nil {
				break
			}
			w.consume()
		}
		if err != nil {
			t.Errorf("publishes are refused for good: %v", err)
		}
		w.fs.SetLimit(0)
		w.end()
	})
}
