package replica

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/quorum"
	"go.etcd.io/raft/v3/raftpb"

	"brokerd/diskqueue/wal"
)

// machine is a replica without time and threads. After each of its methods output says what is to be done.
type machine struct {
	o     Options
	id    uint64
	log   *storage
	batch batch
	node  *raft.RawNode // nil: failed, stopped or removed

	err     error  // why there is no engine
	applied Point  // all up to here was told
	members uint64 // index of the last change of members in it
	reign   uint64
	leader  uint64 // that was known last, 0 for none
	missed  uint64 // the newest that was known
	ledTerm uint64 // the newest in which one was known
	stand   stand
	lease   lease
	voters  quorum.JointConfig
	quiet   int // ticks for which no vote is answered
	highest uint64
	last    time.Duration // when it was told of a tick
	beat    time.Duration // when heartbeats were sent last
	beats   bool          // they are in this tick
	rests   bool          // see atRest
	moved   time.Duration // when something was committed last
	heard   time.Duration // when a leader was heard last
	vowed   uint64        // newest term in which one was answered
	waiting []*write      // not safe yet, oldest first
	entries int           // how many of them are of entries
	oldest  *write        // of them, at the last tick
	landed  bool          // an entry of the reign was committed, and what has gathered meanwhile may be due
	stalled int           // ticks for which it has been that

	untold []*raftpb.Message // what is committed and was not told yet, in order, see Options.Full

	bare map[uint64]*raftpb.Message // appends without entries that wait for the next tick, the newest for each replica

	handing  uint64            // to whom the lead is being handed over, 0 for nobody
	handed   bool              // the engine was told
	handover int               // ticks left for it
	changing *change           // the change of members under way
	targets  map[uint64]uint64 // of learners: what they must have to become voters

	reads []*read // who waits to know that this replica leads
	asked uint64  // how many of them there ever were

	output output
}

// output is what a machine wants done. Its owner takes it and clears it.
type output struct {
	send   []*raftpb.Message // to other replicas, in order
	writes []*write          // to be waited for, in order
	tell   []event           // to be told, in order
	hurry  bool              // somebody waits for the answer to a heartbeat in it
}

// event is something that the owner of a group is told.
type event struct {
	lead, lost uint64 // a reign that begins, or is over
	next       uint64 // of one that begins: the number of its first record
	committed  *Committed
	changed    *change
	stopped    error
	read       *read  // that is answered
	kept       []byte // data of the newest entry of the reign that is as safe here as the level says
}

// change is a change of members.
type change struct {
	index uint64 // of its entry
	err   error  // set when it is done
	done  func(error)
}

// ErrEngine is a fault of the engine, or of what it was given. The replica does not go on.
var ErrEngine = errors.New("the engine of the group has failed")

// newMachine returns the machine of a replica that may go on, or why it may not.
func newMachine(o Options, h *History) (*machine, error) {
	if err := o.normalize(); err != nil {
		return nil, err
	}
	if err := h.Check(); err != nil {
		return nil, err
	}
	if err := o.Log.Err(); err != nil {
		return nil, fmt.Errorf("begin group %d: %w", h.start.Group, err)
	}
	m := &machine{o: o, id: h.start.Replica, log: newStorage(o, h), batch: batch{most: o.MaxEntry, wait: o.Gather}, applied: h.start.Applied}
	return m, m.start()
}

// start makes the engine from what is stored.
func (m *machine) start() error {
	m.log.conf = state(m.applied.Members)
	m.log.commit = max(m.applied.Index, min(m.log.commit, m.log.safe))
	m.err, m.quiet, m.stand = nil, m.o.QuietTicks, stand{}
	m.guard(func() error {
		node, err := raft.NewRawNode(&raft.Config{
			ID: m.id, ElectionTick: m.o.ElectionTicks, HeartbeatTick: 1, Storage: m.log, Applied: m.applied.Index,
			AsyncStorageWrites: true, MaxSizePerMsg: uint64(m.o.MaxEntry), MaxCommittedSizePerReady: uint64(4 * m.o.MaxEntry),
			MaxUncommittedEntriesSize: uint64(m.o.Uncommitted), MaxInflightMsgs: m.o.InflightMessages, MaxInflightBytes: uint64(m.o.InflightBytes),
			CheckQuorum: true, PreVote: true, DisableProposalForwarding: true, StepDownOnRemoval: true, Logger: logger{m.o.Logger},
		})
		m.node = node
		m.look()
		return err
	})
	return m.err
}

