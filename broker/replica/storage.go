package replica

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/wal"
)

// Log is the node's log: wal.Log.
type Log interface {
	Append(kind byte, data ...[]byte) (wal.Offset, error)
	Commit(at wal.Offset, level wal.Level) error
	ReadAt(at wal.Offset, guess int, dst []byte) (kind byte, data []byte, err error)
	Err() error
}

// Budget bounds the bytes of entries that all groups of a node keep in memory though they could be read. Its zero
// value keeps none.
type Budget struct {
	limit int64
	used  atomic.Int64
}

// NewBudget returns a budget of so many bytes.
func NewBudget(bytes int64) *Budget { return &Budget{limit: bytes} }

// storage is what a group has in the node's log, as the engine reads it. Owned by the machine.
type storage struct {
	group  uint32
	level  wal.Level
	log    Log
	most   int // bytes of entries in memory that need not be there
	budget *Budget

	base   Point // the table begins behind this
	table  []ref // of the entries from base.Index+1 on
	cache  []*raftpb.Entry
	cached int
	safe   uint64 // entries up to this are as safe as the level says
	safeAt wal.Offset
	cuts   int // how often entries were taken out of the table

	said   hard   // the last Vote record that was appended
	kept   hard   // the last that is safe
	since  int    // bytes of entries since the last Vote record
	owed   bool   // a Vote record was appended, and nobody has waited for its sync yet
	change uint64 // index of the last change of members that was appended
	noted  uint64 // commit that the last Vote record says

	// What the engine begins with.
	commit uint64
	conf   *raftpb.ConfState
}

// hard is the state that must not be forgotten.
type hard struct{ term, vote uint64 }

// ref is where an entry is: 32 bytes an entry.
type ref struct {
	term  uint64
	at    wal.Offset
	bytes uint32 // of the record's data
}

// Point is a place in a group's log, and what there was to say of it.
type Point struct {
	Index   uint64          `json:"index"`
	Term    uint64          `json:"term"`   // of the entry at Index
	Record  uint64          `json:"record"` // number of the last record up to there
	Members journal.Members `json:"members"`
}

// write is something appended to the log whose answers wait for it.
type write struct {
	at      wal.Offset
	appends bool      // something was appended, at is the last of it
	level   wal.Level // what the answers wait for
	first   uint64    // of the entries, 0 for none
	last    uint64
	cuts    int
	hard    hard
	answers []*raftpb.Message
	alone   bool // it is waited for although it has neither entries nor answers

	data []byte // of the last entry of records in it, nil for none
	term uint64 // of that entry
}

// commitEvery is after how many bytes of entries the commit is written down.
const commitEvery = 4 << 20

// newStorage returns what a replica has that has forgotten nothing.
func newStorage(o Options, h *History) *storage {
	return &storage{group: h.start.Group, level: o.Level, log: o.Log, most: o.Memory, budget: o.Budget, base: h.base, table: h.table, safe: h.last(),
		said: h.hard, kept: h.hard, noted: h.commit, commit: h.commit, conf: state(h.start.Applied.Members)}
}

// append puts what a MsgStorageAppend says into the log. Entries go first: a commit, or a term, that is read without
// them would say that they were lost.
func (s *storage) append(m *raftpb.Message) (*write, error) {
	w := &write{level: s.level, hard: s.said, answers: m.GetResponses()}
	for _, e := range m.GetEntries() {
		if err := s.appendEntry(e, w); err != nil {
			return nil, err
		}
	}
	if m.Term != nil && (hard{m.GetTerm(), m.GetVote()}) != s.said {
		s.owed = true
		if err := s.appendVote(hard{m.GetTerm(), m.GetVote()}, w); err != nil {
			return nil, err
		}
	}
	if m.Commit != nil {
		s.commit = max(s.commit, m.GetCommit())
	}
	if s.since >= commitEvery {
		if err := s.appendVote(s.said, w); err != nil {
			return nil, err
		}
	}
	if s.owed && len(w.answers) > 0 { // or an answer would tell of a term that a power cut takes back
		w.level, s.owed = wal.Synced, false
	}
	w.cuts = s.cuts
	return w, nil
}

