package replica

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/wal"
)

// Start is what a node knows of its replica, beside the log, when it begins. The node's manifest has it.
type Start struct {
	Group      uint32 `json:"group"`
	Replica    uint64 `json:"replica"`    // its id, which no other had before
	Generation uint64 `json:"generation"` // of the group's log on this node
	Applied    Point  `json:"applied"`    // of the newest checkpoint that counts, else where the log begins
	Back       Point  `json:"back"`       // of the checkpoint before it, else the same

	// From is where in the node's log all lies that the group needs beside its checkpoints. What is wrong with the
	// log before that is of no matter.
	From wal.Offset `json:"from"`

	Forgetful string `json:"forgetful,omitempty"` // why it was found to be so by an earlier start; empty: it was not

	Crashed bool `json:"-"` // the machine went down since the log was last written, without a clean stop
	OldCopy bool `json:"-"` // a peer has seen a later start of this folder
	Missing bool `json:"-"` // something that the manifest names is not there, or cannot be read
}

// Recovery collects what a log has of groups while it is replayed.
type Recovery struct{ groups map[uint32][]found }

// found is a record of a group.
type found struct {
	at    wal.Offset
	kind  journal.Kind
	entry journal.Entry // without its data
	bytes uint32
	vote  journal.Vote
	base  uint64 // generation of a Base
	gone  uint64 // the replica of a Gone
}

// Replay takes a record of the log; those that are not about groups it passes over.
func (r *Recovery) Replay(e wal.Entry) error {
	f := found{at: e.At, kind: journal.Kind(e.Kind), bytes: uint32(len(e.Data))}
	var group uint32
	var err error
	switch f.kind {
	case journal.KindEntry:
		f.entry, err = journal.ParseEntry(e.Data)
		f.entry.Data, group = nil, f.entry.Group
	case journal.KindVote:
		f.vote, err = journal.ParseVote(e.Data)
		group = f.vote.Group
	case journal.KindBase:
		var b journal.Base
		b, err = journal.ParseBase(e.Data)
		f.base, group = b.Generation, b.Group
	case journal.KindGone:
		var g journal.Gone
		g, err = journal.ParseGone(e.Data)
		f.gone, group = g.Replica, g.Group
	default:
		return nil
	}
	if err != nil {
		return err
	}
	if r.groups == nil {
		r.groups = map[uint32][]found{}
	}
	r.groups[group] = append(r.groups[group], f)
	return nil
}

// History is what a node has of a group: the table of its log, and whether it is all that it had.
type History struct {
	start     Start
	base      Point
	table     []ref
	hard      hard
	commit    uint64
	gone      bool  // the replica has left the group
	forgetful error // nil: it is not
	Passed    int   // entries that a power cut left without their predecessors
}

// ErrForgetful is a replica that may lack what it had acknowledged.
var ErrForgetful = errors.New("the replica may have forgotten what it acknowledged")

// ErrRemoved is a replica that is not in its group any more: its id is used up.
var ErrRemoved = errors.New("the replica was removed from its group")

// Check returns nil when the replica may go on as what it was: else ErrRemoved, or an ErrForgetful with the reason.
func (h *History) Check() error {
	if h.gone {
		return ErrRemoved
	}
	return h.forgetful
}

// History puts together what was found of a group in a log, with what the log's reader says of it. A forgetful
// replica has only what marks of the log vouch for.
func (r *Recovery) History(start Start, level wal.Level, report *wal.Report) *History {
	all := r.groups[start.Group]
	for len(all) > 0 && all[0].at.Before(start.From) {
		all = all[1:]
	}
	h := fold(start, all)
	why := ""
	switch {
	case start.Forgetful != "":
		why = strings.TrimPrefix(start.Forgetful, ErrForgetful.Error()+": ")
	case start.OldCopy:
		why = "the folder is an old copy"
	case start.Missing || slices.ContainsFunc(report.Damage, func(d wal.Damage) bool { return !d.Unsynced && !d.At.Before(start.From) }):
		why = "a part of its log, or of what it had written down, is damaged"
	case start.Crashed && level == wal.Written:
		why = "the machine went down, and the level of the group is disk"
	case h.commit > h.last():
		why = fmt.Sprintf("its log ends at entry %d, and %d was committed", h.last(), h.commit)
	default:
		return h
	}
	trusted := 0
	for trusted < len(all) && report.Covered(all[trusted].at) {
		trusted++
	}
	passed := h.Passed
	h = fold(start, all[:trusted])
	h.cut()
	h.Passed, h.forgetful = passed, fmt.Errorf("%w: %s", ErrForgetful, why)
	return h
}

