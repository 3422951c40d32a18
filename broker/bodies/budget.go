package bodies

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// Free is how many bytes of a body need no share.
const Free = 64 << 10

const (
	progress = 32 << 10    // bytes that count as movement
	patience = time.Second // of who waits, and for who does not move
	look     = time.Second / 4
	slack    = 8               // a share may grow by this part of itself at once: memory comes in rounded sizes
	longest  = 5 * time.Second // that a share is kept for sure while others wait
	maxWait  = 30 * time.Second
)

// Errors of Hold.
var (
	ErrBusy = errors.New("too many bodies are unfinished on this node; try again")
	ErrCut  = errors.New("the body did not move while others waited for room")
	ErrDone = errors.New("the node is stopping")
)

// Budget is shared by all bodies of a node. It is safe for concurrent use.
type Budget struct {
	limit int64

	mu      sync.Mutex // guards what follows, and the fields of bodies that say so
	used    int64
	holders map[*Body]struct{}
	waiters []*waiter // in the order in which they came
	closed  bool
}

type waiter struct {
	body    *Body
	more    int64
	since   time.Time
	granted chan struct{} // closed when it has its share
}

// New returns a Budget of limit bytes, more than 0. A single body may hold more when nothing else is held.
func New(limit int64) *Budget { return &Budget{limit: limit, holders: map[*Body]struct{}{}} }

// Used returns the bytes that are held now.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Body is one that arrives. Its zero value is not usable; Begin makes it ready, for one body after another. Its methods are for one
// goroutine.
type Body struct {
	budget *Budget
	cut    func()
	asked  bool // for a share; of the body's goroutine

	held    int64     // guarded by budget.mu, as what follows
	since   time.Time // when it got its share
	arrived int64     // when it was last seen to move
	moved   time.Time // when that was
	isCut   bool
}

// Begin returns a Body. cut is called, by another goroutine, to end the reading of one that does not move; it may still be called when the
// body has just ended.
func (b *Budget) Begin(cut func()) Body { return Body{budget: b, cut: cut} }

// Hold sees to it that the body holds total bytes, of which arrived have come. It is called before each read that may wait. While there
// is no room it calls meanwhile four times a second, and fails when that does. Other errors are ErrBusy, ErrCut and ErrDone.
func (h *Body) Hold(total, arrived int64, meanwhile func() error) error {
	if h.budget == nil || total <= Free {
		return nil
	}
	h.asked = true
	now := time.Now()
	w, err := h.ask(total, arrived, now)
	if w == nil {
		return err
	}
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-w.granted:
			return nil
		case <-tick.C:
		}
		err := meanwhile()
		if err == nil {
			err = h.gone()
		}
		if err == nil && time.Since(now) >= maxWait {
			err = ErrBusy
		}
		if err != nil {
			return h.giveUp(w, err)
		}
		if time.Since(now) >= patience {
			h.budget.cutIdle(time.Now())
		}
	}
}

// ask takes the share, or returns the place in the queue for it.
func (h *Body) ask(total, arrived int64, now time.Time) (*waiter, error) {
	b := h.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := h.goneLocked(); err != nil {
		return nil, err
	}
	if h.moved.IsZero() || arrived-h.arrived >= progress {
		h.arrived, h.moved = arrived, now
	}
	more := total - h.held
	if more <= 0 {
		return nil, nil
	}
	if len(b.waiters) == 0 && b.fitsLocked(h, more) || more <= h.held/slack {
		b.giveLocked(h, more)
		return nil, nil
	}
	w := &waiter{h, more, now, make(chan struct{})}
	b.waiters = append(b.waiters, w)
	return w, nil
}

// fitsLocked reports whether there is room: also for one alone, however large it is.
func (b *Budget) fitsLocked(h *Body, more int64) bool {
	return b.used+more <= b.limit || b.used == h.held
}

func (b *Budget) giveLocked(h *Body, more int64) {
	if h.held == 0 {
		h.since = time.Now()
		h.moved = h.since
	}
	h.held += more
	b.used += more
	b.holders[h] = struct{}{}
}

func (h *Body) gone() error {
	h.budget.mu.Lock()
	defer h.budget.mu.Unlock()
	return h.goneLocked()
}

func (h *Body) goneLocked() error {
	switch {
	case h.isCut:
		return ErrCut
	case h.budget.closed:
		return ErrDone
	}
	return nil
}

// nextLocked is the place of the waiter who is to be served next: the first, but once that has waited for too long the last. Then there
// are more than can be served, and those who came lately are the ones for whom it is not too late.
func (b *Budget) nextLocked() int {
	if time.Since(b.waiters[0].since) >= patience {
		return len(b.waiters) - 1
	}
	return 0
}

// serveLocked gives room to those who wait.
func (b *Budget) serveLocked() {
	for len(b.waiters) > 0 {
		i := b.nextLocked()
		w := b.waiters[i]
		if !b.fitsLocked(w.body, w.more) {
			return
		}
		b.waiters = slices.Delete(b.waiters, i, i+1)
		b.giveLocked(w.body, w.more)
		close(w.granted)
	}
}

// Close has all who wait, and who ask from now on, fail with ErrDone.
func (b *Budget) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}

// giveUp leaves the queue; with err, unless the share was given at that moment.
func (h *Body) giveUp(w *waiter, err error) error {
	b := h.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.waiters, w)
	if i < 0 {
		return nil
	}
	b.waiters = slices.Delete(b.waiters, i, i+1)
	b.serveLocked()
	return err
}

// cutIdle cuts off as many holders that do not move as make room for the one who is to be served next.
func (b *Budget) cutIdle(now time.Time) {
	for {
		cut := b.idle(now)
		if cut == nil {
			return
		}
		cut() // it may be over by now, and its Body in use for another
	}
}

// idle returns what cuts off a holder, nil for none: the one that has not moved for the longest, or the one that has had its share for the
// longest, if that is long. It may wait itself: it holds a share, and needs more than it announced.
func (b *Budget) idle(now time.Time) (cut func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiters) == 0 {
		return nil
	}
	var idle, old *Body
	missing := b.used + b.waiters[b.nextLocked()].more - b.limit
	for h := range b.holders {
		switch {
		case h.isCut:
			missing -= h.held // it is about to end
		case now.Sub(h.moved) >= patience && (idle == nil || h.moved.Before(idle.moved)):
			idle = h
		case now.Sub(h.since) >= longest && (old == nil || h.since.Before(old.since)):
			old = h
		}
	}
	if idle == nil {
		idle = old
	}
	if idle == nil || missing <= 0 {
		return nil
	}
	idle.isCut = true
	return idle.cut
}

// End gives back what the body holds, and makes it ready for the next one.
func (h *Body) End() {
	if !h.asked {
		return
	}
	h.asked = false
	b := h.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if h.held > 0 {
		b.used -= h.held
		delete(b.holders, h)
		b.serveLocked()
	}
	h.held, h.arrived, h.moved, h.since, h.isCut = 0, 0, time.Time{}, time.Time{}, false
}
