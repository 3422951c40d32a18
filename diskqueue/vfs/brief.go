package vfs

import (
	"sync/atomic"
	"time"
)

// A write of a few KiB goes to the system's page cache and takes about a microsecond. To tell the scheduler of such a system call,
// as os.File does, costs many times that in a process that was idle before: the runtime's monitor thread is woken and polls for a
// millisecond, in case the call should last. Not to tell it has a price when the system makes the writer wait after all, as it
// does while other writers have filled memory with what the disk has not taken: the processor that the caller runs on waits as
// well. So brief writes are made without telling only as long as none has waited.
const (
	briefBytes = 16 << 10
	briefTime  = 500 * time.Microsecond // longer was waiting
	waryWrites = 4096                   // are told of after one that has waited
)

// brief knows whether writes have waited lately.
type brief struct{ wary atomic.Int64 }

// may reports whether a write of n bytes is to be made without telling the scheduler.
func (b *brief) may(n int) bool {
	if n > briefBytes {
		return false
	}
	return b.wary.Load() <= 0 || b.wary.Add(-1) < 0
}

// took notes how long such a write has taken.
func (b *brief) took(d time.Duration) {
	if d > briefTime {
		b.wary.Store(waryWrites)
	}
}
