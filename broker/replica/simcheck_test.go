package replica

import (
	"fmt"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/vfs"
	"brokerd/diskqueue/wal"
)

// truth is what all that happened in a run adds up to, and is compared with.
type truth struct {
	founded   Point
	members   journal.Members // as of the highest committed index
	entries   map[uint64]entryTruth
	highest   uint64            // committed index
	changed   uint64            // index of the last change of members
	hashes    map[uint64]uint64 // of the state by the number of the last record
	records   map[uint64]string
	acked     map[uint64]string // by record number
	leaders   map[uint64]uint64 // by term
	votes     map[[2]uint64]uint64
	published int
	newest    uint64        // number of the newest record that is acknowledged
	handed    time.Duration // the lead was handed over, or somebody forgot the leader, last
}

// entryTruth is what a committed entry is.
type entryTruth struct {
	term, hash uint64
	members    string // as of it; empty where nobody was told
}

func (t *truth) begin() {
	t.entries, t.hashes, t.records, t.acked = map[uint64]entryTruth{}, map[uint64]uint64{}, map[uint64]string{}, map[uint64]string{}
	t.leaders, t.votes = map[uint64]uint64{}, map[[2]uint64]uint64{}
	t.handed = -time.Hour
}

// committed compares what a node is told with what others were.
func (n *node) committed(c *Committed) {
	s, t := n.s, &n.s.truth
	e := entryTruth{c.Term, hashOf(c.First, uint64(c.Count), c.Data), membersOf(c.At.Members)}
	if was, known := t.entries[c.Index]; known && was != e {
		s.wrong("%v: entry %d is %+v, and elsewhere %+v", n, c.Index, e, was)
	} else if !known {
		if c.Index != t.highest+1 && t.highest > 0 {
			s.wrong("%v is the first to be told of entry %d, and nobody of entry %d", n, c.Index, t.highest+1)
		}
		if e.members != membersOf(t.members) {
			t.changed = c.Index
		}
		t.entries[c.Index], t.highest, t.members = e, c.Index, c.At.Members
		s.stats.committed++
		s.safeEnough(n, c)
	}
	if c.Data != nil {
		err := journal.EachRecord(c.Data, func(number uint64, _ journal.Kind, payload []byte) error {
			n.hash = hashOf(n.hash, number, payload)
			if was, known := t.hashes[number]; known && was != n.hash {
				s.wrong("%v: another state at record %d", n, number)
			}
			t.hashes[number] = n.hash
			if was, known := t.records[number]; known && was != string(payload) {
				s.wrong("%v: record %d is %.30q, and elsewhere %.30q", n, number, payload, was)
			}
			t.records[number] = string(payload)
			if mine := n.appended[number]; c.Own && mine != string(payload) {
				s.wrong("%v: record %d of its own reign is %.30q, and it appended %.30q", n, number, payload, mine)
			} else if c.Own {
				t.acked[number], t.newest = mine, max(t.newest, number)
				s.stats.acked++
			}
			return nil
		})
		if err != nil {
			s.wrong("%v: %v", n, err)
		}
	}
	n.points = append(n.points, struct {
		at   Point
		hash uint64
	}{c.At, n.hash})
	if len(n.points) > 40 {
		n.points = slices.Clone(n.points[20:])
	}
}

// membersOf returns members in one form, whatever the order that the engine has them in.
func membersOf(m journal.Members) string {
	for _, ids := range [][]uint64{m.Voters, m.Learners, m.Outgoing, m.LearnersNext} {
		slices.Sort(ids)
	}
	return fmt.Sprint(m)
}

// lead checks a new leader: it has all that is committed.
func (t *truth) lead(s *sim, n *node, term, next uint64) {
	s.say("%v leads in term %d from record %d on", n, term, next)
	before := t.highest // of what earlier terms have committed: one that was paused may hear late that it led
	for before > 0 && t.entries[before].term >= term {
		before--
	}
	if n.m.applied.Index < before {
		s.wrong("%v leads in term %d with entries up to %d, and %d was committed before", n, term, n.m.applied.Index, before)
	}
	if next != n.m.applied.Record+1 {
		s.wrong("%v leads from record %d on, and record %d is the last", n, next, n.m.applied.Record)
	}
}

