package stall

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Patience is how long a call may take before the disk is said not to answer. A disk that works answers within a second even when it is
// busy with what others write; 5 s are longer than what file systems, arrays and hypervisors take to move over, to take a snapshot or to reset a
// device once, and shorter than what clients, 10 s at the least, and probes wait for.
const Patience = 5 * time.Second

// sampled is how often slots are looked at: so much later, at most, is a call in one noticed.
const sampled = 250 * time.Millisecond

// sort is what waits for a call.
type sort int

const (
	others sort = iota
	publishes
	sorts
)

// Watch knows which calls are out. Its methods are safe for concurrent use. A nil one knows of none.
type Watch struct {
	log *slog.Logger

	awake atomic.Bool // slots are looked at
	told  atomic.Bool // something is late: what comes back has that looked at

	mu    sync.Mutex
	slots []*Slot
	calls map[*Call]struct{}
	timer *time.Timer
	late  [sorts]late
}

// late is what was told of one sort of calls.
type late struct {
	told  bool
	since time.Time // when the first of them went out
}

// New returns a Watch.
func New(log *slog.Logger) *Watch {
	return &Watch{log: log, calls: map[*Call]struct{}{}}
}

// Slot is for calls of one kind that publishes wait for. Several may be out at once: then they are late when none comes back for Patience.
// A nil one does nothing.
type Slot struct {
	w            *Watch
	what         string
	begun, ended atomic.Uint64

	// Guarded by Watch.mu.
	seen uint64    // ended, when it was looked at
	last uint64    // begun, at the last sample
	at   time.Time // when it was first seen so, with something out; zero without
}

// Slot returns a new one. It belongs to the Watch for good.
func (w *Watch) Slot(what string) *Slot {
	if w == nil {
		return nil
	}
	s := &Slot{w: w, what: what}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slots = append(w.slots, s)
	return s
}

// Begin comes before a call, End after it.
func (s *Slot) Begin() {
	if s == nil {
		return
	}
	s.begun.Add(1)
	if w := s.w; !w.awake.Load() && w.awake.CompareAndSwap(false, true) {
		w.arm()
	}
}

// End comes after a call.
func (s *Slot) End() {
	if s == nil {
		return
	}
	s.ended.Add(1)
	if s.w.told.Load() {
		s.w.look()
	}
}

// lookLocked returns since when something is out of which nothing has come back; zero when that is not so.
func (s *Slot) lookLocked(now time.Time) time.Time {
	ended := s.ended.Load() // before begun: what is out is never overlooked
	switch out := s.begun.Load() != ended; {
	case !out:
		s.at = time.Time{}
	case s.at.IsZero() || ended != s.seen:
		s.at = now
	}
	s.seen = ended
	return s.at
}

// Call is one that is out, until Done. A nil one is none.
type Call struct {
	w     *Watch
	what  string
	name  string
	sort  sort
	since time.Time
	timer *time.Timer
}

// Waited begins a call that publishes wait for, and returns what ends it.
func (w *Watch) Waited(what string) *Call { return w.call(publishes, what, "") }

// Call begins one that no publish waits for, on the file or folder of that name.
func (w *Watch) Call(what, name string) *Call { return w.call(others, what, name) }

func (w *Watch) call(sort sort, what, name string) *Call {
	if w == nil {
		return nil
	}
	c := &Call{w: w, what: what, name: name, sort: sort, since: time.Now()}
	w.mu.Lock()
	w.calls[c] = struct{}{}
	w.mu.Unlock()
	c.timer = time.AfterFunc(Patience, w.look)
	return c
}

// Done ends the call.
func (c *Call) Done() {
	if c == nil {
		return
	}
	c.w.mu.Lock()
	delete(c.w.calls, c)
	c.w.mu.Unlock()
	if !c.timer.Stop() || c.w.told.Load() {
		c.w.look()
	}
}

