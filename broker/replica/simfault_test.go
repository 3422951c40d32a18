package replica

import (
	"encoding/json"
	"errors"
	mrand "math/rand/v2"
	"syscall"
	"time"

	"go.etcd.io/raft/v3"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/vfs"
	"brokerd/diskqueue/wal"
)

func newWorst() *mrand.Rand { return mrand.New(worst{}) }

func paperOf(b []byte) paper {
	var p paper
	must(json.Unmarshal(b, &p))
	return p
}

// control is what those do who look after a cluster: forgetful and wiped replicas come back under new ids, learners
// become voters, checkpoints are taken.
func (s *sim) control() {
	for _, n := range s.nodes {
		if n.up && n.paused <= s.now {
			n.rejoin()
			n.rebase()
		}
	}
	if l := s.leader(); l != nil {
		for _, id := range s.truth.members.Learners {
			l.m.promote(id, l.clock(), func(error) {})
		}
		l.m.advance(l.clock())
		l.settle()
	}
	for _, n := range s.nodes {
		if s.rng.IntN(4) == 0 {
			n.checkpoint()
		}
	}
	s.after(pick(s.rng, 50*time.Millisecond, 400*time.Millisecond), s.control)
}

// rejoin has a forgetful replica come back under an id that the leader has agreed to.
func (n *node) rejoin() {
	s := n.s
	if n.m != nil || n.history == nil || n.history.Check() == nil || n.log.Err() != nil {
		return
	}
	old := n.paper.Start.Replica
	for _, id := range n.pending { // whichever was agreed to, perhaps by a leader that did not live to say so
		if id > old && isMember(s.truth.members, id) {
			n.comeBack(id)
			return
		}
	}
	l := s.leader()
	if l == nil || l == n || s.cut[[2]int{n.i, l.i}] || s.cut[[2]int{l.i, n.i}] || !isMember(s.truth.members, old) {
		return
	}
	s.ids = max(s.ids, l.m.highest) + 1
	id := s.ids
	l.m.replace(old, id, l.clock(), func(err error) {
		s.say("%v: replica %d in place of %d: %v", l, id, old, err)
	})
	n.pending = append(n.pending, id)
	l.m.advance(l.clock())
	l.settle()
}

// matchOf returns up to where a leader knows that it and a replica are equal.
func (n *node) matchOf(id uint64) (match uint64) {
	n.m.node.WithProgress(func(r uint64, _ raft.ProgressType, pr tracker) {
		if r == id {
			match = pr.Match
		}
	})
	return match
}

// elected returns who leads by the newest term, whether anything is committed in it yet: that may need the one who is behind.
func (s *sim) elected() (best *node) {
	term := uint64(0)
	for _, n := range s.nodes {
		if n.up && n.m != nil && n.m.err == nil && n.paused <= s.now {
			if st := n.m.node.BasicStatus(); st.RaftState == raft.StateLeader && st.GetTerm() > term {
				best, term = n, st.GetTerm()
			}
		}
	}
	return best
}

// rebase has a replica that lacks what its leader has no more begin behind the leader's checkpoint.
func (n *node) rebase() {
	s, l := n.s, n.s.elected()
	if !s.rebase || l == nil || l == n || n.m == nil || n.m.err != nil || l.matchOf(n.m.id) >= l.m.log.base.Index || s.cut[[2]int{n.i, l.i}] || s.cut[[2]int{l.i, n.i}] {
		return
	}
	start, history, err := (&Group{o: n.m.o, id: n.m.id, m: n.m}).Rebase(n.paper.Start, l.paper.Start.Applied)
	if errors.Is(err, ErrNotBehind) {
		return // it will say so
	}
	if err != nil || s.rng.IntN(4) == 0 && !s.over { // it does not count
		s.say("%v does not come to begin anew: %v", n, err)
		n.crash(s.level == wal.Synced && s.rng.IntN(2) == 0)
		return
	}
	hash := l.paper.Hash
	n.paper.Start, n.paper.Hash = start, hash
	if n.save(n.faulty) != nil {
		n.crash(false)
		return
	}
	s.stats.rebased++
	s.say("%v begins anew behind entry %d", n, start.Applied.Index)
	n.history, n.writes = history, nil
	n.begin()
}

func isMember(m journal.Members, id uint64) bool {
	for _, list := range [][]uint64{m.Voters, m.Learners, m.LearnersNext} {
		for _, n := range list {
			if n == id {
				return true
			}
		}
	}
	return false
}

