package topic

import (
	"slices"
	"time"

	"brokerd/broker/channel"
	"brokerd/protocol"
)

// jumped notes that stamps have gone another way than the clock of deadlines, if it was by much.
func (r *Registry) jumped(stamp, by int64) {
	if -jumpFrom < by && by < jumpFrom {
		return
	}
	fresh := channel.Jump{By: by, At: stamp, From: r.ids.at()}
	for {
		old := r.jumps.Load()
		var list channel.Jumps
		if old != nil {
			list = append(list, *old...)
		}
		list = append(list, fresh)
		if len(list) > mostJumps {
			list = list[1:]
		}
		if r.jumps.CompareAndSwap(old, &list) {
			return
		}
	}
}

// heldBack notes that a message with that id, and what gets higher ones, comes behind the last jump, which was back: it is stamped with a time of before it, as
// times of its topic do not fall, and its id was perhaps given before the jump was noticed.
func (r *Registry) heldBack(first protocol.MessageID) {
	for {
		old := r.jumps.Load()
		if old == nil {
			return
		}
		last := len(*old) - 1
		if j := (*old)[last]; j.By > 0 || j.From <= first {
			return
		}
		list := slices.Clone(*old)
		list[last].From = first
		if r.jumps.CompareAndSwap(old, &list) {
			return
		}
	}
}

const (
	jumpFrom  = int64(time.Second) // by so much a clock is set, and does not only drift
	mostJumps = 16
)
