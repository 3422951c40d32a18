package broker

import (
	"fmt"
	"log/slog"
	"sync/atomic"
)

// descriptors bounds the connections of clients and of HTTP together by the file descriptors that the process may have: strangers must leave some for
// the log, without which nothing can be published, and each kind some for the other, so that /ping answers.
type descriptors struct {
	limit int64 // of the process; 0: not known, and no bound
	used  atomic.Int64
}

// keptFiles is how many descriptors connections leave for files at least, unless a quarter of all is less. It is an eighth of all when that is more: each
// topic and channel that overflows to disk has files open.
const keptFiles = 256

// all returns how many descriptors connections may have.
func (d *descriptors) all() int64 { return d.limit - min(d.limit/4, max(d.limit/8, keptFiles)) }

// share returns how many of them those of one kind may have.
func (d *descriptors) share() int64 { return d.all() - d.all()/8 }

// take counts one more connection of a kind that has n, or returns why there is one too many. give takes it back.
func (d *descriptors) take(n int) error {
	if d.limit == 0 {
		return nil
	}
	if d.used.Add(1) > d.all() || int64(n) >= d.share() {
		d.used.Add(-1)
		return &outOfDescriptors{d.limit}
	}
	return nil
}

// check warns when a limit of connections of each kind is more than can be had.
func (d *descriptors) check(maxConnections int, log *slog.Logger) {
	if share := d.share(); d.limit > 0 && int64(maxConnections) > share {
		log.Warn("--max-connections is more than the file descriptors of the process allow (ulimit -n): beyond those, connections are closed without an answer",
			"max_connections", maxConnections, "clients_at_most", share, "http_at_most", share, "together", d.all(), "descriptors", d.limit)
	}
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
