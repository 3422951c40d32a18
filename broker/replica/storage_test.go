package replica

import (
	"errors"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/wal"
)

// paperLog is a log that only counts: it says where a record is, and fails when it is told to.
type paperLog struct {
	Log
	next int64
	err  error
}

func (l *paperLog) Append(byte, ...[]byte) (wal.Offset, error) {
	l.next++
	return wal.Offset{File: 1, Offset: l.next}, l.err
}

func (l *paperLog) Commit(wal.Offset, wal.Level) error { return l.err }

func (l *paperLog) Err() error { return nil }

func newTable(t *testing.T) (*storage, *paperLog) {
	t.Helper()
	log := &paperLog{}
	o := Options{Log: log, Level: wal.Synced}
	fatal(t, o.normalize())
	at := Point{Index: 1, Term: 1}
	at.Members.Voters = []uint64{1}
	return newStorage(o, (&Recovery{}).History(Start{Group: simGroup, Replica: 1, Generation: 1, Applied: at, Back: at}, wal.Synced, &wal.Report{})), log
}

// appends is what the engine wants stored: entries of a term from an index on, and perhaps a vote and a commit.
func appends(term, from uint64, count int, commit uint64) *raftpb.Message {
	m := &raftpb.Message{Term: new(term), Commit: new(commit)}
	for i := range count {
		m.Entries = append(m.Entries, &raftpb.Entry{Term: new(term), Index: new(from + uint64(i))})
	}
	return m
}

func mustAppend(t *testing.T, s *storage, m *raftpb.Message) *write {
	t.Helper()
	w, err := s.append(m)
	fatal(t, err)
	return w
}

// A write of entries that were replaced while it was under way says nothing of those that have taken their places: what is written
// down as committed must not be above what is safe.
func TestAWriteOfReplacedEntriesVouchesForNone(t *testing.T) {
	s, _ := newTable(t)
	old := mustAppend(t, s, appends(2, 2, 3, 1))
	made := mustAppend(t, s, appends(3, 2, 2, 3))
	s.wrote(old)
	if s.safe != 1 || s.last() != 3 {
		t.Errorf("entries up to %d count as safe, of %d, after the write of those that were replaced", s.safe, s.last())
	}
	s.wrote(made)
	if s.safe != 3 {
		t.Errorf("entries up to %d count as safe when all are", s.safe)
	}
	last := mustAppend(t, s, appends(4, 3, 1, 3)) // in the place of one that was safe
	if s.safe != 2 {
		t.Errorf("entries up to %d count as safe, and the last of them was replaced", s.safe)
	}
	s.wrote(last)
}

// A write that failed takes its entries, and all behind them, out of the table, and the term and the vote with them: the engine
// that is made next would else count on what is on no disk.
func TestEntriesAndTermOfAFailedWriteDoNotStay(t *testing.T) {
	s, _ := newTable(t)
	s.wrote(mustAppend(t, s, appends(2, 2, 2, 1)))
	vote := appends(3, 4, 1, 2)
	vote.Vote = new(uint64(1))
	failed := mustAppend(t, s, vote)
	mustAppend(t, s, appends(3, 5, 3, 2))
	s.failed(failed.first)
	if s.last() != 3 || s.safe != 3 {
		t.Errorf("entries up to %d are there and up to %d safe, after a failed write from 4 on", s.last(), s.safe)
	}
	state, _, err := s.InitialState()
	fatal(t, err)
	if state.GetTerm() != 2 || state.GetVote() != 0 || s.said != s.kept || s.owed {
		t.Errorf("the engine would begin with term %d and a vote for %d; said %+v, safe %+v", state.GetTerm(), state.GetVote(), s.said, s.kept)
	}
	again := appends(3, 4, 1, 2)
	again.Vote, again.Responses = new(uint64(1)), []*raftpb.Message{{}}
	if w := mustAppend(t, s, again); w.hard != (hard{3, 1}) || w.level != wal.Synced {
		t.Errorf("the same vote again is not written once more: %+v", w)
	}
}