// Err returns that the disk does not answer what publishes wait for, and for how long; nil while it does.
func (w *Watch) Err() error {
	if w == nil {
		return nil
	}
	now := time.Now()
	w.mu.Lock()
	o := w.oldestLocked(now)[publishes]
	w.mu.Unlock()
	if o.late(now) {
		return fmt.Errorf("the disk has not answered for %d s: publishes wait for it to %s", now.Sub(o.since)/time.Second, o.what)
	}
	return nil
}

// Out returns for how long the oldest call is out that publishes wait for, and of all others; 0 for none.
func (w *Watch) Out() (publish, other time.Duration) {
	if w == nil {
		return 0, 0
	}
	now := time.Now()
	w.mu.Lock()
	o := w.oldestLocked(now)
	w.mu.Unlock()
	return o[publishes].age(now), o[others].age(now)
}

// out is a call that is out.
type out struct {
	what, name string
	since      time.Time // zero: there is none
}

func (o *out) age(now time.Time) time.Duration {
	if o.since.IsZero() {
		return 0
	}
	return now.Sub(o.since)
}

func (o *out) late(now time.Time) bool { return o.age(now) >= Patience }

// oldestLocked returns the oldest call of each sort that is out.
func (w *Watch) oldestLocked(now time.Time) (oldest [sorts]out) {
	older := func(sort sort, o out) {
		if have := &oldest[sort]; have.since.IsZero() || o.since.Before(have.since) {
			*have = o
		}
	}
	for _, s := range w.slots {
		if since := s.lookLocked(now); !since.IsZero() {
			older(publishes, out{s.what, "", since})
		}
	}
	for c := range w.calls {
		older(c.sort, out{c.what, c.name, c.since})
	}
	return oldest
}

// arm has slots looked at from now on.
func (w *Watch) arm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer == nil {
		w.timer = time.AfterFunc(sampled, w.sample)
		return
	}
	w.timer.Reset(sampled)
}

// sample looks at the slots, and goes on with that unless nothing has happened in them since the last time, and nothing is out.
func (w *Watch) sample() {
	w.look()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stirLocked() {
		w.awake.Store(false) // first: who begins from now on wakes the Watch, or is seen
		if !w.stirLocked() || !w.awake.CompareAndSwap(false, true) {
			return
		}
	}
	w.timer.Reset(sampled)
}

// stirLocked reports whether something is out in a slot, or was since it last reported.
func (w *Watch) stirLocked() (stirs bool) {
	for _, s := range w.slots {
		ended := s.ended.Load()
		begun := s.begun.Load()
		stirs = stirs || begun != ended || begun != s.last
		s.last = begun
	}
	return stirs
}

// look tells the log when the disk has begun not to answer, and when it answers again: once each for all that hangs.
func (w *Watch) look() {
	now := time.Now()
	var lines []func()
	w.mu.Lock()
	oldest := w.oldestLocked(now)
	for sort := sorts - 1; sort >= 0; sort-- {
		// While publishes wait nothing is new of the others.
		if line := w.late[sort].look(now, sort, &oldest[sort], w.log, sort == others && w.late[publishes].told); line != nil {
			lines = append(lines, line)
		}
	}
	w.told.Store(w.late[publishes].told || w.late[others].told)
	w.mu.Unlock()
	for _, line := range lines {
		line()
	}
}

// look takes in the oldest call of a sort, and returns what the log is to be told; nil for nothing.
func (l *late) look(now time.Time, sort sort, o *out, log *slog.Logger, quiet bool) (line func()) {
	is := o.late(now)
	switch {
	case is && !l.told && !quiet:
		*l = late{told: true, since: o.since}
		level, about := slog.LevelError, []any{"waiting", "publishes", "to", o.what, "for", now.Sub(o.since).Round(time.Second)}
		if sort == others {
			level, about = slog.LevelWarn, []any{"waiting", "no publish", "to", o.what, "name", o.name, "for", now.Sub(o.since).Round(time.Second)}
		}
		return func() { log.Log(context.Background(), level, "the disk does not answer", about...) }
	case !is && l.told:
		took := now.Sub(l.since).Round(time.Millisecond)
		*l = late{}
		return func() {
			log.Info("the disk answers again", "waited", [sorts]string{"no publish", "publishes"}[sort], "took", took)
		}
	}
	return nil
}
