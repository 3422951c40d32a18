package replica

import (
	"time"

	"go.etcd.io/raft/v3"
)

// stand is a replica's standing for election. The engine asks again only after an election timeout or two, and what it was not given is mostly there much sooner: others grant
// nothing before they have missed the leader for as long, which may be a tick later than here, and two that have asked at the same moment have kept their votes for
// themselves. So it is asked again, by PreVote as the first time. Only when is decided here: who may be elected, and from when on anybody, is for the others to say, as ever.
type stand struct {
	state  raft.StateType // of the engine, but that one that most have refused, and that nobody leads, still stands
	term   uint64
	beats  int  // since it has asked whether there would be votes, or for them
	all    int  // since it has missed the leader
	denied bool // somebody has kept his vote in this term
	lost   int  // how often that was so
}

// is notes what the engine is, and who leads as it knows.
func (s *stand) is(state raft.StateType, term, leader uint64) {
	switch {
	case state == raft.StateFollower && s.state != state && leader == 0 && term == s.term:
		s.denied = true
	case state != raft.StatePreCandidate && state != raft.StateCandidate:
		*s = stand{state: state}
	case state != s.state || term != s.term:
		s.state, s.term, s.beats, s.denied = state, term, 0, false
	}
}

// refused notes that somebody else has kept his vote.
func (s *stand) refused(term uint64) {
	s.denied = s.denied || s.state == raft.StateCandidate && s.term == term
}

// mostLost bounds by how much those wait for each other that meet again and again.
const mostLost = 6

// press asks again when it is time. It is called by the node's clock, and not when something else brings ticks: what another one asks for would have this one ask as well, in the
// same moment. Two that have met ask one beat apart then, and, where that is too little for the way between them, twice as many each time.
func (m *machine) press(now time.Duration) {
	s := &m.stand
	after := max(1, m.o.ElectionTicks/8/beatTicks)
	switch {
	case m.err != nil:
		return
	case s.state == raft.StateCandidate && !s.denied:
		return // votes may be on their way: they wait for disks
	case s.state == raft.StateCandidate:
		after += after * m.rank() << min(s.lost, mostLost)
	case s.state != raft.StatePreCandidate:
		return
	case s.all > m.o.ElectionTicks: // nobody is there, or the others hear the leader
		after = m.o.ElectionTicks / 2 / beatTicks
	}
	s.all++
	if s.beats++; s.beats < after {
		return
	}
	s.beats = 0
	if s.denied {
		s.lost++
	}
	m.guard(func() error { return m.node.Campaign() })
	m.drain(now)
}

// rank returns how many of those that may have stood at the same time ask again before this replica.
func (m *machine) rank() (n int) {
	for id := range m.voters.IDs() {
		if id < m.id && id != m.missed {
			n++
		}
	}
	return n
}
