package main

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestCollectionsArePacedByWhatIsAlive(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{{0, 800}, {4 << 20, 400}, {8 << 20, 200}, {smallest, 100}, {garbage, 100}, {2 * garbage, 50}, {400 << 20, 16}, {8 << 30, 10}} {
		if got := percentFor(c.live); got != c.want {
			t.Errorf("with %d bytes alive GOGC is %d, wanted %d", c.live, got, c.want)
		}
	}
}

// pretended is a heap that a test says everything of.
type pretended struct {
	mu sync.Mutex // guards what follows
	heap
	reads, given int
}

// after lets time pass, and returns how often the heap was looked at and memory was given back.
func (p *pretended) after(d time.Duration) (reads, given int) {
	time.Sleep(d)
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reads, p.given
}

// allocate pretends that there were collections, and so much was allocated.
func (p *pretended) allocate(bytes, collections uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cycles, p.allocated, p.spare = p.cycles+collections, p.allocated+bytes, p.spare+bytes/2
}

func (p *pretended) read() heap {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reads++
	return p.heap
}

func (p *pretended) giveBack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.given++
	p.cycles += 2
	p.spare = 0
}

// What a burst leaves behind is given back once it is over, not while it lasts, and then nothing is looked at any more until there
// is a collection again that is not the collector's own.
func TestMemoryIsGivenBackAfterABurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pretended{}
		c := newCollector(p.read, p.giveBack)
		quit := make(chan struct{})
		defer close(quit)
		go c.run(quit)
		for range 10 {
			p.after(restInterval - time.Millisecond)
			p.allocate(20<<20, 1)
			c.collected <- struct{}{}
		}
		p.after(restInterval / 2)
		p.allocate(2*restBytes, 0) // it goes on, without a collection
		if _, given := p.after(restInterval); given > 0 {
			t.Error("memory was given back while much is allocated")
		}
		reads, given := p.after(restInterval)
		if given != 1 {
			t.Fatalf("memory was given back %d times after the burst", given)
		}
		c.collected <- struct{}{} // tells of the collector's own
		if r, given := p.after(time.Hour); r != reads+1 || given != 1 {
			t.Errorf("in an idle hour the heap was looked at %d times, and memory was given back %d times", r-reads-1, given-1)
		}
		p.allocate(0, 1) // as the runtime collects every two minutes
		c.collected <- struct{}{}
		if r, given := p.after(time.Hour); r != reads+3 || given != 1 {
			t.Errorf("after a collection that leaves nothing to give the heap was looked at %d times, and memory was given back %d times",
				r-reads-3, given-1)
		}
	})
}

// A collector hears of real collections, and what it gives back is gone from the heap.
func TestCollectorHearsOfCollections(t *testing.T) {
	c := newCollector(readHeap, giveBack)
	c.listen()
	defer c.stopped.Store(true)
	for range 3 {
		before := readHeap().cycles
		runtime.GC()
		select {
		case <-c.collected:
		case <-time.After(2 * time.Minute):
			t.Fatal("a collection was not heard of")
		}
		if now := readHeap().cycles; now <= before {
			t.Errorf("cycles went from %d to %d", before, now)
		}
	}
	garbage := make([]byte, 64<<20)
	for i := 0; i < len(garbage); i += 4096 {
		garbage[i] = 1
	}
	runtime.KeepAlive(garbage)
	c.giveBack()
	if spare := readHeap().spare; spare > 16<<20 {
		t.Errorf("%d spare bytes are left of a burst of 64 MiB", spare)
	}
}
