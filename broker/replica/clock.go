package replica

import (
	"slices"
	"sync"
	"time"
)

// Clock tells the groups of a node of ticks, all at the same moments and by one goroutine: so a node that rests is woken once for all of them, and what they
// send then leaves together. It does so when leaders beat; a group that does something before is told of the ticks until then. It runs while there are groups.
type Clock struct {
	tick  time.Duration
	began time.Time
	beat  func()

	mu     sync.Mutex
	groups []*Group // replaced, never changed
	runs   *ticking // nil: nothing ticks
}

// beatTicks is how many ticks there are between two heartbeats of a leader: an eighth of the election timeout by default. All groups of a node beat at the same ticks of
// their clock, which the engine does not know of: of its heartbeats, one for each tick, the others are dropped. A cluster that rests does hardly anything else: a group in
// which nothing was committed for restAfter beats at every restTicks one, and answers so, if that is often enough for its election timeout. It delivers nothing meanwhile that
// a lease could end too soon for.
const (
	beatTicks = 2
	restTicks = 4
	restAfter = time.Second
)

// beatDue reports whether a leader that beats at every so many ticks beats at one, having done so last at a moment: at those of its node's clock, but for those that are
// left out.
func beatDue(now, last, tick, every time.Duration) bool {
	since := now - last
	return last == 0 || since >= every*tick-tick/4 || since >= tick*3/4 && now/tick%every == 0
}

// ticking is the goroutine of a clock.
type ticking struct{ quit, ended chan struct{} }

// NewClock returns a clock without groups. beat is called each time that groups were told of ticks; nil: nobody is.
func NewClock(tick time.Duration, beat func()) *Clock {
	return &Clock{tick: tick, began: time.Now(), beat: beat}
}

// now is monotonic, from 1 s on.
func (c *Clock) now() time.Duration { return time.Since(c.began) + time.Second }

func (c *Clock) add(g *Group) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.groups = append(slices.Clone(c.groups), g)
	if c.runs == nil {
		c.runs = &ticking{make(chan struct{}), make(chan struct{})}
		go c.run(c.runs)
	}
}

// remove returns once the goroutine has ended, if this was the last group.
func (c *Clock) remove(g *Group) {
	c.mu.Lock()
	c.groups = slices.DeleteFunc(slices.Clone(c.groups), func(other *Group) bool { return other == g })
	last := (*ticking)(nil)
	if len(c.groups) == 0 {
		last, c.runs = c.runs, nil
	}
	c.mu.Unlock()
	if last != nil {
		close(last.quit)
		<-last.ended
	}
}

func (c *Clock) run(r *ticking) {
	defer close(r.ended)
	every := time.Duration(beatTicks)
	next := func() time.Duration { return every*c.tick - c.now()%(every*c.tick) }
	t := time.NewTimer(next())
	defer t.Stop()
	for ; ; t.Reset(next()) {
		select {
		case <-r.quit:
			return
		case <-t.C:
		}
		c.mu.Lock()
		groups := c.groups
		c.mu.Unlock()
		every = restTicks
		for _, g := range groups {
			if g.tick(); !g.rests.Load() {
				every = beatTicks
			}
		}
		if c.beat != nil {
			c.beat()
		}
	}
}