// guard does something with the engine. What it panics with, as when its log cannot be read, ends it and nothing else.
func (m *machine) guard(do func() error) {
	if m.err != nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			err, ok := p.(error)
			if !ok {
				err = fmt.Errorf("%v", p)
			}
			if errors.Is(err, errUnread) {
				m.quit(err)
				return
			}
			m.stop(fmt.Errorf("%w: %w", ErrEngine, err))
		}
	}()
	if err := do(); err != nil {
		m.stop(err)
	}
}

// stop ends the engine. What waits for the log is in doubt, and is taken out of the table.
func (m *machine) stop(err error) {
	m.endReign()
	m.node, m.err, m.leader = nil, err, 0
	first := uint64(0)
	for _, w := range m.waiting {
		if w.first > 0 && (first == 0 || w.first < first) {
			first = w.first
		}
	}
	m.log.failed(first)
	m.waiting, m.entries, m.untold, m.output.writes = nil, 0, nil, nil
	m.output.tell = append(m.output.tell, event{stopped: err})
}

// restart makes the engine anew after a failed write, once the log can be written. It waits for the disk. A replica
// that acknowledges what is only written has forgotten something when that cannot be synced any more.
func (m *machine) restart() error {
	if m.err == nil || errors.Is(m.err, ErrRemoved) || errors.Is(m.err, ErrForgetful) {
		return m.err
	}
	if _, err := m.prove(); err != nil {
		if errors.Is(err, ErrForgetful) {
			m.err = err
		}
		return err
	}
	return m.start()
}

// prove returns once the log can be written, and from where on it is needed.
func (m *machine) prove() (from wal.Offset, err error) {
	from, proof, err := m.log.remember()
	if err == nil {
		err = m.o.Log.Commit(proof, wal.Synced)
	}
	if err != nil {
		return from, fmt.Errorf("write the log of group %d again: %w", m.log.group, err)
	}
	if at := m.log.safeAt; m.o.Level == wal.Written && at != (wal.Offset{}) {
		if err := m.o.Log.Commit(at, wal.Synced); err != nil {
			return from, fmt.Errorf("%w: a sync of the log has failed: %w", ErrForgetful, err)
		}
	}
	return from, nil
}

// step takes a message of another replica.
func (m *machine) step(msg *raftpb.Message, now time.Duration) {
	if m.err != nil || msg.GetTo() != m.id || msg.GetFrom() == m.id || !m.welcome(msg) { // of itself comes nothing by a link
		return
	}
	switch msg.GetType() {
	case raftpb.MsgHeartbeat, raftpb.MsgApp:
		m.heard = now
	case raftpb.MsgHeartbeatResp:
		sent, timeout, ok := unstamp(msg)
		if ok && m.node.BasicStatus().GetTerm() == msg.GetTerm() && m.lease.term == msg.GetTerm() {
			m.lease.answered(msg.GetFrom(), sent, timeout, now)
		}
	case raftpb.MsgVoteResp:
		if msg.GetReject() {
			m.stand.refused(msg.GetTerm())
		}
	}
	m.guard(func() error {
		if msg.GetType() == raftpb.MsgHeartbeat && msg.GetTerm() >= m.log.said.term && msg.GetCommit() > m.log.last() {
			return fmt.Errorf("%w: entry %d was acknowledged to the leader, and the log ends at %d", ErrForgetful, msg.GetCommit(), m.log.last())
		}
		err := m.node.Step(msg)
		if errors.Is(err, raft.ErrStepPeerNotFound) || errors.Is(err, raft.ErrStepLocalMsg) || errors.Is(err, raft.ErrProposalDropped) {
			return nil
		}
		return err
	})
	if m.drain(now); m.landed { // what has gathered meanwhile
		m.advance(now)
	}
	m.correct(msg)
}

