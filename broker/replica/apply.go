package replica

import (
	"errors"
	"fmt"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"brokerd/diskqueue/journal"
)

// Committed is an entry that is committed: every replica will have it, and nothing else, at this index.
type Committed struct {
	Index, Term uint64
	First       uint64 // number of its first record; 0 when it has none
	Count       int    // records
	Data        []byte // they, for journal.EachRecord: not to be changed
	At          Point  // what a checkpoint as of this entry says
	Own         bool   // it was appended here, in the reign that is not over
}

// apply tells what is committed.
func (m *machine) apply(msg *raftpb.Message, now time.Duration) error {
	for _, e := range msg.GetEntries() {
		if err := m.applyEntry(e, now); err != nil {
			return err
		}
		if m.err != nil { // it was the removal of this replica
			return nil
		}
	}
	for _, a := range msg.GetResponses() {
		if err := m.node.Step(a); err != nil {
			return err
		}
	}
	return nil
}

// ErrDrift is a replica whose log or state is not what was committed.
var ErrDrift = errors.New("the replica is not what was committed")

func (m *machine) applyEntry(e *raftpb.Entry, now time.Duration) error {
	c := &Committed{Index: e.GetIndex(), Term: e.GetTerm()}
	if c.Index != m.applied.Index+1 {
		return fmt.Errorf("%w: entry %d behind entry %d", ErrDrift, c.Index, m.applied.Index)
	}
	switch typeOf(e) {
	case journal.EntryMembership:
		if err := m.changeMembers(e); err != nil {
			return err
		}
	case journal.EntryRecords:
		first, count, err := journal.Records(e.GetData())
		if err != nil {
			return fmt.Errorf("%w: entry %d: %w", ErrDrift, c.Index, err)
		}
		if first != m.applied.Record+1 {
			return fmt.Errorf("%w: entry %d begins with record %d, and record %d is the next", ErrDrift, c.Index, first, m.applied.Record+1)
		}
		c.First, c.Count, c.Data = first, count, e.GetData()
		m.applied.Record += uint64(count)
	}
	m.applied.Index, m.applied.Term, m.moved = c.Index, c.Term, now
	c.At, c.Own = m.applied, m.reign != 0 && c.Term == m.reign
	if c.Own && c.Data != nil {
		m.o.Tally.committed(now - m.batch.committed(c.Data))
		m.landed = true
	}
	m.output.tell = append(m.output.tell, event{committed: c})
	m.settle(c)
	return nil
}

// settle sees whether an entry ends a change, begins a reign, or removes this replica.
func (m *machine) settle(c *Committed) {
	if m.err != nil {
		return
	}
	s := m.node.BasicStatus()
	if m.reign == 0 && s.RaftState == raft.StateLeader && c.Term == s.GetTerm() {
		m.reign, m.targets = c.Term, map[uint64]uint64{}
		m.batch.begin(m.reign, m.applied.Record+1)
		m.output.tell = append(m.output.tell, event{lead: m.reign, next: m.applied.Record + 1})
	}
	if m.changing != nil && m.changing.index == c.Index {
		m.finish(nil)
	}
}

// changeMembers applies a change of members.
func (m *machine) changeMembers(e *raftpb.Entry) error {
	var cc raftpb.ConfChangeV2
	if err := proto.Unmarshal(e.GetData(), &cc); err != nil {
		return fmt.Errorf("%w: entry %d: %w", ErrDrift, e.GetIndex(), err)
	}
	_, was := m.member(m.id)
	m.applied.Members = members(m.node.ApplyConfChange(&cc))
	m.look()
	m.members = e.GetIndex()
	if _, is := m.member(m.id); was && !is {
		m.applied.Index, m.applied.Term = e.GetIndex(), e.GetTerm()
		m.stop(ErrRemoved)
	}
	m.note()
	return nil
}

// encode returns a message as it travels.
func encode(m *raftpb.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("replica: a message that cannot be encoded: %v", err)) // it has nothing but numbers and bytes
	}
	return b
}

// decode reads a message of another replica.
func decode(b []byte) (*raftpb.Message, error) {
	m := new(raftpb.Message)
	if err := proto.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("message of a replica: %w", err)
	}
	return m, nil
}
