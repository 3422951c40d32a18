package inflight

// RemoveIf takes out all messages whose position is one of those and calls f with each, in no order.
func (s *Set[O]) RemoveIf(those func(Position) bool, f func(Item[O])) {
	for l := range s.lanes {
		for i := s.lanes[l].head; i != none; {
			next := s.at(i).next
			if those(s.at(i).pos) {
				f(s.remove(i))
			}
			i = next
		}
	}
}
