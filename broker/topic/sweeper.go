package topic

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// sweepBatch is how many messages of one channel the sweeper moves under one lock.
const sweepBatch = 1000

// A sweep that comes so soon after the one before it waits for what falls due in the next moment: at 50,000 deadlines a second each would
// otherwise be a sweep, a wake-up and a write of its own. What comes seldom is handled at once.
const (
	crowdedSweeps = 500 * time.Microsecond
	sweepPause    = 500 * time.Microsecond
)

// trimInterval is how often memory of channels that have become idle is given back.
const trimInterval = 30 * time.Second

// sweeper brings messages back whose deadline has passed, for all channels: a heap of channels by the earliest deadline that
// each has told, and one goroutine that sleeps until the first. A told deadline may be too early, as messages are finished
// meanwhile, never too late.
type sweeper struct {
	registry *Registry
	kick     chan struct{} // there is a deadline before it would come
	stop     chan struct{}
	done     chan struct{} // nil until started
	trimming atomic.Bool   // trim runs
	idling   atomic.Bool   // deleteIdle runs
	due      []*Channel    // of one sweep

	mu    sync.Mutex // guards what follows, and the channels' sweepPos
	heap  []sweepEntry
	until int64 // the sweeper sleeps so long, at most
}

type sweepEntry struct {
	at int64
	c  *Channel
}

func newSweeper(r *Registry) *sweeper {
	return &sweeper{registry: r, kick: make(chan struct{}, 1), stop: make(chan struct{}), until: math.MaxInt64}
}

func (w *sweeper) start() {
	w.done = make(chan struct{})
	go w.run()
}

func (w *sweeper) close() {
	close(w.stop)
	if w.done != nil {
		<-w.done
	}
}

func (w *sweeper) run() {
	defer close(w.done)
	timer := time.NewTimer(trimInterval)
	defer timer.Stop()
	trimAt, last := w.registry.now()+int64(trimInterval), int64(0)
	for {
		now := w.registry.now()
		if now >= trimAt {
			w.trim()
			trimAt = now + int64(trimInterval)
		}
		soonest := now
		if now-last < int64(crowdedSweeps) {
			soonest = now + int64(sweepPause)
		}
		last = now
		next := w.sweep(now, soonest)
		timer.Reset(time.Duration(min(next, trimAt, w.idleDue(now)) - now))
		select {
		case <-timer.C:
		case <-w.kick:
		case <-w.stop:
			return
		}
	}
}

// trim gives memory back beside the sweeper, since that may sync and close files: deadlines do not wait for a disk.
func (w *sweeper) trim() {
	if !w.trimming.CompareAndSwap(false, true) {
		return // the last one still waits for a disk
	}
	if !w.registry.spawn(func() {
		defer w.trimming.Store(false)
		w.registry.trim()
	}) {
		w.trimming.Store(false)
	}
}

// sweep handles every channel that is due, once, and returns when to come back: at the next deadline, but not sooner than soonest. A channel
// that is not done with has a deadline that is not later than now, and for that nothing is waited for. The caller comes back, unless the
// sweeper is closed, as nothing may be done any more then.
func (w *sweeper) sweep(now, soonest int64) int64 {
	for c := w.pop(now); c != nil; c = w.pop(now) {
		w.due = append(w.due, c)
	}
	for _, c := range w.due {
		c.expire(now)
	}
	clear(w.due)
	w.due = w.due[:0]
	return w.sleep(now, soonest)
}

// sleep returns the earliest deadline or, when it is later than now, soonest if that is later. Until then nobody need wake the sweeper for
// what is later.
func (w *sweeper) sleep(now, soonest int64) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.until = math.MaxInt64
	if len(w.heap) > 0 {
		if w.until = w.heap[0].at; w.until > now {
			w.until = max(w.until, soonest)
		}
	}
	return w.until
}

// arm tells the channel's earliest deadline.
func (w *sweeper) arm(c *Channel, at int64) {
	w.mu.Lock()
	if c.sweepPos < 0 {
		c.sweepPos = len(w.heap)
		w.heap = append(w.heap, sweepEntry{c: c})
	}
	w.heap[c.sweepPos].at = at
	w.fix(c.sweepPos)
	sooner := at < w.until
	w.mu.Unlock()
	if sooner {
		select {
		case w.kick <- struct{}{}:
		default:
		}
	}
}

// forget drops a channel that is gone.
func (w *sweeper) forget(c *Channel) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.sweepPos >= 0 {
		w.removeAt(c.sweepPos)
	}
}

// pop takes out a channel that is due, nil when none is.
func (w *sweeper) pop(now int64) *Channel {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.heap) == 0 || w.heap[0].at > now {
		return nil
	}
	c := w.heap[0].c
	w.removeAt(0)
	return c
}

func (w *sweeper) removeAt(i int) {
	w.heap[i].c.sweepPos = -1
	n := len(w.heap) - 1
	if i != n {
		w.heap[i] = w.heap[n]
		w.heap[i].c.sweepPos = i
	}
	w.heap[n] = sweepEntry{}
	w.heap = w.heap[:n]
	if i != n {
		w.fix(i)
	}
}

// fix moves the entry at i to where it belongs in the binary heap.
func (w *sweeper) fix(i int) {
	for i > 0 && w.heap[i].at < w.heap[(i-1)/2].at {
		w.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
	for {
		child := 2*i + 1
		if child >= len(w.heap) {
			return
		}
		if child+1 < len(w.heap) && w.heap[child+1].at < w.heap[child].at {
			child++
		}
		if w.heap[i].at <= w.heap[child].at {
			return
		}
		w.swap(i, child)
		i = child
	}
}

func (w *sweeper) swap(i, j int) {
	w.heap[i], w.heap[j] = w.heap[j], w.heap[i]
	w.heap[i].c.sweepPos, w.heap[j].c.sweepPos = i, j
}

// trim gives back the memory of topics and channels that nothing has happened to since the last call.
func (r *Registry) trim() {
	for _, t := range r.unsorted() {
		if !t.pub.TryLock() {
			continue
		}
		for _, c := range t.Channels() {
			c.trim()
		}
		if !t.active && t.own.idle() {
			t.store.trim()
		}
		t.active = false
		trimmed := t.trimKeysLocked()
		t.pub.Unlock()
		for !trimmed { // a part at a time, for publishers
			t.pub.Lock()
			trimmed = t.trimKeysLocked()
			t.pub.Unlock()
		}
	}
}

func (c *Channel) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.machine.Backlogged()
}

// trim is the channel's part. Topic.pub is held. A queue on disk that is read empty is closed, which ends its goroutine.
func (c *Channel) trim() {
	c.enter()
	idle, dry := c.machine.Trim()
	if idle {
		c.records = nil
	}
	closing := dry && c.disk.Load() != nil
	c.exit()
	if closing {
		if err := c.closeQueue(); err != nil {
			c.topic.registry.log.Error("closing an idle queue", "queue", c.queueName(), "error", err)
		}
	}
}
