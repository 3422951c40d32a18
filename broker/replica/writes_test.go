package replica

import (
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/wal"
)

// whose is a log that counts the commits that a group's own goroutine waits for, and all others.
type whose struct {
	Log
	group, others atomic.Int64
}

func (w *whose) Commit(at wal.Offset, level wal.Level) error {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, "(*Group).wait") {
			w.group.Add(1)
			break
		}
		if !more {
			w.others.Add(1)
			break
		}
	}
	return w.Log.Commit(at, level)
}

// Who follows writes what it is sent by the goroutine that has read it, as nothing else came.
func TestWhoHasReadAnEntryWritesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logs []*whose
		c := newCluster(t, 3, 0, func(o *Options) {
			w := &whose{Log: o.Log}
			logs = append(logs, w)
			o.Log = w
		})
		defer c.close()
		l := c.leader()
		fatal(t, l.publish("first"))
		time.Sleep(time.Second)
		const messages = 50
		var group, others [3]int64
		for i, w := range logs {
			group[i], others[i] = w.group.Load(), w.others.Load()
		}
		for range messages {
			fatal(t, l.publish("more"))
			time.Sleep(10 * time.Millisecond)
		}
		for i, w := range logs {
			if c.nodes[i] == l {
				continue
			}
			byGroup, byOthers := w.group.Load()-group[i], w.others.Load()-others[i]
			if byGroup+byOthers != messages || byGroup > messages/10 { // it is left to that one when a tick is told just then
				t.Errorf("replica %d: %d commits by its own goroutine, %d by others", i+1, byGroup, byOthers)
			}
		}
	})
}

// oneByOne is a log to which nothing is written. Its commits take a moment, and there must be one at a time, in order.
type oneByOne struct {
	Log
	t    *testing.T
	at   atomic.Int64
	done []int64 // offsets
	then func()  // is called in the next commit; nil: nothing is
}

func (o *oneByOne) Commit(at wal.Offset, _ wal.Level) error {
	if o.at.Add(1) != 1 {
		o.t.Error("two goroutines wait for the log")
	}
	if then := o.then; then != nil {
		o.then = nil
		then()
	}
	runtime.Gosched()
	o.done = append(o.done, at.Offset)
	o.at.Add(-1)
	return nil
}

// onlyWrites is a group that does nothing but wait for its log.
func onlyWrites(log Log) *Group {
	return &Group{o: Options{Log: log, Clock: NewClock(time.Second, nil)}, owner: &running{}, m: &machine{err: ErrEngine}, turn: turn{wake: make(chan struct{}, 1)},
		writes: queue{wake: make(chan struct{}, 1)}, stop: make(chan struct{})}
}

// What comes while somebody writes what is his own, once, is seen to by the group's goroutine, although nobody was woken when it came.
func TestWhatComesMeanwhileIsLeftToAnother(t *testing.T) {
	for _, own := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			log := &oneByOne{t: t}
			g := onlyWrites(log)
			g.loops.Go(g.wait)
			log.then = func() {
				g.writes.put([]*write{{at: wal.Offset{Offset: 2}, appends: true}}, own)
				if own {
					g.write(1)
				}
			}
			g.writes.put([]*write{{at: wal.Offset{Offset: 1}, appends: true}}, true)
			g.write(1)
			synctest.Wait()
			if len(log.done) != 2 {
				t.Errorf("%v were waited for, with own %v", log.done, own)
			}
			close(g.stop)
			g.loops.Wait()
		})
	}
}

// Who has read an entry waits for its sync, and for no disk that the owner may wait for: when that is behind by then, the rest is left to the group's goroutine.
func TestWhoHasReadAnEntryWaitsForNoOwner(t *testing.T) {
	for _, behind := range []bool{false, true} {
		log := &oneByOne{t: t}
		g := onlyWrites(log)
		log.then = func() {
			if behind {
				g.owner.(*running).slow.Store(1)
			}
		}
		g.writes.put([]*write{{at: wal.Offset{Offset: 1}, appends: true}}, true)
		g.write(1)
		if left := len(g.turn.posted); (left == 1) != behind || len(g.turn.wake) != left {
			t.Errorf("behind %v: %d are left to the group's goroutine, which is woken %d times", behind, left, len(g.turn.wake))
		}
	}
}

// Whoever puts writes in, and whether they wait for the log themselves or not: all are waited for, in order, by one at a time, and none is left when all rest.
func TestNoWriteIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &oneByOne{t: t}
		g := onlyWrites(log)
		g.loops.Go(g.wait)
		const each = 2000
		var next int64
		var mu sync.Mutex // what is put in is in order
		var all sync.WaitGroup
		for putter := range 6 {
			all.Go(func() {
				for i := range each {
					mu.Lock()
					next++
					own := putter%2 == 0
					g.writes.put([]*write{{at: wal.Offset{Offset: next}, appends: true}}, own)
					mu.Unlock()
					if own {
						g.write(1)
					}
					if i%50 == 0 { // all rest now and then: who is not woken then is never
						time.Sleep(time.Duration(putter+1) * time.Millisecond)
					}
				}
			})
		}
		all.Wait()
		synctest.Wait()
		if n := len(log.done); n != 6*each {
			t.Errorf("%d writes were waited for, of %d", n, 6*each)
		}
		for i, at := range log.done {
			if at != int64(i+1) {
				t.Fatalf("write %d comes as number %d", at, i+1)
			}
		}
		close(g.stop)
		g.loops.Wait()
	})
}