// correct tells a leader, which does not find out by itself, that this replica has more than it knows: what is committed,
// which every leader has. Else one whose log begins behind what it knows could send nothing any more.
func (m *machine) correct(heartbeat *raftpb.Message) {
	has := min(m.applied.Index, m.log.safe)
	if m.err != nil || heartbeat.GetType() != raftpb.MsgHeartbeat || heartbeat.GetCommit() >= has {
		return
	}
	if s := m.node.BasicStatus(); s.Lead == heartbeat.GetFrom() && s.GetTerm() == heartbeat.GetTerm() {
		m.output.send = append(m.output.send, &raftpb.Message{Type: raftpb.MsgAppResp.Enum(), To: new(s.Lead), From: new(m.id), Term: new(s.GetTerm()), Index: new(has)})
	}
}

// welcome reports whether a message is to be looked at.
func (m *machine) welcome(msg *raftpb.Message) bool {
	switch msg.GetType() {
	case raftpb.MsgVote, raftpb.MsgPreVote:
		if m.quiet > 0 && string(msg.GetContext()) != campaignTransfer { // a leader may have been heard that this start does not know of
			return false
		}
	case raftpb.MsgApp, raftpb.MsgAppResp, raftpb.MsgVoteResp, raftpb.MsgPreVoteResp, raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp, raftpb.MsgTimeoutNow:
	default:
		return false
	}
	_, is := m.member(msg.GetFrom())
	return is || msg.GetFrom() > m.highest // one that is not known yet may join; one that is not there any more was removed
}

// campaignTransfer is what a vote says that the leader itself has asked for.
const campaignTransfer = "CampaignTransfer"

// member reports whether a replica is one of the group, and whether it votes.
func (m *machine) member(id uint64) (voter, is bool) {
	_, a := m.voters[0][id]
	_, b := m.voters[1][id]
	if a || b {
		return true, true
	}
	for _, l := range [][]uint64{m.applied.Members.Learners, m.applied.Members.LearnersNext} {
		for _, n := range l {
			is = is || n == id
		}
	}
	return false, is
}

// stays reports whether a replica votes, and goes on to do so when a change that is under way ends.
func (m *machine) stays(id uint64) bool {
	_, is := m.voters[0][id]
	return is
}

// look takes the members from what was applied.
func (m *machine) look() {
	c := m.applied.Members
	m.voters = quorum.JointConfig{}
	for i, ids := range [][]uint64{c.Voters, c.Outgoing} {
		if len(ids) > 0 {
			m.voters[i] = quorum.MajorityConfig{}
		}
		for _, id := range ids {
			m.voters[i][id] = struct{}{}
			m.highest = max(m.highest, id)
		}
	}
	for _, id := range c.Learners {
		m.highest = max(m.highest, id)
	}
}

// wrote says that the oldest write is as safe as its answers need, so that they may leave.
func (m *machine) wrote(w *write, now time.Duration) {
	if len(m.waiting) == 0 || m.waiting[0] != w {
		return // of an engine that has ended since
	}
	m.waiting[0] = nil
	m.waiting = m.waiting[1:]
	if w.first > 0 {
		m.entries--
	}
	m.log.wrote(w)
	if w.data != nil && m.reign != 0 && w.term == m.reign {
		m.output.tell = append(m.output.tell, event{kept: w.data})
	}
	m.answer(w)
	m.note()
	m.advance(now) // what has gathered meanwhile
}

// note has a start know of the last change of members that it is committed. It would else decide as the members before it, which
// may need one that is not there any more.
func (m *machine) note() {
	m.guard(func() error {
		w, err := m.log.note(m.members)
		if err != nil {
			return fmt.Errorf("write the log of group %d: %w", m.log.group, err)
		}
		if w != nil {
			m.store(w)
		}
		return nil
	})
}

// answer sends what waited for a write.
func (m *machine) answer(w *write) {
	for _, a := range w.answers {
		if a.GetTo() != m.id {
			m.output.send = append(m.output.send, a)
			continue
		}
		m.guard(func() error {
			if err := m.node.Step(a); err != nil && !errors.Is(err, raft.ErrStepPeerNotFound) {
				return err
			}
			return nil
		})
	}
}

