package inflight

import "brokerd/protocol"

// Flying is a message in flight, as somebody sees it who does not take it. Times are on the clock that the Set was told.
type Flying[O comparable] struct {
	Pos                 Position
	ID                  protocol.MessageID
	Attempts            uint16 // deliveries so far
	Owner               O
	Delivered, Deadline int64
}

// EachFlying calls f with every message in flight, in no order.
func (s *Set[O]) EachFlying(f func(Flying[O])) {
	for _, piece := range s.slots {
		for i := range piece {
			if p := &piece[i]; p.used {
				f(Flying[O]{p.pos, p.id, p.attempts, p.owner, p.delivered, p.deadline})
			}
		}
	}
}
