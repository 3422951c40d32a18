package journal

import (
	"math"
	"slices"
	"sort"

	"brokerd/protocol"
)

// Outs is the messages of a channel that are out, by id: 18 bytes each, as there may be ten million of them that are
// deferred. Its zero value is empty.
type Outs struct {
	list outList                    // sorted
	gone int                        // of those: taken out
	late map[protocol.MessageID]Out // with an id below the last of the list; not in the list
}

// removed is the due time of what was taken out of the list.
const removed = math.MinInt64

// fewOuts is up to how many messages are not worth putting in order.
const fewOuts = 1024

// outList is three slices of one length, sorted by id when it is an Outs's.
type outList struct {
	ids      []protocol.MessageID
	dues     []int64
	attempts []uint16
}

func (l *outList) Len() int           { return len(l.ids) }
func (l *outList) Less(i, j int) bool { return l.ids[i] < l.ids[j] }
func (l *outList) Swap(i, j int) {
	l.ids[i], l.ids[j] = l.ids[j], l.ids[i]
	l.dues[i], l.dues[j] = l.dues[j], l.dues[i]
	l.attempts[i], l.attempts[j] = l.attempts[j], l.attempts[i]
}

func (l *outList) push(id protocol.MessageID, o Out) {
	l.ids, l.dues, l.attempts = append(l.ids, id), append(l.dues, o.Due), append(l.attempts, o.Attempts)
}

func (l *outList) grow(n int) {
	l.ids, l.dues, l.attempts = slices.Grow(l.ids, n), slices.Grow(l.dues, n), slices.Grow(l.attempts, n)
}

func (l *outList) cut(n int) {
	l.ids, l.dues, l.attempts = l.ids[:n], l.dues[:n], l.attempts[:n]
}

func (l *outList) set(i int, id protocol.MessageID, o Out) {
	l.ids[i], l.dues[i], l.attempts[i] = id, o.Due, o.Attempts
}

func (l *outList) at(i int) Out { return Out{Due: l.dues[i], Attempts: l.attempts[i]} }

func (s *Outs) find(id protocol.MessageID) (int, bool) { return slices.BinarySearch(s.list.ids, id) }

// Len returns the number of messages.
func (s *Outs) Len() int { return s.list.Len() - s.gone + len(s.late) }

// Get returns a message.
func (s *Outs) Get(id protocol.MessageID) (Out, bool) {
	if i, ok := s.find(id); ok {
		return s.list.at(i), s.list.dues[i] != removed
	}
	o, ok := s.late[id]
	return o, ok
}

// Set adds a message or changes it.
func (s *Outs) Set(id protocol.MessageID, o Out) {
	o.Due = max(o.Due, removed+1)
	i, ok := s.find(id)
	_, late := s.late[id]
	switch {
	case late:
		s.late[id] = o
	case ok:
		if s.list.dues[i] == removed {
			s.gone--
		}
		s.list.set(i, id, o)
	case i == s.list.Len():
		s.list.push(id, o)
	default:
		if s.late == nil {
			s.late = map[protocol.MessageID]Out{}
		}
		s.late[id] = o
		if len(s.late) > max(fewOuts, s.list.Len()/8) {
			s.merge()
		}
	}
}

// Delete takes a message out and reports whether it was there.
func (s *Outs) Delete(id protocol.MessageID) bool {
	i, ok := s.find(id)
	if !ok {
		_, ok = s.late[id]
		delete(s.late, id)
		return ok
	}
	if s.list.dues[i] == removed {
		return false
	}
	s.list.dues[i] = removed
	s.gone++
	if s.gone == s.list.Len() || s.gone > max(fewOuts, s.list.Len()/2) {
		s.compact()
	}
	return true
}

// compact closes the gaps of the list.
func (s *Outs) compact() {
	n := 0
	for i, id := range s.list.ids {
		if s.list.dues[i] != removed {
			s.list.set(n, id, s.list.at(i))
			n++
		}
	}
	s.list.cut(n)
	s.gone = 0
}

// merge puts what came late where it belongs.
func (s *Outs) merge() {
	s.compact()
	ids := sortedKeys(s.late)
	from, to := s.list.Len()-1, s.list.Len()+len(ids)-1
	s.list.grow(len(ids))
	s.list.cut(to + 1)
	for k := len(ids) - 1; k >= 0; to-- {
		if from >= 0 && s.list.ids[from] > ids[k] {
			s.list.set(to, s.list.ids[from], s.list.at(from))
			from--
			continue
		}
		s.list.set(to, ids[k], s.late[ids[k]])
		k--
	}
	s.late = nil
}

// Each calls f with every message, in the order of their ids. The messages must not be changed meanwhile.
func (s *Outs) Each(f func(protocol.MessageID, Out)) {
	s.merge()
	for i, id := range s.list.ids {
		f(id, s.list.at(i))
	}
}

// order sorts a list that was filled in any order. Of messages with the same id one stays.
func (s *Outs) order() {
	if !sort.IsSorted(&s.list) {
		sort.Sort(&s.list)
	}
	for i := 1; i < s.list.Len(); i++ {
		if s.list.ids[i] == s.list.ids[i-1] && s.list.dues[i-1] != removed {
			s.list.dues[i-1] = removed
			s.gone++
		}
	}
	s.compact()
}