// fold applies records in the order of the log.
func fold(start Start, all []found) *History {
	h := &History{start: start, base: start.Back, commit: start.Applied.Index}
	for i := range all {
		f := &all[i]
		switch f.kind {
		case journal.KindEntry:
			h.entry(f)
		case journal.KindVote:
			h.hard, h.commit = hard{f.vote.Term, f.vote.Vote}, max(h.commit, f.vote.Commit)
		case journal.KindBase:
			if f.base == start.Generation {
				h.table, h.commit = nil, start.Applied.Index
			}
		case journal.KindGone:
			h.gone = h.gone || f.gone == start.Replica
		}
	}
	if term := h.termAt(h.last()); term > h.hard.term { // its vote was never answered, as that waits for a sync
		h.hard = hard{term: term}
	}
	return h
}

// entry applies an entry.
func (h *History) entry(f *found) {
	index := f.entry.Index
	if index <= h.base.Index {
		return
	}
	if index > h.last()+1 || h.termAt(index-1) != f.entry.Prev {
		h.Passed++
		return
	}
	h.table = append(h.table[:index-h.base.Index-1], ref{term: f.entry.Term, at: f.at, bytes: f.bytes})
}

func (h *History) last() uint64 { return h.base.Index + uint64(len(h.table)) }

// termAt returns the term of an entry that is there, or of the base.
func (h *History) termAt(index uint64) uint64 {
	if index == h.base.Index {
		return h.base.Term
	}
	return h.table[index-h.base.Index-1].term
}

// cut leaves of a forgetful replica what is committed for sure: up to the last commit that is vouched for, or the
// checkpoint.
func (h *History) cut() {
	if h.commit = min(h.commit, h.last()); h.commit < h.start.Applied.Index {
		h.base, h.table, h.commit = h.start.Applied, nil, h.start.Applied.Index
	}
	h.table = h.table[:h.commit-h.base.Index]
}

// Last returns the index of the last entry.
func (h *History) Last() uint64 { return h.last() }

// Begin writes down where a group's log begins on a node that was not in it, and returns with what it starts. The
// caller names the generation in its manifest before he starts; until then it says nothing. It waits for the disk.
func Begin(log Log, group uint32, replica, generation uint64, at Point) (Start, error) {
	s := Start{Group: group, Replica: replica, Generation: generation, Applied: at, Back: at}
	var off wal.Offset
	var err error
	s.From, err = log.Append(byte(journal.KindBase), journal.AppendBase(nil, journal.Base{Group: group, Generation: generation, Index: at.Index, Term: at.Term,
		Record: at.Record, Members: at.Members}))
	if err == nil {
		off, err = log.Append(byte(journal.KindVote), journal.AppendVote(nil, journal.Vote{Group: group, Term: at.Term, Commit: at.Index}))
	}
	if err == nil {
		err = log.Commit(off, wal.Synced)
	}
	if err != nil {
		return Start{}, fmt.Errorf("begin the log of group %d: %w", group, err)
	}
	return s, nil
}

// Rejoin writes down anew what a forgetful replica has kept, for the replica that comes in its place under an id that
// nobody has had. As with Begin it counts when the manifest names its generation; before that the old replica is as
// forgetful as it was. It waits for the disk.
func (h *History) Rejoin(log Log, replica, generation uint64) (Start, error) {
	if h.forgetful == nil || replica == h.start.Replica || generation <= h.start.Generation {
		return Start{}, fmt.Errorf("replica %d of generation %d cannot take the place of replica %d of generation %d", replica, generation,
			h.start.Replica, h.start.Generation)
	}
	at := h.start.Applied
	s, err := Begin(log, h.start.Group, replica, generation, at)
	if err != nil {
		return Start{}, err
	}
	old := &storage{group: h.start.Group, level: wal.Synced, log: log, base: h.base, table: h.table, budget: &Budget{}}
	made := &storage{group: h.start.Group, level: wal.Synced, log: log, base: at, safe: at.Index, budget: &Budget{}}
	var w write
	for index := at.Index + 1; index <= h.last(); index++ {
		e, err := old.read(index, h.table[index-h.base.Index-1])
		if err != nil {
			return Start{}, fmt.Errorf("rejoin group %d: %w", h.start.Group, err)
		}
		if err := made.appendEntry(e, &w); err != nil {
			return Start{}, err
		}
		made.safe = index
	}
	made.commit, made.safe = made.last(), made.last()
	if err := made.appendVote(hard{term: max(h.hard.term, at.Term)}, &w); err != nil {
		return Start{}, err
	}
	if err := log.Commit(w.at, wal.Synced); err != nil {
		return Start{}, fmt.Errorf("rejoin group %d: %w", h.start.Group, err)
	}
	made.drop(made.cache)
	return s, nil
}

// Leave writes down that a replica has left its group.
func Leave(log Log, group uint32, replica uint64) error {
	at, err := log.Append(byte(journal.KindGone), journal.AppendGone(nil, journal.Gone{Group: group, Replica: replica}))
	if err == nil {
		err = log.Commit(at, wal.Synced)
	}
	return err
}