func (s *storage) appendEntry(e *raftpb.Entry, w *write) error {
	index := e.GetIndex()
	if index <= s.base.Index || index > s.last()+1 {
		return fmt.Errorf("the engine appends entry %d, and there are %d to %d", index, s.base.Index+1, s.last())
	}
	s.truncate(index)
	prev, err := s.Term(index - 1)
	if err != nil {
		return err
	}
	head := journal.Entry{Group: s.group, Term: e.GetTerm(), Prev: prev, Index: index, Type: typeOf(e)}
	at, err := s.log.Append(byte(journal.KindEntry), journal.AppendEntry(nil, head), e.GetData())
	if err != nil {
		return fmt.Errorf("append an entry: %w", err)
	}
	size := entryHead + len(e.GetData())
	s.table = append(s.table, ref{term: e.GetTerm(), at: at, bytes: uint32(size)})
	s.keep(e)
	s.since += size
	w.at, w.appends, w.last = at, true, index
	switch head.Type {
	case journal.EntryMembership:
		s.change = index
	case journal.EntryRecords:
		w.data, w.term = e.GetData(), e.GetTerm()
	}
	if w.first == 0 {
		w.first = index
	}
	return nil
}

// entryHead is the size in bytes of the head of an entry's record.
const entryHead = 29

func typeOf(e *raftpb.Entry) journal.EntryType {
	switch {
	case e.GetType() != raftpb.EntryNormal:
		return journal.EntryMembership
	case len(e.GetData()) == 0:
		return journal.EntryNothing
	}
	return journal.EntryRecords
}

func (s *storage) appendVote(h hard, w *write) error {
	at, err := s.log.Append(byte(journal.KindVote), journal.AppendVote(nil, journal.Vote{Group: s.group, Term: h.term, Vote: h.vote,
		Commit: min(s.commit, s.safe)}))
	if err != nil {
		return fmt.Errorf("append a vote: %w", err)
	}
	s.said, s.since, s.noted = h, 0, min(s.commit, s.safe)
	w.at, w.appends, w.hard = at, true, h
	return nil
}

// note writes down what is committed, to be synced, once that is up to an index and safe; nil when there is nothing to write.
func (s *storage) note(index uint64) (*write, error) {
	if s.noted >= index || min(s.commit, s.safe) < index {
		return nil, nil
	}
	w := &write{level: wal.Synced, cuts: s.cuts, alone: true}
	return w, s.appendVote(s.said, w)
}

// wrote says that a write, and with it all before it, is as safe as its answers need.
func (s *storage) wrote(w *write) {
	s.kept = w.hard
	if w.appends {
		s.safeAt = w.at
	}
	if w.last > 0 && w.cuts == s.cuts { // else what came behind has replaced some of it, and says itself when it is safe
		s.safe = max(s.safe, w.last)
	}
	s.trim()
}

// failed takes what was not written back: entries from first on, and the state that was not safe.
func (s *storage) failed(first uint64) {
	if first > 0 && first <= s.last() {
		s.truncate(first)
	}
	s.said, s.owed = s.kept, false
}

// truncate forgets entries from an index on.
func (s *storage) truncate(index uint64) {
	if index > s.last() {
		return
	}
	s.cuts++
	if n := int(s.last() - index + 1); n < len(s.cache) {
		s.drop(s.cache[len(s.cache)-n:])
		s.cache = s.cache[:len(s.cache)-n]
	} else {
		s.drop(s.cache)
		s.cache = nil
	}
	s.table = s.table[:index-s.base.Index-1]
	s.safe = min(s.safe, index-1)
}

// keep has the newest entry in memory.
func (s *storage) keep(e *raftpb.Entry) {
	s.cache = append(s.cache, e)
	s.cached += len(e.GetData())
	s.budget.used.Add(int64(len(e.GetData())))
	s.trim()
}

// trim drops entries from memory that can be read, as long as there is more than there should be.
func (s *storage) trim() {
	n := 0
	for s.cached > s.most || s.budget.used.Load() > s.budget.limit {
		if n == len(s.cache) || s.cache[n].GetIndex() > s.safe {
			break
		}
		s.drop(s.cache[n : n+1])
		n++
	}
	if s.cache = s.cache[n:]; len(s.cache) == 0 {
		s.cache = nil
	}
}

// drop counts entries out of memory.
func (s *storage) drop(entries []*raftpb.Entry) {
	for i, e := range entries {
		s.cached -= len(e.GetData())
		s.budget.used.Add(-int64(len(e.GetData())))
		entries[i] = nil
	}
}

// compact forgets entries up to an index, which a checkpoint covers. The node's log may let go of them.
func (s *storage) compact(to Point) {
	if to.Index <= s.base.Index || to.Index > s.last() {
		return
	}
	if n := len(s.cache) - int(s.last()-to.Index); n > 0 {
		s.drop(s.cache[:n])
		s.cache = s.cache[n:]
	}
	s.table = slices.Clone(s.table[to.Index-s.base.Index:])
	s.base = to
	s.safe = max(s.safe, to.Index)
}

// remember writes down again what a checkpoint of the group does not have, and returns from where on the node's log
// is needed behind it. The log must be synced before the checkpoint counts.
func (s *storage) remember() (from, sync wal.Offset, err error) {
	var w write
	if err := s.appendVote(s.said, &w); err != nil {
		return from, sync, err
	}
	from = w.at
	for _, r := range s.table {
		if r.at.Before(from) {
			from = r.at
		}
	}
	return from, w.at, nil
}

