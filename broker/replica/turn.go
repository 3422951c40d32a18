package replica

import (
	"context"
	"sync"
	"time"
)

// turn is whose turn it is to run a group's machine. Whoever has something for it does it himself when it is nobody's turn, as to have another
// goroutine do it costs more than the thing itself; else who has the turn sees to it that it is done soon.
type turn struct {
	has  sync.Mutex    // by who has it; only tried
	wake chan struct{} // the group's goroutine is to go on

	mu     sync.Mutex // guards what follows
	posted []func(now time.Duration)
	spare  []func(now time.Duration)
	moved  chan struct{} // closed when what was posted is being done; nil: nobody waits for that
	over   bool
}

// post leaves something to be done by the next who works.
func (t *turn) post(do func(now time.Duration)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.over {
		t.posted = append(t.posted, do)
	}
}

// work has what was posted done, in order, unless another goroutine has the turn. What is posted meanwhile is left to the group's goroutine.
func (t *turn) work(do func(posted []func(time.Duration))) {
	if !t.has.TryLock() {
		return // who has it looks again when he is done
	}
	if posted := t.take(); len(posted) > 0 {
		do(posted)
		t.give(posted)
	}
	t.leave()
}

// brief has something short done at once, unless it is somebody's turn, or something else is to be done before.
func (t *turn) brief(do func()) {
	if !t.has.TryLock() {
		return
	}
	if t.idle() {
		do()
	}
	t.leave()
}

// alone has something done that may take long, unless it is somebody's turn.
func (t *turn) alone(do func()) {
	if !t.has.TryLock() {
		return
	}
	do()
	t.leave()
}

// leave ends a turn.
func (t *turn) leave() {
	t.has.Unlock()
	if t.more() {
		t.call()
	}
}

// call has the group's goroutine go on.
func (t *turn) call() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// idle reports whether nothing was posted, and more may be done.
func (t *turn) idle() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.over && len(t.posted) == 0
}

// take takes what was posted.
func (t *turn) take() []func(time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.moved != nil {
		close(t.moved)
		t.moved = nil
	}
	posted := t.posted
	t.posted, t.spare = t.spare, nil
	return posted
}

// give gives the memory of what was done back.
func (t *turn) give(done []func(time.Duration)) {
	clear(done)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.spare = done[:0]
}

func (t *turn) more() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.posted) > 0
}

// room reports whether few enough things wait to be done; with waits it returns once that is so.
func (t *turn) room(ctx context.Context, stop <-chan struct{}, waits bool) (ok bool, err error) {
	select {
	case <-stop:
		return false, ErrClosed
	default:
	}
	for {
		t.mu.Lock()
		switch {
		case t.over:
			t.mu.Unlock()
			return false, ErrClosed
		case len(t.posted) < inboxMessages:
			t.mu.Unlock()
			return true, nil
		case !waits:
			t.mu.Unlock()
			return false, nil
		case t.moved == nil:
			t.moved = make(chan struct{})
		}
		moved := t.moved
		t.mu.Unlock()
		select {
		case <-moved:
		case <-stop:
			return false, ErrClosed
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// end waits for who has the turn. It is nobody's any more, and nothing is done.
func (t *turn) end() {
	t.has.Lock()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over, t.posted, t.spare = true, nil, nil
}
