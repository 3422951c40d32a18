package httpapi

import (
	"runtime"
	"sync/atomic"
)

// making is a place for each answer of Lists that is being made.
var making = make(chan struct{}, runtime.GOMAXPROCS(0))

// sending is what large answers take in memory, of all that this process serves: whoever asks and does not read costs it no more.
var sending = budget{most: 128 << 20}

// budget is bytes that are in use, and how many may be, or so many as one alone needs.
type budget struct {
	most int64
	used atomic.Int64
}

// take takes n bytes, if there is room for them.
func (b *budget) take(n int64) bool {
	if n == 0 {
		return true
	}
	if used := b.used.Add(n); used > b.most && used > n {
		b.used.Add(-n)
		return false
	}
	return true
}

// add takes n bytes, whether there is room or not: they are there.
func (b *budget) add(n int64) { b.used.Add(n) }

func (b *budget) give(n int64) { b.used.Add(-n) }
