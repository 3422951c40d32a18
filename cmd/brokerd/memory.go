package main

import (
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// garbage is how many bytes of garbage are let wait before they are collected, once more than that is alive.
//
// The garbage collector by itself lets a process grow to twice of what is alive. A broker is alive with what it knows of
// messages on disk, hundreds of megabytes for ten million of them, which it costs next to nothing to look through as there are
// no pointers in it: it is collected more often instead.
const garbage = 64 << 20

// smallest is the heap in bytes up to which nothing is collected. A broker that has nothing to keep lives with three or four MiB, and
// would collect after as many: a hundred times a second when messages are large, and then half of its work. At level memory messages of
// 64 KiB cost 80 us with this in place of 150.
const smallest = 16 << 20

// keepSmall sees to it that the process stays small, unless GOGC in the environment says how it is to be collected, until the
// function that it returns is called.
func keepSmall() (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	quit := make(chan struct{})
	var loop sync.WaitGroup
	loop.Go(func() { paceCollections(quit) })
	return func() { close(quit); loop.Wait() }
}

func paceCollections(quit <-chan struct{}) {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	last := 100
	for {
		select {
		case <-quit:
			return
		case <-ticker.C:
		}
		metrics.Read(sample)
		if sample[0].Value.Kind() != metrics.KindUint64 {
			return
		}
		percent := percentFor(sample[0].Value.Uint64())
		if math.Abs(float64(percent-last)) > float64(last)/8 {
			debug.SetGCPercent(percent)
			last = percent
		}
	}
}

// percentFor returns the GOGC for that many bytes that are alive.
func percentFor(live uint64) int {
	if live <= garbage {
		return int(100 * max(live, smallest-min(live, smallest)) / max(live, smallest/8))
	}
	return int(max(10, 100*garbage/live))
}
