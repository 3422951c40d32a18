package wal

import "sync"

// gate lets one round in at a time: a write, or a sync, that carries all who have come by the moment it takes them. Those
// who are carried wait for its end and all wake then; those who come later wait for the next round, and one of them is woken
// to lead it. Guarded by Log.mu, as all of its methods are.
//
// Whoever enters must take and leave. A waiter that finds its question answered without entering (since the log failed or
// was closed) passes nothing on, so that whoever changes that answer wakes everybody.
type gate struct {
	busy    bool
	taken   uint64       // number of the last round that has taken what it carries
	conds   [2]sync.Cond // of rounds with even and with odd numbers
	waiting [2]int       // who waits at each
	last    int          // who waited for the round that ended last, its leader included
}

func (g *gate) init(mu *sync.Mutex) {
	g.conds[0].L, g.conds[1].L = mu, mu
}

// wait waits for the end of the round in progress if it has taken what is waited for, or else for the round after it.
func (g *gate) wait(carried bool) {
	i := (g.taken + 1) & 1
	if carried {
		i = g.taken & 1
	}
	g.waiting[i]++
	g.conds[i].Wait()
}

// enter waits until no round is in progress and begins one.
func (g *gate) enter() {
	for g.busy {
		g.wait(false)
	}
	g.busy = true
}

// take ends the time in which others can join the round.
func (g *gate) take() { g.taken++ }

// joined counts who would be carried if the round took now, its leader not included.
func (g *gate) joined() int { return g.waiting[(g.taken+1)&1] }

func (g *gate) leave() {
	g.busy = false
	now, next := g.taken&1, (g.taken+1)&1
	g.last = g.waiting[now] + 1
	g.waiting[now] = 0
	g.conds[now].Broadcast()
	if g.waiting[next] > 0 {
		g.waiting[next]--
		g.conds[next].Signal()
	}
}

func (g *gate) wakeAll() {
	for i := range g.conds {
		g.waiting[i] = 0
		g.conds[i].Broadcast()
	}
}
