package topic

import (
	"sync/atomic"
	"time"
)

// prompt knows whether the log has been written without waiting lately. While it has, the consumers of a publish are served behind
// its write by who publishes; otherwise they are woken before it, so that a slow disk holds up who publishes and nobody else.
type prompt struct{ slow atomic.Int32 }

const (
	slowCommit    = 2 * time.Millisecond // a write to the system's page cache takes microseconds
	slowPublishes = 1024                 // after such a one, or after the last of them
)

// is reports whether consumers may wait for the next commit.
func (p *prompt) is() bool { return p.slow.Load() <= 0 || p.slow.Add(-1) < 0 }

// took notes how long a commit has taken.
func (p *prompt) took(d time.Duration) {
	if d > slowCommit {
		p.slow.Store(slowPublishes)
	}
}
