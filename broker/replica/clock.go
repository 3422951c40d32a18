package replica

import (
	"slices"
	"sync"
	"time"
)

// Clock tells the groups of a node of ticks, all at the same moments and by one goroutine: so a node that rests is woken once for all of them, and what they
// send then leaves together. It runs while there are groups.
type Clock struct {
	tick  time.Duration
	began time.Time
	beat  func()

	mu     sync.Mutex
	groups []*Group // replaced, never changed
	runs   *ticking // nil: nothing ticks
}

// ticking is the goroutine of a clock.
type ticking struct{ quit, ended chan struct{} }

// NewClock returns a clock without groups. beat is called once groups were told of a tick at which leaders beat, every second one; nil: nobody is.
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
	next := func() time.Duration { return c.tick - c.now()%c.tick }
	t := time.NewTimer(next())
	defer t.Stop()
	for last := time.Duration(0); ; t.Reset(next()) {
		select {
		case <-r.quit:
			return
		case <-t.C:
		}
		c.mu.Lock()
		groups := c.groups
		c.mu.Unlock()
		now := c.now()
		beats := beatDue(now, now-last, c.tick)
		for _, g := range groups {
			g.tick(beats)
		}
		if beats {
			last = now
			if c.beat != nil {
				c.beat()
			}
		}
	}
}
