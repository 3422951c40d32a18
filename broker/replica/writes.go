package replica

import (
	"math"
	"sync"
	"time"
)

// wait writes what nobody else does.
func (g *Group) wait() {
	for {
		select {
		case <-g.stop:
			return
		case <-g.writes.wake:
		}
		g.write(math.MaxInt)
	}
}

// write waits for the log, one write after the other, so that their answers leave in that order, until nothing is left, or for so many times of all that there are. It
// leaves that to another goroutine that is at it.
func (g *Group) write(times int) {
	for writes := g.writes.take(); len(writes) > 0; writes = g.writes.next() {
		for _, w := range writes {
			err := error(nil)
			if w.appends {
				err = g.o.Log.Commit(w.at, w.level)
			}
			g.turn.post(func(now time.Duration) {
				if err != nil {
					g.m.failed(err)
				} else {
					g.m.wrote(w, now)
				}
			})
			if g.owner.Behind() { // it was not, perhaps, when what is written was taken
				g.turn.call()
			} else {
				g.work(false)
			}
		}
		if times--; times == 0 {
			g.writes.leave()
			return
		}
	}
}

// queue is what waits for the log, oldest first. Whoever puts something in never waits, or two goroutines could wait
// for each other; the engine bounds it. One goroutine at a time sees to what is in it.
type queue struct {
	wake  chan struct{}
	mu    sync.Mutex
	list  []*write
	taken bool // somebody sees to it, and to what is put in until then
}

// put puts writes in, and wakes who waits for that, unless somebody sees to them: who has put them in, say.
func (q *queue) put(writes []*write, seen bool) {
	if len(writes) == 0 {
		return
	}
	q.mu.Lock()
	q.list = append(q.list, writes...)
	seen = seen || q.taken
	q.mu.Unlock()
	if !seen {
		kick(q.wake)
	}
}

// take takes all that there is, unless somebody else sees to it. Who has taken something goes on with next until there is nothing more, or leaves.
func (q *queue) take() []*write {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.taken {
		return nil
	}
	return q.nextLocked()
}

func (q *queue) next() []*write {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.nextLocked()
}

func (q *queue) nextLocked() []*write {
	list := q.list
	q.list, q.taken = nil, len(list) > 0
	return list
}

// leave has another goroutine see to what is left.
func (q *queue) leave() {
	q.mu.Lock()
	q.taken = false
	left := len(q.list) > 0
	q.mu.Unlock()
	if left {
		kick(q.wake)
	}
}

func kick(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