// The same by the machine: what waits when the log fails is gone, the reign with it, and what was appended in it is not proposed in
// the next.
func TestAFailedReignLeavesNothingToTheNext(t *testing.T) {
	log := &paperLog{}
	at := Point{Index: 1, Term: 1}
	at.Members.Voters = []uint64{1}
	start := Start{Group: simGroup, Replica: 1, Generation: 1, Applied: at, Back: at}
	m, err := newMachine(Options{Log: log, Level: wal.Synced}, (&Recovery{}).History(start, wal.Synced, &wal.Report{}))
	fatal(t, err)
	elect := func() {
		t.Helper()
		for range 200 {
			if m.reign != 0 {
				return
			}
			m.tick(1)
			for len(m.waiting) > 0 {
				m.wrote(m.waiting[0], 1)
			}
		}
		t.Fatal("it does not lead")
	}
	elect()
	reign, last := m.reign, m.log.last()
	for range 3 {
		if _, err := m.batch.append(1, reign, 1, []byte("x")); err != nil {
			t.Fatal(err)
		}
		m.batch.flush()
	}
	m.advance(1)
	if m.log.last() != last+3 || m.reign != reign {
		t.Fatalf("entries up to %d of %d, reign %d", m.log.last(), last+3, m.reign)
	}
	m.failed(errors.New("the disk is gone"))
	if m.log.last() != last || len(m.waiting) != 0 || m.reign != 0 || m.batch.size() != 0 {
		t.Errorf("after the failure: entries up to %d of %d, %d writes wait, reign %d, %d bytes appended", m.log.last(), last, len(m.waiting), m.reign, m.batch.size())
	}
	fatal(t, m.restart())
	elect()
	if m.reign <= reign || m.applied.Record != 0 {
		t.Errorf("the next reign is %d after %d, and %d records of the failed one were committed", m.reign, reign, m.applied.Record)
	}
}

// What is written down as committed is never above what is safe here: a start would say of what a power cut took that it was
// forgotten.
func TestNoCommitIsWrittenDownAboveWhatIsSafe(t *testing.T) {
	var r Recovery
	s, _ := newTable(t)
	s.log = &recording{r: &r}
	w := mustAppend(t, s, appends(2, 2, 3, 4)) // entries 2 to 4, all committed by the others, and none of them synced here
	last := func() uint64 {
		t.Helper()
		if _, _, err := s.remember(); err != nil {
			t.Fatal(err)
		}
		all := r.groups[simGroup]
		return all[len(all)-1].vote.Commit
	}
	if got := last(); got > 1 {
		t.Errorf("entry %d is written down as committed, and entries up to %d are safe", got, s.safe)
	}
	s.wrote(w)
	if got := last(); got != 4 {
		t.Errorf("entry %d is written down as committed, and 4 is", got)
	}
}

// An answer that tells of a term waits for a sync also where entries do not, and so does the first one behind it: a power cut would
// take back the term and leave the answer.
func TestAnAnswerOfANewTermWaitsForASync(t *testing.T) {
	s, _ := newTable(t)
	s.level = wal.Written
	answered := func(m *raftpb.Message) *raftpb.Message {
		m.Responses = []*raftpb.Message{{}}
		return m
	}
	for i, c := range []struct {
		m    *raftpb.Message
		want wal.Level
	}{
		{answered(appends(2, 2, 1, 1)), wal.Synced},  // a new term
		{answered(appends(2, 3, 1, 1)), wal.Written}, // the same
		{appends(3, 4, 1, 1), wal.Written},           // a new one that nobody is told of
		{answered(appends(3, 5, 1, 1)), wal.Synced},  // until now
		{answered(appends(3, 6, 1, 1)), wal.Written},
	} {
		if w := mustAppend(t, s, c.m); w.level != c.want {
			t.Errorf("write %d waits for level %v, want %v", i, w.level, c.want)
		}
	}
}

// That a change of members is committed is written down, to be synced, as soon as it is safe, and once: a start that does not know it
// decides as the members before it.
func TestACommittedChangeOfMembersIsWrittenDown(t *testing.T) {
	s, _ := newTable(t)
	w := mustAppend(t, s, appends(2, 2, 2, 3))
	if n, err := s.note(3); n != nil || err != nil {
		t.Errorf("before it is safe: %+v, %v", n, err)
	}
	s.wrote(w)
	n, err := s.note(3)
	fatal(t, err)
	if n == nil || n.level != wal.Synced || !n.appends || !n.alone || s.noted != 3 {
		t.Errorf("once it is safe: %+v, %d is noted", n, s.noted)
	}
	if n, err := s.note(3); n != nil || err != nil {
		t.Errorf("again: %+v, %v", n, err)
	}
}

