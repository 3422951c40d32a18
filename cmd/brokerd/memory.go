package main

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

// garbage is how many bytes of garbage are let wait before they are collected, once more than that is alive.
//
// The garbage collector by itself lets a process grow to twice of what is alive. A broker is alive with what it knows of
// messages on disk, hundreds of megabytes for ten million of them, which it costs next to nothing to look through as there are
// no pointers in it: it is collected more often instead.
const garbage = 64 << 20

// smallest is how many bytes of garbage are let wait at least. A broker that has nothing to keep lives with three or four MiB, and
// would collect after as many: a hundred times a second when messages are large, and then half of its work. At level memory messages of
// 64 KiB cost 80 us with this in place of 150.
const smallest = 16 << 20

// When an idle process gives memory back: it has allocated less than restBytes in restInterval, and there are spareBytes or more to give.
const (
	restInterval = time.Second
	restBytes    = 512 << 10
	spareBytes   = 1 << 20
)

// keepSmall sees to it that the process stays small, unless GOGC in the environment says how it is to be collected, until the
// function that it returns is called. After that nothing more of it runs, but for one collection that it may be told of.
func keepSmall() (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	c := newCollector(readHeap, giveBack)
	c.listen()
	quit := make(chan struct{})
	var loop sync.WaitGroup
	loop.Go(func() { c.run(quit) })
	return func() { c.stopped.Store(true); close(quit); loop.Wait() }
}

// collector decides how often garbage is collected, and gives memory back that is not needed any more. It looks at the heap when
// there was a collection, and then once a second until the process rests; a process that does nothing never wakes it.
type collector struct {
	collected chan struct{}
	stopped   atomic.Bool
	read      func() heap
	giveBack  func() // everything that is spare; it collects

	// Owned by run.
	percent int    // GOGC
	own     uint64 // the last collection that the collector itself has asked for
}

func newCollector(read func() heap, giveBack func()) *collector {
	return &collector{collected: make(chan struct{}, 1), read: read, giveBack: giveBack, percent: 100}
}

// listen has collected tell of the next collection, and of those after it: when an object that nobody refers to is found.
func (c *collector) listen() {
	if c.stopped.Load() {
		return
	}
	runtime.AddCleanup(new(canary), func(c *collector) {
		c.listen() // before it tells: who hears of this collection and asks for another hears of that one too
		select {
		case c.collected <- struct{}{}:
		default:
		}
	}, c)
}

// canary is too large to share its memory with other objects, which might live.
type canary struct{ _ [32]byte }

func (c *collector) run(quit <-chan struct{}) {
	timer := time.NewTimer(restInterval) // the start has left garbage
	defer timer.Stop()
	last := c.read()
	for {
		select {
		case <-quit:
			return
		case <-c.collected:
			h := c.read()
			c.pace(h.live)
			if h.cycles != c.own {
				last = h
				timer.Reset(restInterval)
			}
		case <-timer.C:
			h := c.read()
			if h.allocated-last.allocated >= restBytes {
				last = h
				timer.Reset(restInterval)
				continue
			}
			c.rest(h)
		}
	}
}

// pace sets how much garbage there may be.
func (c *collector) pace(live uint64) {
	percent := percentFor(live)
	if math.Abs(float64(percent-c.percent)) > float64(c.percent)/8 {
		debug.SetGCPercent(percent)
		c.percent = percent
	}
}

// rest gives back what a burst has left behind.
func (c *collector) rest(h heap) {
	if h.spare >= spareBytes {
		c.giveBack()
		c.own = c.read().cycles
	}
}

func giveBack() {
	runtime.GC() // pools keep what they have over one collection, not over the one that follows
	debug.FreeOSMemory()
}

// heap is figures of the process's memory.
type heap struct {
	live      uint64 // bytes that the last collection has found alive
	allocated uint64 // bytes, ever
	cycles    uint64 // collections, ever
	spare     uint64 // bytes that are resident and may be garbage, or are nothing at all
}

func readHeap() heap {
	m := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/cycles/total:gc-cycles"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/free:bytes"}}
	metrics.Read(m)
	h := heap{live: m[0].Value.Uint64(), allocated: m[1].Value.Uint64(), cycles: m[2].Value.Uint64()}
	objects := m[3].Value.Uint64()
	h.spare = objects - min(objects, h.live) + m[4].Value.Uint64()
	return h
}

// percentFor returns the GOGC for that many bytes that are alive.
func percentFor(live uint64) int {
	if live <= garbage {
		return int(100 * max(live, smallest) / max(live, smallest/8))
	}
	return int(max(10, 100*garbage/live))
}
