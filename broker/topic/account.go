package topic

import "sync/atomic"

// memoryAccount is how many bytes of messages the node has in memory, and how many it should have at most: half of that may wait, half
// may be in flight. Messages that wait in several channels of a topic at level memory are counted for each. What is in nodes of topics
// that are kept in the log counts as waiting, and large bodies in flight not: those can be read again.
type memoryAccount struct {
	half    int64 // of the bytes that it should have at most; math.MaxInt64 when there is no limit
	waiting atomic.Int64
	flying  atomic.Int64
}

func (a *memoryAccount) add(waiting, flying int64) {
	if waiting != 0 {
		a.waiting.Add(waiting)
	}
	if flying != 0 {
		a.flying.Add(flying)
	}
}

// crowded reports whether more waits in memory than should.
func (a *memoryAccount) crowded() bool { return a.waiting.Load() > a.half }

// flooded reports whether more is in flight than should be.
func (a *memoryAccount) flooded() bool { return a.flying.Load() > a.half }