// A replica that has just started answers no vote for an election timeout, since it does not know whom it heard last; one that the
// leader itself has asked for it does.
func TestWhoHasJustStartedAnswersNoVote(t *testing.T) {
	at := Point{Index: 1, Term: 1}
	at.Members.Voters = []uint64{1, 2, 3}
	start := Start{Group: simGroup, Replica: 1, Generation: 1, Applied: at, Back: at}
	m, err := newMachine(Options{Log: &paperLog{}, Level: wal.Synced}, (&Recovery{}).History(start, wal.Synced, &wal.Report{}))
	fatal(t, err)
	asked := func(kind raftpb.MessageType, term uint64, context string) (answered bool) {
		m.output = output{}
		m.step(&raftpb.Message{Type: kind.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(term), Index: new(uint64(9)), LogTerm: new(uint64(1)), Context: []byte(context)}, 1)
		for len(m.waiting) > 0 {
			m.wrote(m.waiting[0], 1)
		}
		for _, msg := range m.output.send {
			answered = answered || msg.GetTo() == 2 && (msg.GetType() == raftpb.MsgPreVoteResp || msg.GetType() == raftpb.MsgVoteResp)
		}
		return answered
	}
	if asked(raftpb.MsgPreVote, 5, "") || asked(raftpb.MsgVote, 5, "") {
		t.Error("it votes at once")
	}
	if !asked(raftpb.MsgVote, 6, campaignTransfer) {
		t.Error("it does not vote for who was given the lead")
	}
	for range m.o.ElectionTicks {
		m.tick(1)
	}
	if !asked(raftpb.MsgPreVote, 99, "") {
		t.Error("it does not vote after an election timeout")
	}
}

// halfLog cannot sync what it has up to a place, and can what comes behind it: as after a sync that failed.
type halfLog struct {
	paperLog
	lost int64
}

func (l *halfLog) Commit(at wal.Offset, level wal.Level) error {
	if level == wal.Synced && at.Offset <= l.lost {
		return errors.New("a sync has failed")
	}
	return nil
}

// At level disk a sync that failed may have taken what was acknowledged: the replica that begins again is forgetful.
func TestAFailedSyncAtLevelDiskIsForgetful(t *testing.T) {
	for _, lost := range []bool{false, true} {
		log := &halfLog{}
		at := Point{Index: 1, Term: 1}
		at.Members.Voters = []uint64{1, 2, 3}
		start := Start{Group: simGroup, Replica: 1, Generation: 1, Applied: at, Back: at}
		m, err := newMachine(Options{Log: log, Level: wal.Written}, (&Recovery{}).History(start, wal.Written, &wal.Report{}))
		fatal(t, err)
		m.step(&raftpb.Message{Type: raftpb.MsgApp.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(uint64(2)), Index: new(uint64(1)), LogTerm: new(uint64(1)),
			Entries: appends(2, 2, 3, 1).Entries}, 1)
		for len(m.waiting) > 0 {
			m.wrote(m.waiting[0], 1)
		}
		if lost {
			log.lost = log.next
		}
		m.failed(errors.New("a sync has failed"))
		if err := m.restart(); errors.Is(err, ErrForgetful) != lost {
			t.Errorf("what was acknowledged is lost: %v; it begins again with %v", lost, err)
		}
	}
}

// An entry whose records do not follow those before it, or are not whole, is no state that all replicas have: it ends the replica.
func TestRecordsThatDoNotFollowAreDrift(t *testing.T) {
	next := func(number uint64) []byte {
		return journal.AppendRecord(journal.AppendFirst(nil, number), journal.KindPublish, []byte("x"))
	}
	for what, c := range map[string]struct {
		data  []byte
		drift bool
	}{
		"the next one": {next(1), false}, "one that was there": {next(0), true}, "one is left out": {next(2), true}, "one that is cut": {next(1)[:9], true},
	} {
		at := Point{Index: 1, Term: 1}
		at.Members.Voters = []uint64{1}
		start := Start{Group: simGroup, Replica: 1, Generation: 1, Applied: at, Back: at}
		m, err := newMachine(Options{Log: &paperLog{}, Level: wal.Synced}, (&Recovery{}).History(start, wal.Synced, &wal.Report{}))
		fatal(t, err)
		for i := 0; m.reign == 0 && i < 200; i++ {
			m.tick(1)
			for len(m.waiting) > 0 {
				m.wrote(m.waiting[0], 1)
			}
		}
		fatal(t, m.node.Propose(c.data))
		m.drain(1)
		for len(m.waiting) > 0 {
			m.wrote(m.waiting[0], 1)
		}
		if errors.Is(m.err, ErrDrift) != c.drift || !c.drift && m.applied.Record != 1 {
			t.Errorf("%s: %v, %d records were applied", what, m.err, m.applied.Record)
		}
	}
}