// comeBack begins the log of a replica's new id: with what it has kept, or, if it has nothing, from the group's
// beginning.
func (n *node) comeBack(id uint64) {
	s := n.s
	start, err := n.history.Rejoin(n.log, id, n.paper.Start.Generation+1)
	if err != nil {
		s.say("%v: %v", n, err)
		n.crash(false)
		return
	}
	if s.rng.IntN(4) == 0 && !s.over {
		n.crash(s.rng.IntN(2) == 0) // before it counts
		return
	}
	n.paper.Start, n.copied = start, false
	if n.save(n.faulty) != nil {
		n.crash(false)
		return
	}
	s.stats.rejoined++
	s.say("%v comes back as replica %d", n, start.Replica)
	n.crash(false) // it starts with that
}

// checkpoint names a state that was told, and lets go of the log behind the one before it.
func (n *node) checkpoint() {
	s := n.s
	if !n.up || n.m == nil || n.m.err != nil || n.paused > s.now || len(n.points) == 0 || n.log.Err() != nil {
		return
	}
	p := n.points[s.rng.IntN(len(n.points))]
	if p.at.Index <= n.paper.Start.Applied.Index {
		return
	}
	back := n.paper.Start.Back
	if s.trim && (s.rebase || n.paper.Start.Applied.Index <= min(s.least(), n.m.held())) {
		back = n.paper.Start.Applied
		n.m.log.compact(back)
	}
	from, sync, err := n.m.log.remember()
	if err == nil {
		err = n.log.Commit(sync, wal.Synced)
	}
	if err != nil {
		return // the machine finds that out by itself
	}
	before := n.paper
	n.paper.Start.Applied, n.paper.Start.Back, n.paper.Hash = p.at, back, p.hash
	if s.trim {
		n.paper.Start.From = from
	}
	if err := n.save(n.faulty); err != nil {
		n.paper = before
		n.crash(false)
		return
	}
	if s.trim {
		_ = n.log.Release(from)
	}
}

// least is what every node has in a checkpoint.
func (s *sim) least() uint64 {
	least := uint64(1 << 62)
	for _, n := range s.nodes {
		least = min(least, n.paper.Start.Applied.Index)
	}
	return least
}

// spare reports whether one replica may forget something: the others are a majority that has forgotten nothing, and each
// of them knows that it is. Until a change of members is applied by them they decide as the set before it, which may
// need the one that forgets; a start knows what was written down.
func (s *sim) spare() bool {
	if len(s.nodes) < 3 || len(s.truth.members.Voters) != len(s.nodes) || len(s.truth.members.Learners)+len(s.truth.members.Outgoing) > 0 {
		return false
	}
	for _, n := range s.nodes {
		if n.doomed || n.paper.Start.Forgetful != "" || !isMember(s.truth.members, n.paper.Start.Replica) || n.m == nil || n.m.err != nil ||
			membersOf(n.m.applied.Members) != membersOf(s.truth.members) || !n.knows(s.truth.changed) {
			return false
		}
	}
	return true
}

// fault does one thing that goes wrong in a machine room, and has another one follow.
func (s *sim) fault() {
	if s.over {
		return
	}
	n := s.nodes[s.rng.IntN(len(s.nodes))]
	kind := s.rng.IntN(23)
	if s.kinds != nil {
		kind = one(s.rng, s.kinds...)
	}
	switch kind {
	case 0, 1:
		if n.up {
			s.stats.crashes++
			n.crash(false)
		}
	case 2, 3:
		n.powerCut()
	case 4:
		s.powerCutOfAll()
	case 5, 6:
		s.partition(n)
	case 7:
		n.pause()
	case 8, 9:
		n.breakDisk()
	case 10, 14:
		n.oldCopy()
	case 11:
		n.flip()
	case 12:
		n.wipe()
	case 13:
		if n.up {
			n.stopCleanly()
		}
	case 15, 16:
		if s.transfer {
			s.handOver(n)
		}
	case 17, 18:
		if s.misses {
			s.missLeader()
		}
	case 19, 20:
		for _, o := range s.nodes {
			if o != n && s.rng.IntN(2) == 0 {
				s.broken[[2]int{n.i, o.i}]++
				s.broken[[2]int{o.i, n.i}]++
			}
		}
	case 21:
		for _, o := range s.nodes {
			if o == n || s.rng.IntN(2) == 0 {
				o.pause()
			}
		}
	case 22:
		if l := s.leader(); l != nil {
			l.pause()
		}
	}
	s.after(pick(s.rng, 10*time.Millisecond, s.apart), s.fault)
}