// failed says that a write failed, and with it all behind it.
func (m *machine) failed(err error) {
	if m.err == nil {
		m.quit(fmt.Errorf("write the log of group %d: %w", m.log.group, err))
	}
}

// quit ends the engine because of the disk. A leader offers the lead to whoever has all that it has.
func (m *machine) quit(err error) {
	if m.reign != 0 {
		m.guard(func() error {
			m.offer()
			return nil
		})
	}
	m.stop(err)
}

// successor returns the follower that has most of what this leader has, among those that answer and are not about to be removed.
func (m *machine) successor() (id uint64, ok bool) {
	match := uint64(0)
	m.node.WithProgress(func(n uint64, _ raft.ProgressType, pr tracker) {
		if n != m.id && m.stays(n) && pr.RecentActive && pr.Match > match {
			id, match = n, pr.Match
		}
	})
	return id, id != 0
}

// offer has the follower that lacks least campaign at once. Whether it wins is for the others to say, as ever.
func (m *machine) offer() {
	if to, ok := m.successor(); ok {
		m.output.send = append(m.output.send, &raftpb.Message{Type: raftpb.MsgTimeoutNow.Enum(), To: new(to), From: new(m.id), Term: new(m.reign)})
	}
}

// propose proposes what is sealed, in order. What the engine has no room for is proposed again before anything else.
func (m *machine) propose() {
	for m.reign != 0 && m.err == nil {
		data, ok := m.batch.head()
		if !ok {
			return
		}
		dropped := false
		m.guard(func() error {
			err := m.node.Propose(data)
			dropped = errors.Is(err, raft.ErrProposalDropped)
			if dropped {
				return nil
			}
			return err
		})
		if dropped {
			return
		}
		m.batch.pop()
	}
}

// advance seals and proposes what is due.
func (m *machine) advance(now time.Duration) {
	if m.err != nil {
		return
	}
	for again := true; again && m.err == nil; again = m.landed {
		m.landed = false
		m.batch.due(now, m.busy())
		m.drain(now)
	}
}

// busy reports whether the open entry is to gather more: a write of entries is out, or an entry of this reign is on its way to the others. An entry costs a
// write on every replica, and what is told with it: fewer of them, with more in each, cost less. What gathers waits for Options.Gather at most.
func (m *machine) busy() bool { return m.entries > 0 || m.batch.flying() }

// drain does what the engine wants done, until it wants nothing more.
func (m *machine) drain(now time.Duration) {
	for m.err == nil {
		m.follow()
		if m.propose(); m.err != nil {
			return
		}
		m.handOver()
		if !m.node.HasReady() {
			return
		}
		var rd raft.Ready
		m.guard(func() error {
			rd = m.node.Ready()
			return nil
		})
		for _, msg := range rd.Messages {
			if m.err != nil {
				return
			}
			m.handle(msg, now)
		}
		m.heed(rd.ReadStates)
	}
}

// handle does one thing that the engine wants done.
func (m *machine) handle(msg *raftpb.Message, now time.Duration) {
	switch msg.GetTo() {
	case raft.LocalAppendThread:
		m.guard(func() error {
			w, err := m.log.append(msg)
			if err != nil {
				m.waiting = append(m.waiting, &write{first: firstOf(msg)})
				return fmt.Errorf("write the log of group %d: %w", m.log.group, err)
			}
			m.store(w)
			return nil
		})
	case raft.LocalApplyThread:
		m.untold = append(m.untold, msg)
		m.tellHeld(now)
	default:
		switch msg.GetType() {
		case raftpb.MsgHeartbeat:
			asks := len(msg.GetContext()) > 0 // somebody waits to know that this replica leads
			if !m.beats && !asks {
				return
			}
			m.output.hurry = m.output.hurry || asks
			stamp(msg, now)
		case raftpb.MsgHeartbeatResp:
			asked := len(msg.GetContext()) > stampSize
			m.output.hurry = m.output.hurry || asked || msg.GetTerm() != m.vowed // who leads anew may not deliver before
			m.vowed = msg.GetTerm()
			vow(msg, time.Duration(m.o.ElectionTicks)*m.o.Clock.tick)
		case raftpb.MsgApp:
			if m.o.TellLate && len(msg.GetEntries()) == 0 {
				m.hold(msg)
				return
			}
			delete(m.bare, msg.GetTo())
		}
		m.output.send = append(m.output.send, msg)
	}
}