// sent checks messages as they leave.
func (t *truth) sent(s *sim, n *node, msg *raftpb.Message) {
	if msg.GetType() == raftpb.MsgVoteResp && !msg.GetReject() {
		t.vote(s, n.m.id, msg.GetTerm(), msg.GetTo())
	}
	if msg.GetType() == raftpb.MsgTimeoutNow {
		t.handed = max(t.handed, s.now)
	}
	if msg.GetFrom() != n.m.id {
		s.wrong("%v sends as replica %d and is %d", n, msg.GetFrom(), n.m.id)
	}
}

// vote notes for whom a replica has voted in a term.
func (t *truth) vote(s *sim, id, term, to uint64) {
	if was, known := t.votes[[2]uint64{term, id}]; known && was != to {
		s.wrong("replica %d votes for %d in term %d, and has voted for %d", id, to, term, was)
	}
	t.votes[[2]uint64{term, id}] = to
}

// lookAt checks what must hold at each step.
func (s *sim) lookAt(n *node) {
	if n.m.err != nil {
		return
	}
	st := n.m.node.BasicStatus()
	if st.RaftState == raft.StateLeader {
		s.truth.vote(s, n.m.id, st.GetTerm(), n.m.id)
		if was, known := s.truth.leaders[st.GetTerm()]; known && was != n.m.id {
			s.wrong("replicas %d and %d lead in term %d", was, n.m.id, st.GetTerm())
		}
		s.truth.leaders[st.GetTerm()] = n.m.id
	}
	if b := &n.m.batch; b.term != n.m.reign || b.term == 0 && (b.open != nil || len(b.sealed) > 0 || b.bytes != 0) {
		s.wrong("%v: its batch is of term %d with %d bytes, and its reign %d", n, b.term, b.bytes, n.m.reign)
	}
	if most := n.m.log; most.cached > most.most && len(most.cache) > 0 && most.cache[0].GetIndex() <= most.safe {
		s.wrong("%v: %d bytes of entries in memory, and %d are allowed", n, most.cached, most.most)
	}
	if n.m.handing != 0 {
		s.truth.handed = max(s.truth.handed, s.now)
	}
	if n.m.leased(n.clock()) {
		s.stats.leased++
		s.oneLease(n)
	}
}

// oneLease checks that nobody else believes that he may deliver. A lead that was handed over may be believed twice
// when a message of that is late.
func (s *sim) oneLease(n *node) {
	if s.now-s.truth.handed < 10*time.Second || s.drift > 0.01 {
		return
	}
	for _, o := range s.nodes {
		if o != n && o.up && o.m != nil && o.paused <= s.now && o.m.leased(o.clock()) {
			s.wrong("%v and %v have the lease", n, o)
		}
	}
}

// worst is a source of chance by which a power cut leaves nothing that was not synced.
type worst struct{}

func (worst) Uint64() uint64 { return 1<<52 | 1<<20 }

// safeEnough looks, now and then, at the disks themselves: a majority of the voters must have what is committed, as
// safe as the level says.
func (s *sim) safeEnough(n *node, c *Committed) {
	if s.rng.IntN(16) > 0 || s.fail != "" {
		return
	}
	for _, o := range s.nodes {
		if o.doomed { // it may have lost what it had acknowledged, which one may
			return
		}
	}
	s.stats.checked++
	for _, voters := range [][]uint64{s.truth.members.Voters, s.truth.members.Outgoing} {
		have, list := 0, ""
		for _, id := range voters {
			o := s.holder(id)
			if o != nil && o.holds(c) {
				have++
				list += fmt.Sprint(" ", o.i)
			}
		}
		if len(voters) > 0 && have <= len(voters)/2 {
			// A change of members that is just committed may have been decided by the set before it.
			if c.Data == nil {
				return
			}
			s.wrong("%v is told that entry %d is committed, and of voters %v only nodes%s have it", n, c.Index, voters, list)
		}
	}
}

// holder returns the node that has a replica's disk, up or not.
func (s *sim) holder(id uint64) *node {
	for _, o := range s.nodes {
		if o.paper.Start.Replica == id && o.paper.Start.Forgetful == "" {
			return o
		}
	}
	return nil
}

// holds reports whether a node has an entry in what the worst crash of its level would leave.
func (n *node) holds(c *Committed) bool {
	p, h := n.left()
	return h != nil && (p.Start.Applied.Index >= c.Index || h.last() >= c.Index && h.termAt(c.Index) == c.Term)
}

