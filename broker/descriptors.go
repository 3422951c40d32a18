package broker

import (
	"fmt"
	"sync/atomic"
)

// descriptors bounds the connections of clients and of HTTP together by the file descriptors that the process may have: strangers must leave some for
// the log, without which nothing can be published, and each kind some for the other, so that /ping answers.
type descriptors struct {
	limit int64 // of the process; 0: not known, and no bound
	used  atomic.Int64
}

// keptFiles is how many descriptors connections leave for files at most; it is a quarter of all when that is less.
const keptFiles = 256

// all returns how many descriptors connections may have.
func (d *descriptors) all() int64 { return d.limit - min(d.limit/4, keptFiles) }

// take counts one more connection of a kind that has n, or returns why there is one too many. give takes it back.
func (d *descriptors) take(n int) error {
	if d.limit == 0 {
		return nil
	}
	all := d.all()
	if d.used.Add(1) > all || int64(n) >= all-all/8 {
		d.used.Add(-1)
		return &outOfDescriptors{d.limit}
	}
	return nil
}

func (d *descriptors) give() {
	if d.limit > 0 {
		d.used.Add(-1)
	}
}

// outOfDescriptors is the refusal of a connection that would need a descriptor that is kept: it is closed without an answer.
type outOfDescriptors struct{ limit int64 }

func (e *outOfDescriptors) Error() string {
	return fmt.Sprintf("the process may have %d file descriptors (ulimit -n), and some are kept for files and other kinds of connections", e.limit)
}