// tellHeld tells what is committed, as far as there is room for it. The engine hands out no more than a few entries before those are told.
func (m *machine) tellHeld(now time.Duration) {
	for len(m.untold) > 0 && m.err == nil && (m.leader == m.id || m.o.Full == nil || !m.o.Full()) {
		msg := m.untold[0]
		if m.untold = m.untold[1:]; len(m.untold) == 0 {
			m.untold = nil
		}
		m.guard(func() error { return m.apply(msg, now) })
	}
}

// hold keeps an append without entries until the next tick. Nearly all of them say only that more is committed, which the next entries say
// too; sent at once, such a message and its answer are half of what goes between replicas while messages come one at a time.
func (m *machine) hold(msg *raftpb.Message) {
	if m.bare == nil {
		m.bare = map[uint64]*raftpb.Message{}
	}
	m.bare[msg.GetTo()] = msg
}

// release sends what hold has kept, unless it is of an earlier term.
func (m *machine) release() {
	if m.err == nil && len(m.bare) > 0 {
		term := m.node.BasicStatus().GetTerm()
		for _, to := range slices.Sorted(maps.Keys(m.bare)) {
			if msg := m.bare[to]; msg.GetTerm() == term {
				m.output.send = append(m.output.send, msg)
			}
		}
	}
	clear(m.bare)
}

func firstOf(m *raftpb.Message) uint64 {
	if e := m.GetEntries(); len(e) > 0 {
		return e[0].GetIndex()
	}
	return 0
}

// store has a write waited for, or answers at once when there is nothing to wait for.
func (m *machine) store(w *write) {
	if len(w.answers) == 0 && w.first == 0 && !w.alone { // nobody waits for it: what comes behind it does
		return
	}
	if !w.appends && len(m.waiting) == 0 {
		m.answer(w)
		return
	}
	m.waiting = append(m.waiting, w)
	if w.first > 0 {
		m.entries++
		m.batch.hold()
	}
	m.output.writes = append(m.output.writes, w)
}

// follow notices that the lead was won or lost.
func (m *machine) follow() {
	s := m.node.BasicStatus()
	m.leader = s.Lead
	m.stand.is(s.RaftState, s.GetTerm(), m.leader)
	if m.leader != 0 {
		m.missed = m.leader
	}
	if m.leader != 0 && s.GetTerm() != m.ledTerm {
		m.ledTerm = s.GetTerm()
		m.o.Tally.elected()
	}
	leads := s.RaftState == raft.StateLeader
	if leads && m.lease.term != s.GetTerm() {
		m.lease.begin(s.GetTerm(), m.id, m.o.Lease)
	}
	if m.reign != 0 && (!leads || s.GetTerm() != m.reign) {
		m.endReign()
	}
}

// endReign tells that the lead is lost.
func (m *machine) endReign() {
	if m.reign == 0 {
		return
	}
	m.output.tell = append(m.output.tell, event{lost: m.reign})
	if m.changing != nil {
		m.finish(ErrNotLeader)
	}
	m.unread()
	m.reign, m.handing, m.handed, m.targets, m.lease = 0, 0, false, nil, lease{}
	m.batch.end()
}

// lapse returns until when a reign may deliver: three quarters of the election timeout after it sent the newest
// heartbeat that a majority has answered. 0: it may not.
func (m *machine) lapse(now time.Duration) time.Duration {
	if m.reign == 0 || m.err != nil || m.handing != 0 {
		return 0
	}
	return m.lease.until(m.voters, now)
}

// leased reports whether it may deliver now.
func (m *machine) leased(now time.Duration) bool { return now < m.lapse(now) }