// pause stops a node's process for a while, or its machine, and with that its clock. What has come meanwhile it goes on with in any order, but each of a
// kind in its own.
func (n *node) pause() bool {
	s := n.s
	if !n.up || n.paused > s.now {
		return false
	}
	by := pick(s.rng, 100*time.Millisecond, 5*time.Second)
	n.paused = s.now + by
	for i := range n.wakes {
		n.wakes[i] = one(s.rng, 0, 0, 100*time.Microsecond, 20*time.Millisecond)
	}
	if n.stops = s.rng.IntN(3) == 0; n.stops {
		n.stood += by
		s.truth.handed = max(s.truth.handed, n.paused) // it believes that it leads for a moment more
	}
	s.stats.paused++
	s.say("%v is paused until %v, with its clock: %v", n, n.paused, n.stops)
	return true
}

// goOn ends a pause.
func (n *node) goOn() {
	if n.stops && n.paused > n.s.now {
		n.stood -= n.paused - n.s.now
	}
	n.paused = min(n.paused, n.s.now) // FIFO of links is kept: n.wakes count from then
}

// missLeader has all, or some, take the leader for dead, rightly or not, and stand for election one after the other.
func (s *sim) missLeader() {
	miss := pick(s.rng, 1, len(s.nodes))
	for _, i := range s.rng.Perm(len(s.nodes))[:miss] {
		n := s.nodes[i]
		s.after(pick(s.rng, 0, 20*time.Millisecond), func() {
			if !n.up || n.m == nil || n.paused > s.now {
				return
			}
			s.truth.handed = max(s.truth.handed, s.now)
			s.say("%v forgets its leader", n)
			n.m.guard(func() error { return n.m.node.ForgetLeader() })
			n.m.advance(n.clock())
			n.settle()
			s.after(pick(s.rng, 10*time.Millisecond, 200*time.Millisecond), n.own(byTime, n.campaign))
		})
	}
}

func (n *node) campaign() {
	if n.m == nil || n.m.err != nil || n.m.node.BasicStatus().Lead != 0 {
		return
	}
	n.s.truth.handed = max(n.s.truth.handed, n.s.now)
	n.pass()
	n.m.guard(func() error { return n.m.node.Campaign() })
	n.m.advance(n.clock())
	n.settle()
}

func (n *node) powerCut() {
	if n.up && (n.s.level == wal.Synced || n.s.spare()) {
		n.s.stats.cuts++
		n.crash(true)
	}
}

func (s *sim) powerCutOfAll() {
	if s.level != wal.Synced {
		return // they would all be forgetful: no promise of the level holds then
	}
	for _, n := range s.nodes {
		if n.up {
			s.stats.cuts++
			n.crash(true)
		}
	}
}

// partition cuts links for a while: all of a node, one way, a bridge, or a random set.
func (s *sim) partition(n *node) {
	kind := s.rng.IntN(4)
	for _, o := range s.nodes {
		if o == n {
			continue
		}
		switch kind {
		case 0:
			s.cut[[2]int{n.i, o.i}], s.cut[[2]int{o.i, n.i}] = true, true
		case 1:
			s.cut[[2]int{n.i, o.i}] = true
		case 2:
			s.cut[[2]int{o.i, n.i}] = true
		case 3: // n is the bridge
			for _, p := range s.nodes {
				if p != n && p != o {
					s.cut[[2]int{p.i, o.i}] = true
				}
			}
		}
	}
	s.say("partition of kind %d around %v", kind, n)
	s.after(pick(s.rng, 200*time.Millisecond, 6*time.Second), func() { clear(s.cut) })
}

// breakDisk has the disk fail: a sync, a write, or making a file.
func (n *node) breakDisk() {
	s := n.s
	if !n.up || n.m == nil || s.level == wal.Written && !s.spare() {
		return
	}
	n.doomed = n.doomed || s.level == wal.Written
	op := one(s.rng, vfs.OpSync, vfs.OpWrite, vfs.OpCreate|vfs.OpPreallocate, vfs.OpSyncDir)
	n.faulty.SetRules(vfs.Rule{Ops: op, Path: "*.wal", Skip: s.rng.IntN(3), Times: 1 + s.rng.IntN(3), Err: one[error](s.rng, syscall.EIO, syscall.ENOSPC), Short: s.rng.IntN(40)})
	s.say("the disk of %v will fail at %v", n, op)
}

