package channel

import "time"

// DelayBounds are the upper bounds of all classes of [Delays] but the last, which has none.
var DelayBounds = [...]time.Duration{
	250 * time.Microsecond, time.Millisecond, 5 * time.Millisecond, 25 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond,
	2500 * time.Millisecond, 10 * time.Second, time.Minute, 5 * time.Minute, 30 * time.Minute, 3 * time.Hour,
}

// Delays is how long messages took from their publish on: how many in each class, and the sum of all.
type Delays struct {
	Counts [len(DelayBounds) + 1]uint64 // of DelayBounds[i] or less, but more than the bound before it
	Sum    time.Duration
}

// Count returns the number of messages.
func (d *Delays) Count() (n uint64) {
	for _, c := range d.Counts {
		n += c
	}
	return n
}

func (d *Delays) add(took time.Duration, n uint64) {
	i := 0
	for i < len(DelayBounds) && took > DelayBounds[i] {
		i++
	}
	d.Counts[i] += n
	d.Sum += time.Duration(n) * took
}

// delays is what a channel measures, once it has delivered.
type delays struct{ delivered, finished Delays }

// noted returns where delays are noted.
func (m *Machine) noted() *delays {
	if m.delays == nil {
		m.delays = new(delays)
	}
	return m.delays
}

// stopwatch notes the delays of messages that are moved together. Those that were published together, and follow each other, cost
// one comparison each.
type stopwatch struct {
	to  *Delays
	now int64  // nanoseconds since the Unix epoch, as messages are stamped
	at  int64  // when those were published that are not noted yet
	n   uint64 // how many they are
}

// saw takes in n messages by their timestamp.
func (w *stopwatch) saw(at int64, n uint64) {
	if at != w.at {
		w.note()
		w.at = at
	}
	w.n += n
}

// note adds what was seen last. A clock that was set back makes no negative delay. It is kept out of the loops that see messages.
//
//go:noinline
func (w *stopwatch) note() {
	if w.n > 0 {
		w.to.add(time.Duration(max(0, w.now-w.at)), w.n)
		w.n = 0
	}
}