func (s *storage) last() uint64 { return s.base.Index + uint64(len(s.table)) }

// InitialState is raft.Storage's.
func (s *storage) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	return &raftpb.HardState{Term: new(s.kept.term), Vote: new(s.kept.vote), Commit: new(s.commit)}, s.conf, nil
}

// FirstIndex is raft.Storage's.
func (s *storage) FirstIndex() (uint64, error) { return s.base.Index + 1, nil }

// LastIndex is raft.Storage's.
func (s *storage) LastIndex() (uint64, error) { return s.last(), nil }

// Snapshot is raft.Storage's: none can be had yet.
func (s *storage) Snapshot() (*raftpb.Snapshot, error) {
	return nil, raft.ErrSnapshotTemporarilyUnavailable
}

// Term is raft.Storage's.
func (s *storage) Term(index uint64) (uint64, error) {
	switch {
	case index < s.base.Index:
		return 0, raft.ErrCompacted
	case index == s.base.Index:
		return s.base.Term, nil
	case index > s.last():
		return 0, raft.ErrUnavailable
	}
	return s.table[index-s.base.Index-1].term, nil
}

// Entries is raft.Storage's: entries from lo on and before hi, as many as go into a size, one at least.
func (s *storage) Entries(lo, hi, size uint64) ([]*raftpb.Entry, error) {
	switch {
	case lo <= s.base.Index:
		return nil, raft.ErrCompacted
	case hi > s.last()+1:
		return nil, raft.ErrUnavailable
	}
	var got []*raftpb.Entry
	inMemory := s.last() + 1 - uint64(len(s.cache))
	for index, bytes := lo, uint64(0); index < hi; index++ {
		r := s.table[index-s.base.Index-1]
		if bytes += uint64(r.bytes); bytes > size && len(got) > 0 {
			break
		}
		if index >= inMemory {
			got = append(got, s.cache[index-inMemory])
			continue
		}
		e, err := s.read(index, r)
		if err != nil {
			return nil, err
		}
		got = append(got, e)
	}
	return got, nil
}

// ErrEntry is an entry in the log that is not the one that was appended there.
var ErrEntry = errors.New("the log has another entry there")

// errUnread is an entry that the disk does not give back just now: it may do so later.
var errUnread = errors.New("the disk does not give it back")

// lasting reports whether an entry that could not be read never can be.
func lasting(err error) bool {
	return errors.Is(err, wal.ErrDamaged) || errors.Is(err, wal.ErrReleased) || errors.Is(err, wal.ErrUnwritten) || errors.Is(err, wal.ErrClosed)
}

// read reads an entry from the log.
func (s *storage) read(index uint64, r ref) (*raftpb.Entry, error) {
	kind, b, err := s.log.ReadAt(r.at, int(r.bytes), nil)
	switch {
	case err != nil && lasting(err):
		return nil, fmt.Errorf("read entry %d: %w", index, err)
	case err != nil:
		return nil, fmt.Errorf("read entry %d: %w: %w", index, errUnread, err)
	}
	e, err := journal.ParseEntry(b)
	if err != nil {
		return nil, fmt.Errorf("read entry %d: %w", index, err)
	}
	if journal.Kind(kind) != journal.KindEntry || e.Group != s.group || e.Index != index || e.Term != r.term {
		return nil, fmt.Errorf("read entry %d of term %d: %w: kind %d, entry %d of term %d", index, r.term, ErrEntry, kind, e.Index, e.Term)
	}
	t := raftpb.EntryNormal
	if e.Type == journal.EntryMembership {
		t = raftpb.EntryConfChangeV2
	}
	entry := &raftpb.Entry{Term: new(e.Term), Index: new(e.Index), Type: t.Enum()}
	if len(e.Data) > 0 {
		entry.Data = e.Data
	}
	return entry, nil
}

// state returns members as the engine has them.
func state(m journal.Members) *raftpb.ConfState {
	return &raftpb.ConfState{Voters: m.Voters, Learners: m.Learners, VotersOutgoing: m.Outgoing, LearnersNext: m.LearnersNext,
		AutoLeave: new(m.AutoLeave)}
}

// members returns what the engine has as members.
func members(c *raftpb.ConfState) journal.Members {
	return journal.Members{Voters: slices.Clone(c.GetVoters()), Learners: slices.Clone(c.GetLearners()), Outgoing: slices.Clone(c.GetVotersOutgoing()),
		LearnersNext: slices.Clone(c.GetLearnersNext()), AutoLeave: c.GetAutoLeave()}
}