// oldCopy puts a folder in the place of a node's that was copied before its last start.
func (n *node) oldCopy() {
	s := n.s
	if n.up && len(n.copies) > 0 && s.spare() {
		copied := n.copies[s.rng.IntN(len(n.copies))]
		b, err := vfs.ReadFile(copied, simPaper)
		must(err)
		for _, o := range s.nodes {
			if o != n && o.paper.Lives[n.paper.Folder].Nonce != n.paper.Life.Nonce {
				return // who has not met this life cannot tell it from a copy
			}
			if !s.rebase && paperOf(b).Start.Applied.Index < o.paper.Start.Back.Index {
				return // it would need a checkpoint of another node
			}
		}
		s.say("%v gets an old copy of its folder", n)
		n.crash(false)
		n.disk, n.copies = copied.KillClone(), nil
		n.paper = n.load()
		n.doomed, n.copied = true, true
		return
	}
}

// flip changes a bit of an entry that a mark vouches for, while the node is down.
func (n *node) flip() {
	s := n.s
	if !n.up || !s.spare() {
		return
	}
	n.crash(false)
	var r Recovery
	report, err := wal.Read(n.disk, simLog, n.paper.need(), r.Replay)
	must(err)
	all := r.groups[simGroup]
	if len(all) == 0 {
		return
	}
	f := all[s.rng.IntN(len(all))]
	if !report.Covered(f.at) {
		return
	}
	names, err := n.disk.List(simLog)
	must(err)
	for _, name := range names {
		if name != walName(f.at.File) {
			continue
		}
		file, err := n.disk.OpenWrite(simLog + "/" + name)
		must(err)
		at := f.at.Offset + s.rng.Int64N(int64(f.bytes)+13)
		b := make([]byte, 1)
		_, err = file.ReadAt(b, at)
		must(err)
		_, err = file.WriteAt([]byte{b[0] ^ 1<<s.rng.IntN(8)}, at)
		must(err)
		must(file.Sync())
		must(file.Close())
		s.stats.flips++
		n.doomed = true
		s.say("a bit of %v's log is flipped at %v", n, f.at)
	}
}

// wipe empties a node's folder. What is there then is another node, which has nothing.
func (n *node) wipe() {
	s := n.s
	if !n.up || s.trim || !s.spare() {
		return
	}
	for _, o := range s.nodes {
		if o.paper.Start.Back.Index > s.truth.founded.Index {
			return // it would need a snapshot
		}
	}
	s.stats.wiped++
	old := n.paper.Start.Replica
	n.crash(false)
	n.disk, n.copies = vfs.NewMem(), nil
	n.found(old)
	n.paper.Start.Forgetful = "the folder is empty" // it has no id of its own yet, and stands for nobody
	n.doomed = true
	must(n.save(n.disk))
	s.say("%v is wiped", n)
}

func (s *sim) handOver(to *node) {
	l := s.leader()
	if l == nil || to.m == nil || to == l {
		return
	}
	s.truth.handed = max(s.truth.handed, s.now)
	id := to.m.id
	if s.rng.IntN(2) == 0 { // as Group.Yield
		id, _ = l.m.successor()
	}
	if err := l.m.hand(id); err == nil {
		s.stats.transfers++
		s.say("%v hands the lead to replica %d", l, id)
		l.m.advance(l.clock())
		l.settle()
	}
}

// stopCleanly ends the process as an operator does.
func (n *node) stopCleanly() {
	if n.m == nil || n.log.Err() != nil || n.s.level == wal.Written && !n.s.spare() {
		return
	}
	if _, _, err := n.m.log.remember(); err != nil {
		return
	}
	err := n.log.Close()
	n.paper.Clean = err == nil
	if err != nil || n.save(n.faulty) != nil {
		n.paper = n.load()
	}
	n.s.say("%v stops: %v", n, err)
	n.up, n.m = false, nil
	n.life++
	if n.s.rng.IntN(2) == 0 {
		n.boot++
		n.doomed = n.doomed || n.s.level == wal.Written && !n.paper.Clean
		n.disk = n.disk.CrashClone(n.s.rng) // the machine goes down after it
	}
	n.s.after(pick(n.s.rng, 10*time.Millisecond, 1500*time.Millisecond), func() {
		if !n.up {
			n.start()
		}
	})
}