// knows reports whether a node would know after the worst crash of its level that an entry is committed.
func (n *node) knows(index uint64) bool {
	_, h := n.left()
	return h != nil && h.commit >= index
}

// left returns what the worst crash of its level would leave of a node; nil for nothing.
func (n *node) left() (paper, *History) {
	disk := n.disk.KillClone()
	if n.s.level == wal.Synced {
		disk = n.disk.CrashClone(newWorst())
	}
	b, err := vfs.ReadFile(disk, simPaper)
	if err != nil {
		return paper{}, nil
	}
	p := paperOf(b)
	var r Recovery
	if _, err := wal.Read(disk, simLog, p.need(), r.Replay); err != nil {
		return p, nil
	}
	return p, fold(p.Start, r.groups[simGroup])
}

// heal ends all faults.
func (s *sim) heal() {
	s.over, s.healed, s.before = true, s.now, s.stats.acked
	clear(s.cut)
	s.fifo = true // as the links of brokers are
	s.loss, s.twice, s.delay, s.disk = 0, 0, [2]time.Duration{time.Millisecond, 2 * time.Millisecond}, [2]time.Duration{time.Millisecond, 2 * time.Millisecond}
	for _, n := range s.nodes {
		n.goOn()
		if !n.up {
			n.start()
		}
		if n.faulty != nil {
			n.faulty.SetRules()
		}
	}
	s.say("all is well from now on")
}

// finish waits until all is as it should be, and checks that nothing is missing.
func (s *sim) finish() {
	for end := s.now + time.Minute; s.fail == "" && s.now < end; {
		s.run(s.now + 200*time.Millisecond)
		if s.settled() {
			break
		}
	}
	if s.fail != "" {
		return
	}
	if !s.settled() {
		s.wrong("a minute after the last fault: %s", s.states())
		return
	}
	for number, payload := range s.truth.acked {
		if s.truth.records[number] != payload {
			s.wrong("acknowledged record %d is not there", number)
		}
	}
	for _, n := range s.nodes {
		if n.hash != s.truth.hashes[n.m.applied.Record] && n.m.applied.Record > 0 {
			s.wrong("%v: its state at record %d is another one", n, n.m.applied.Record)
		}
		for i := n.m.log.base.Index + 1; i <= n.m.applied.Index; i++ {
			e, err := n.m.log.Entries(i, i+1, 1)
			if err != nil {
				s.wrong("%v: entry %d cannot be read: %v", n, i, err)
				return
			}
			first, count := uint64(0), 0
			data := e[0].GetData()
			if typeOf(e[0]) == journal.EntryRecords {
				first, count, _ = journal.Records(data)
			} else {
				data = nil
			}
			if want := s.truth.entries[i]; e[0].GetTerm() != want.term || hashOf(first, uint64(count), data) != want.hash {
				s.wrong("%v: its log has another entry %d", n, i)
			}
		}
	}
}

// settled reports whether all nodes are voters of one leader, and have what is committed.
func (s *sim) settled() bool {
	l := s.leader()
	if l == nil || len(s.truth.members.Voters) != len(s.nodes) || len(s.truth.members.Outgoing) > 0 {
		return false
	}
	for _, n := range s.nodes {
		if !n.up || n.m == nil || n.m.err != nil || n.m.applied.Index < l.m.applied.Index || n.m.batch.size() > 0 {
			return false
		}
	}
	return s.stats.acked > s.before && s.now > s.healed+2*time.Second
}

func (s *sim) states() string {
	text := fmt.Sprintf("members %+v, committed %d, acked %d;", s.truth.members, s.truth.highest, s.stats.acked)
	for _, n := range s.nodes {
		switch {
		case !n.up:
			text += fmt.Sprintf(" %v is down;", n)
		case n.m == nil:
			text += fmt.Sprintf(" %v has no machine (%s, replica %d, pending %v);", n, n.paper.Start.Forgetful, n.paper.Start.Replica, n.pending)
		case n.m.err != nil:
			text += fmt.Sprintf(" %v: %v;", n, n.m.err)
		default:
			st := n.m.node.BasicStatus()
			text += fmt.Sprintf(" %v: replica %d %v term %d reign %d applied %d of %d, from %d, waiting %d/%d;", n, n.m.id, st.RaftState, st.GetTerm(), n.m.reign,
				n.m.applied.Index, n.m.log.last(), n.m.log.base.Index, len(n.m.waiting), len(n.writes))
		}
	}
	return text
}
