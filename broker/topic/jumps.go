package topic

import (
	"slices"

	"brokerd/protocol"
)

// jumped notes that stamps have gone another way than the clock of deadlines, if it was by much.
func (r *Registry) jumped(stamp, by int64) {
	if -jumpFrom < by && by < jumpFrom {
		return
	}
	fresh := jump{by: by, at: stamp, from: r.ids.at()}
	for {
		old := r.jumps.Load()
		var list []jump
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
		if j := (*old)[last]; j.by > 0 || j.from <= first {
			return
		}
		list := slices.Clone(*old)
		list[last].from = first
		if r.jumps.CompareAndSwap(old, &list) {
			return
		}
	}
}
