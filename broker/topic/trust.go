package topic

import (
	"log/slog"
	"sync"
	"time"
)

// What is kept by its age is dropped by the node's clock, and a clock can be wrong: a board without a battery, a bad time server. By what a clock is
// set while the broker runs is known, and does not count: see jump. When a broker starts it is not: then a clock that is ahead would drop all that is
// kept. So one that is far ahead of the last time that the log has is not believed at once: for an hour nothing goes that would not have
// gone by that time and what has passed since, and the broker's log says so.

const (
	clockDoubt = 5 * time.Minute // by so much it may be ahead of what is expected
	clockGrace = time.Hour       // so long it is not believed then
)

// trust is whether the clock of stamps is believed.
type trust struct {
	mu    sync.Mutex // guards what follows
	known int64      // the last time that is known from before the start, Unix nanoseconds; 0: none, or the clock is believed
	when  int64      // when that was read, on the clock of deadlines
	doubt bool       // the clock was found to be ahead of it
}

// expect has the clock be held to a time that is known from before the start, Unix nanoseconds, 0 for none.
func (c *trust) expect(known, now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known, c.when = known, now
}

// look returns what time it is for dropping by age, when the clock of stamps says stamp and that of deadlines now.
func (c *trust) look(stamp, now int64, log *slog.Logger) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == 0 {
		return stamp
	}
	expected := c.known + now - c.when
	switch ahead := time.Duration(stamp - expected); {
	case ahead <= clockDoubt:
		c.known = 0
		return stamp
	case now-c.when >= int64(clockGrace):
		c.known = 0
		log.Warn("the clock has stayed as it is, and is believed", "now", time.Unix(0, stamp).UTC())
		return stamp
	case !c.doubt:
		c.doubt = true
		log.Warn("the clock is ahead of the last time that the log says: for an hour retain_time counts by that", "by", ahead,
			"now", time.Unix(0, stamp).UTC(), "expected", time.Unix(0, expected).UTC())
	}
	return expected
}
