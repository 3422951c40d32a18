package session

import "sync/atomic"

// duty is who sends messages to a client: one goroutine at a time, and none while there is nothing to send.
type duty struct {
	state atomic.Uint32
	gone  chan struct{} // closed by the last one; made before the state is leaving
}

const (
	resting   uint32 = iota // nobody sends
	busy                    // somebody does
	busyAgain               // somebody does, and must look for more before it ends
	leaving                 // somebody does, for the last time
	left                    // nobody does, nor will again
)

// begin reports whether the caller is to send. If not, whoever does so already looks for more before it ends.
func (d *duty) begin() bool {
	for {
		switch d.state.Load() {
		case resting:
			if d.state.CompareAndSwap(resting, busy) {
				return true
			}
		case busy:
			if d.state.CompareAndSwap(busy, busyAgain) {
				return false
			}
		default:
			return false
		}
	}
}

// end gives up what begin has begun, or reports that there may be more to send.
func (d *duty) end() (again bool) {
	for {
		switch d.state.Load() {
		case busy:
			if d.state.CompareAndSwap(busy, resting) {
				return false
			}
		case busyAgain:
			if d.state.CompareAndSwap(busyAgain, busy) {
				return true
			}
		default:
			d.state.Store(left)
			close(d.gone)
			return false
		}
	}
}

// retire lets nobody begin any more, and waits for who has. It is called once.
func (d *duty) retire() {
	d.gone = make(chan struct{})
	for {
		st := d.state.Load()
		switch {
		case st == resting && d.state.CompareAndSwap(resting, left):
			return
		case st != resting && d.state.CompareAndSwap(st, leaving):
			<-d.gone
			return
		}
	}
}
