package replica

import (
	"errors"
	"fmt"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	enginetracker "go.etcd.io/raft/v3/tracker"
)

type tracker = enginetracker.Progress

var (
	// ErrBehind is a learner that lacks something that the leader had when it was added.
	ErrBehind = errors.New("the replica has not caught up")
	// ErrMembers is a change of members that is not allowed.
	ErrMembers = errors.New("this change of members is not allowed")
)

// replace has a new replica, a learner at first, take the place of another one. The id of the new one must be higher
// than all there ever were. done is told what became of it, once.
func (m *machine) replace(old, id uint64, now time.Duration, done func(error)) {
	m.change(now, done, func() (*raftpb.ConfChangeV2, error) {
		voter, is := m.member(old)
		switch {
		case !is:
			return nil, fmt.Errorf("%w: replica %d is not a member", ErrMembers, old)
		case id <= m.highest:
			return nil, fmt.Errorf("%w: id %d is not higher than %d, which is used up", ErrMembers, id, m.highest)
		case old == m.id:
			return nil, fmt.Errorf("%w: replica %d leads; hand the lead over first", ErrMembers, old)
		case voter && !m.alive(old):
			return nil, fmt.Errorf("%w: without replica %d there is no majority that answers", ErrMembers, old)
		}
		return changeOf(single(raftpb.ConfChangeRemoveNode, old), single(raftpb.ConfChangeAddLearnerNode, id)), nil
	})
}

// promote has a learner that has caught up vote.
func (m *machine) promote(id uint64, now time.Duration, done func(error)) {
	m.change(now, done, func() (*raftpb.ConfChangeV2, error) {
		if voter, is := m.member(id); voter || !is {
			return nil, fmt.Errorf("%w: replica %d is not a learner", ErrMembers, id)
		}
		if _, known := m.targets[id]; !known {
			m.targets[id] = m.log.last()
		}
		match := uint64(0)
		m.node.WithProgress(func(n uint64, _ raft.ProgressType, pr tracker) {
			if n == id {
				match = pr.Match
			}
		})
		if match < m.targets[id] {
			return nil, fmt.Errorf("%w: replica %d has entries up to %d, and needs %d", ErrBehind, id, match, m.targets[id])
		}
		return changeOf(single(raftpb.ConfChangeAddNode, id)), nil
	})
}

// add adds a replica, a learner at first. Its id must be higher than all there ever were.
func (m *machine) add(id uint64, now time.Duration, done func(error)) {
	m.change(now, done, func() (*raftpb.ConfChangeV2, error) {
		if id <= m.highest {
			return nil, fmt.Errorf("%w: id %d is not higher than %d, which is used up", ErrMembers, id, m.highest)
		}
		return changeOf(single(raftpb.ConfChangeAddLearnerNode, id)), nil
	})
}

// drop removes a replica, or, with stays, has one that votes be a learner. Who leads hands the lead over first.
func (m *machine) drop(id uint64, stays bool, now time.Duration, done func(error)) {
	m.change(now, done, func() (*raftpb.ConfChangeV2, error) {
		voter, is := m.member(id)
		switch {
		case !is:
			return nil, fmt.Errorf("%w: replica %d is not a member", ErrMembers, id)
		case stays && !voter:
			return nil, fmt.Errorf("%w: replica %d does not vote", ErrMembers, id)
		case id == m.id:
			return nil, fmt.Errorf("%w: replica %d leads; hand the lead over first", ErrMembers, id)
		case voter && !m.alive(id):
			return nil, fmt.Errorf("%w: without replica %d there is no majority that answers", ErrMembers, id)
		case stays:
			return changeOf(single(raftpb.ConfChangeAddLearnerNode, id)), nil
		}
		return changeOf(single(raftpb.ConfChangeRemoveNode, id)), nil
	})
}

// alive reports whether those of the voters that are left without one answer, a majority of them.
func (m *machine) alive(without uint64) bool {
	left, answer := 0, 0
	m.node.WithProgress(func(id uint64, typ raft.ProgressType, pr tracker) {
		if typ != raft.ProgressTypePeer || id == without {
			return
		}
		left++
		if id == m.id || pr.RecentActive {
			answer++
		}
	})
	return answer > left/2
}

// held returns the index up to which the log is not needed for other replicas: all are known to have it. The engine
// does not find out that one has more, so that a leader that let go of more could send it nothing but a snapshot.
func (m *machine) held() uint64 {
	least := m.applied.Index
	if m.err != nil || m.node.BasicStatus().RaftState != raft.StateLeader {
		return least
	}
	m.node.WithProgress(func(_ uint64, _ raft.ProgressType, pr tracker) { least = min(least, pr.Match) })
	return least
}

func single(t raftpb.ConfChangeType, id uint64) *raftpb.ConfChangeSingle {
	return &raftpb.ConfChangeSingle{Type: t.Enum(), NodeId: new(id)}
}

func changeOf(changes ...*raftpb.ConfChangeSingle) *raftpb.ConfChangeV2 {
	return &raftpb.ConfChangeV2{Changes: changes}
}

// change proposes a change of members, one at a time. The engine would make a change that it refuses an empty entry,
// and say nothing.
func (m *machine) change(now time.Duration, done func(error), make func() (*raftpb.ConfChangeV2, error)) {
	switch {
	case m.reign == 0 || m.err != nil:
		done(ErrNotLeader)
		return
	case m.changing != nil || m.handing != 0 || len(m.voters[1]) > 0:
		done(ErrBusy)
		return
	}
	cc, err := make()
	if err != nil {
		done(err)
		return
	}
	m.batch.flush()
	m.propose()
	if _, more := m.batch.head(); more || m.err != nil { // records that were appended before come first
		done(ErrBusy)
		return
	}
	before, proposal := m.log.change, error(nil)
	m.guard(func() error {
		proposal = m.node.ProposeConfChange(cc)
		return nil
	})
	m.drain(now) // the entry is in the log's table then
	switch {
	case m.reign == 0:
		done(ErrNotLeader)
		return
	case proposal != nil || m.log.change == before:
		done(ErrBusy)
		return
	}
	m.changing = &change{index: m.log.change, done: done}
}

// finish tells what became of a change.
func (m *machine) finish(err error) {
	c := m.changing
	m.changing = nil
	c.err = err
	m.output.tell = append(m.output.tell, event{changed: c})
}

// hand has another replica lead. Nothing is appended or delivered from now on; when it does not happen within an
// election timeout from when all that was appended is proposed the reign goes on.
func (m *machine) hand(to uint64) error {
	switch {
	case m.reign == 0 || m.err != nil:
		return ErrNotLeader
	case m.handing != 0 || m.changing != nil:
		return ErrBusy
	case to == 0:
		return fmt.Errorf("%w: no other replica that votes answers just now", ErrMembers)
	case !m.stays(to) || to == m.id:
		return fmt.Errorf("%w: replica %d cannot be given the lead", ErrMembers, to)
	}
	m.handing, m.handed, m.handover = to, false, 2*m.o.ElectionTicks
	m.batch.pause(true)
	return nil
}

// handOver tells the engine to hand the lead over once all that was appended is proposed.
func (m *machine) handOver() {
	if _, more := m.batch.head(); m.handing == 0 || m.handed || more {
		return
	}
	m.handed, m.handover = true, m.o.ElectionTicks // after which the engine gives it up, and takes records again
	m.guard(func() error {
		m.node.TransferLeader(m.handing)
		return nil
	})
}
