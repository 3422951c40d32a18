package replica

import (
	"container/heap"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	mrand "math/rand/v2"
	"slices"
	"strings"
	"time"

	"go.etcd.io/raft/v3"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/vfs"
	"brokerd/diskqueue/wal"
)

// The simulator: replicas of one group as machines, each with a log on a file system in memory, a network and disks
// that do what a seed says, in one goroutine and virtual time. What it varies is in shape; what goes wrong is in
// simfault_test.go; what must hold is in simcheck_test.go.
//
// What it holds constant, so that nothing is known of it from here: who comes back with an empty folder finds the log of
// others from its beginning on; bytes are not changed on the way; a read of the disk never fails, though
// what it reads may be damaged; a copy of a folder is from before its last start, which all others have met; the number of nodes and the level
// are those of the run; what the log writes by itself it writes in one goroutine with the rest; a node has one group, so that
// none holds another one up; checkpoints of other nodes are there at once and whole.

// shape is what a seed varies of a run as a whole.
type shape struct {
	nodes    int
	level    wal.Level
	faults   time.Duration // for how long there are any
	apart    time.Duration // two of them, at most
	kinds    []int         // which kinds there are, by their number in fault; nil: all
	options  Options
	fileSize int64
	records  [2]int // sizes of payloads
	every    time.Duration
	delay    [2]time.Duration // of messages
	disk     [2]time.Duration // of writes
	loss     float64          // of a message
	twice    float64
	fifo     bool // messages of a link keep their order
	drift    float64
	trim     bool // checkpoints shorten the log; nobody loses all that he has then
	rebase   bool // they do so whatever others have: who lacks it takes a checkpoint of another node
	transfer bool
	misses   bool // leaders are taken for dead, rightly or not
	tick     [2]time.Duration
	clocked  bool // ticks are told as a Clock does, and before all else that is done
	uneven   bool // each node has an election timeout of its own, and another one after some starts
	slow     bool // one node's disk is
	halts    bool // processes are paused in the midst of what they do, too
}

// pick returns a number between two.
func pick[T ~int | ~int64](rng *mrand.Rand, low, high T) T {
	return low + T(rng.Int64N(int64(high)-int64(low)+1))
}

func one[T any](rng *mrand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

func shapeOf(rng *mrand.Rand) shape {
	ms := time.Millisecond
	sh := shape{
		nodes: one(rng, 3, 3, 3, 3, 5, 1, 2, 4), level: one(rng, wal.Synced, wal.Synced, wal.Written), faults: pick(rng, 3*time.Second, 9*time.Second), apart: one(rng, 300*ms, 1500*ms, 3000*ms),
		fileSize: one[int64](rng, 1<<10, 4<<10, 64<<10), records: one(rng, [2]int{1, 40}, [2]int{1, 2000}, [2]int{0, 0}),
		every: one(rng, 20*ms, 50*ms, 200*ms), delay: one(rng, [2]time.Duration{ms / 10, ms}, [2]time.Duration{ms, 30 * ms}, [2]time.Duration{ms / 10, 300 * ms}),
		disk: one(rng, [2]time.Duration{ms / 10, ms}, [2]time.Duration{ms, 60 * ms}, [2]time.Duration{0, 500 * ms}),
		loss: one(rng, 0, 0, 0.02, 0.2), twice: one(rng, 0, 0, 0.05), fifo: rng.IntN(2) == 0, drift: one(rng, 0, 0.001, 0.02), trim: rng.IntN(2) == 0,
		transfer: rng.IntN(2) == 0, tick: [2]time.Duration{50 * ms, one(rng, 51*ms, 60*ms, 120*ms)},
	}
	sh.options = Options{Level: sh.level, MaxEntry: one(rng, 64, 500, 1<<20), Uncommitted: one(rng, 300, 4000, 32<<20), InflightMessages: one(rng, 1, 4, 256),
		InflightBytes: one(rng, 0, 3<<20), Memory: one(rng, 1, 300, 4<<20), Budget: NewBudget(one[int64](rng, 1, 1<<20)), Gather: one(rng, ms, 20*ms)}
	if !sh.fifo { // 256 entries that overtake each other on one link, which links do not let them, are a storm of refusals
		sh.options.InflightMessages = min(sh.options.InflightMessages, 4)
	}
	sh.rebase = sh.trim && rng.IntN(2) == 0
	sh.options.TellLate = rng.IntN(2) == 0
	sh.misses = rng.IntN(3) == 0
	sh.clocked, sh.uneven, sh.slow = rng.IntN(2) == 0, rng.IntN(3) == 0, rng.IntN(4) == 0
	sh.halts = rng.IntN(3) == 0
	return sh
}

// sim is one run.
type sim struct {
	shape
	rng    *mrand.Rand
	now    time.Duration
	queue  events
	seq    uint64
	nodes  []*node
	cut    map[[2]int]bool // links that lose everything, by from and to
	links  map[[4]int]bool // connections, by two nodes and their processes
	broken map[[2]int]int  // how often those of two were broken, so that what was on its way is lost
	last   map[[2]int]time.Duration
	ids    uint64 // the last id of a replica that was given away
	truth  truth
	over   bool          // faults are
	healed time.Duration // when they were
	before int           // records acknowledged until then
	trace  []string
	fail   string
	stats  counts
}

// counts say how much a run has seen, so that a test can tell that it tests something.
type counts struct {
	acked, committed, reigns, crashes, cuts, failures, forgetful, rejoined, transfers, passed, reads, oldCopies, flips, wiped, rebased, checked, leased, engine, confirmed, paused, halted int
}

type timed struct {
	at  time.Duration
	seq uint64
	do  func()
}

type events []timed

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(timed)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	old[len(old)-1] = timed{}
	*e = old[:len(old)-1]
	return x
}

func (s *sim) after(d time.Duration, do func()) {
	s.seq++
	heap.Push(&s.queue, timed{s.now + d, s.seq, do})
}

func (s *sim) say(format string, args ...any) {
	s.trace = append(s.trace, fmt.Sprintf("%9.3fs ", s.now.Seconds())+fmt.Sprintf(format, args...))
	if len(s.trace) > 400 {
		s.trace = s.trace[200:]
	}
}

// wrong notes the first thing that must not be.
func (s *sim) wrong(format string, args ...any) {
	if s.fail == "" {
		s.fail = fmt.Sprintf(format, args...)
		s.say("WRONG: %s", s.fail)
	}
}

// paper is what a node has written down beside its log, as a manifest would.
type paper struct {
	Folder string
	Life   Life
	Lives  Lives
	Start  Start
	Hash   uint64 // of the state at Start.Applied
	Clean  bool
	Boot   int
	Vowed  int // ticks: the longest election timeout that it had

	Gone     []uint64 // what a start has found of the log, for the next one
	Headless []wal.Link
}

// need returns what a start must find of the log.
func (p *paper) need() wal.Need {
	return wal.Need{From: p.Start.From, Gone: p.Gone, Headless: p.Headless}
}

// node is one node: a disk that stays, and a process that may be there.
type node struct {
	s      *sim
	i      int
	disk   *vfs.Mem
	boot   int
	paper  paper
	copies []*vfs.Mem // old ones of its folder, each from before a later start

	timeout int           // in ticks; 0: the usual one
	slower  time.Duration // how many times as slow its disk is

	// Of the process.
	life    int // counts them, so that what belongs to an earlier one is dropped
	up      bool
	paused  time.Duration    // it does nothing before
	wakes   [3]time.Duration // by kind of what it does, how much later it goes on with that
	stood   time.Duration    // for how long its clock stood still since it began
	stops   bool             // it does so while it is paused
	began   time.Duration
	speed   float64
	faulty  *vfs.Faulty
	log     *wal.Log
	m       *machine
	history *History
	writes  []*write
	busy    bool
	hash    uint64 // of all records up to m.applied.Record
	points  []struct {
		at   Point
		hash uint64
	}
	appended map[uint64]string // what it appended in this reign, by number
	copied   bool              // its folder is an old copy, and nobody has told it so
	doomed   bool              // it will find that it has forgotten something, and has not come back from that
	pending  []uint64          // ids under which it may rejoin, if one was agreed to
}

func (n *node) String() string { return fmt.Sprintf("node %d", n.i) }

// clock is what the node's own clock says since it began.
func (n *node) clock() time.Duration {
	return time.Second + time.Duration(float64(n.s.now-n.began-n.stood)*n.speed)
}

// pass tells the machine of ticks, as who has the turn does before anything else.
func (n *node) pass() {
	if n.s.clocked && n.m != nil && n.m.err == nil {
		n.m.pass(n.clock())
	}
}

// newSim makes a run of a seed, all nodes up, the group founded.
func newSim(seed uint64, change func(*shape)) *sim {
	rng := mrand.New(mrand.NewPCG(seed, 0x5eed))
	rand.Reader = zeroReader{rng} // the engine's election timeouts
	s := &sim{shape: shapeOf(rng), rng: rng, cut: map[[2]int]bool{}, links: map[[4]int]bool{}, broken: map[[2]int]int{}, last: map[[2]int]time.Duration{}}
	if change != nil {
		change(&s.shape)
	}
	s.truth.begin()
	at := Point{Index: 1, Term: 1}
	for i := range s.shape.nodes {
		s.ids++
		at.Members.Voters = append(at.Members.Voters, uint64(i+1))
	}
	s.truth.founded, s.truth.members = at, at.Members
	for i := range s.shape.nodes {
		n := &node{s: s, i: i, disk: vfs.NewMem(), slower: 1}
		if s.uneven {
			n.timeout = one(rng, leastTicks, 10, 16, 40)
		}
		if s.slow && i == 0 {
			n.slower = 20
		}
		s.nodes = append(s.nodes, n)
		n.found(uint64(i + 1))
		n.start()
	}
	s.after(0, s.publish)
	s.after(0, s.control)
	return s
}

// zeroReader gives the seed's numbers to whoever wants random bytes.
type zeroReader struct{ rng *mrand.Rand }

func (r zeroReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r.rng.Uint32())
	}
	return len(p), nil
}

const (
	simGroup = 7
	simLog   = "/n/log"
	simPaper = "/n/paper"
)

// found begins the group's log in an empty folder.
func (n *node) found(replica uint64) {
	n.paper = paper{Folder: fmt.Sprintf("folder-%d-%x", n.i, n.s.rng.Uint64()), Lives: Lives{}, Hash: fnvBasis}
	must(n.disk.MkdirAll(simLog))
	log, _, err := wal.Open(n.walOptions(n.disk), func(wal.Entry) error { return nil })
	must(err)
	n.paper.Start, err = Begin(log, simGroup, replica, 1, n.s.truth.founded)
	must(err)
	must(log.Close())
	must(n.save(n.disk))
}

const fnvBasis = 14695981039346656037

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func (n *node) walOptions(fs vfs.FS) wal.Options {
	return wal.Options{FS: fs, Dir: simLog, FileSize: n.s.fileSize, Need: n.paper.need()}
}

// save replaces the node's paper. Until it returns nil either may be there.
func (n *node) save(fs vfs.FS) error {
	b, err := json.Marshal(n.paper)
	must(err)
	tmp := simPaper + ".tmp"
	_ = fs.Remove(tmp)
	f, err := fs.Create(tmp)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := fs.Rename(tmp, simPaper); err != nil {
		return err
	}
	return fs.SyncDir("/n")
}

func (n *node) load() paper {
	b, err := vfs.ReadFile(n.disk, simPaper)
	must(err)
	var p paper
	must(json.Unmarshal(b, &p))
	if p.Lives == nil {
		p.Lives = Lives{}
	}
	return p
}

// start starts the node's process.
func (n *node) start() {
	s := n.s
	n.life++
	n.up, n.busy, n.writes, n.m, n.history, n.appended, n.points = true, false, nil, nil, nil, nil, nil
	n.began, n.speed, n.paused, n.stood, n.wakes = s.now, 1+s.drift*(2*s.rng.Float64()-1), 0, 0, [3]time.Duration{}
	n.paper = n.load()
	n.faulty = vfs.NewFaulty(n.disk)
	crashed := !n.paper.Clean && n.paper.Boot != n.boot
	n.paper.Life = n.paper.Life.Next(s.rng.Uint64())
	n.paper.Clean, n.paper.Boot = false, n.boot
	if s.uneven && s.rng.IntN(2) == 0 {
		n.timeout = one(s.rng, leastTicks, 10, 16, 40)
	}
	n.paper.Vowed = max(n.paper.Vowed, n.timeout)
	must(n.save(n.faulty))
	var r Recovery
	log, report, err := wal.Open(n.walOptions(n.faulty), r.Replay)
	if err != nil {
		s.wrong("%v: the log cannot be opened: %v", n, err)
		return
	}
	n.log = log
	if len(report.Gone)+len(n.paper.Gone)+len(report.Headless)+len(n.paper.Headless) > 0 {
		n.paper.Gone, n.paper.Headless = report.Gone, report.Headless
		must(n.save(n.faulty))
	}
	start := n.paper.Start
	start.Crashed = crashed
	n.history = r.History(start, s.level, &report)
	s.stats.passed += n.history.Passed
	s.say("%v starts as replica %d, entries to %d, commit %d, applied %d: %v", n, start.Replica, n.history.Last(), n.history.commit, start.Applied.Index, n.history.Check())
	n.begin()
	s.after(pick(s.rng, 0, s.tick[1]), n.own(byTime, n.tick))
	s.after(20*time.Millisecond, n.own(byTime, n.flusher))
}

// counted counts what is read from a log.
type counted struct {
	Log
	reads *int
}

func (c counted) ReadAt(at wal.Offset, guess int, dst []byte) (byte, []byte, error) {
	*c.reads++
	return c.Log.ReadAt(at, guess, dst)
}

// begin makes the machine of what the node's start has found, unless it has forgotten something.
func (n *node) begin() {
	s := n.s
	switch err := n.history.Check(); {
	case errors.Is(err, ErrForgetful):
		n.forget(err)
		return
	case err != nil:
		s.say("%v: %v", n, err)
		return
	}
	o := s.shape.options
	o.Log, o.ElectionTicks, o.QuietTicks = counted{n.log, &s.stats.reads}, n.timeout, n.paper.Vowed
	m, err := newMachine(o, n.history)
	if err != nil {
		s.wrong("%v: %v", n, err)
		return
	}
	n.m, n.hash, n.doomed = m, n.paper.Hash, n.doomed && n.copied
	n.points = nil
	n.settle()
}

// forget notes for good that the replica has forgotten something.
func (n *node) forget(err error) {
	s := n.s
	n.doomed = true
	if n.paper.Start.Forgetful == "" {
		s.stats.forgetful++
		n.paper.Start.Forgetful = err.Error()
		if err := n.save(n.faulty); err != nil {
			n.crash(false)
			return
		}
	}
	n.m = nil
	s.say("%v: %v", n, err)
}

// What has a process do something: one that was paused may go on with either first.
const (
	byTime = iota
	byMessage
	byDisk
)

// own has something done only while this process lives, and is not paused.
func (n *node) own(by int, do func()) func() {
	life := n.life
	var run func()
	run = func() {
		if !n.up || n.life != life {
			return
		}
		if until := n.paused + n.wakes[by]; until > n.s.now {
			n.s.after(until-n.s.now, run)
			return
		}
		do()
	}
	return run
}

func (n *node) tick() {
	life := n.life
	for _, o := range n.s.nodes { // links are kept to all, whether there is something to say or not
		if o == n {
			continue
		}
		if n.s.connected(n, o); n.life != life {
			return
		}
	}
	if n.m != nil {
		if n.s.clocked {
			n.m.pass(n.clock())
		} else {
			n.m.tick(n.clock())
		}
		n.m.press(n.clock())
		n.settle()
	}
	next := pick(n.s.rng, n.s.tick[0], n.s.tick[1])
	if two := beatTicks * n.s.tick[0]; n.s.clocked {
		next += two - n.s.tick[0] - n.clock()%two // late by as much
	}
	n.s.after(next, n.own(byTime, n.tick))
}

// flusher writes, as a log does, what nobody waits for, and syncs now and then.
func (n *node) flusher() {
	s := n.s
	if n.log.Err() == nil && s.rng.IntN(3) == 0 { // the log has records of others as well
		_, _ = n.log.Append(byte(journal.KindPublish), make([]byte, pick(s.rng, 0, 300)))
	}
	if n.m != nil && n.m.err == nil && n.log.Err() == nil && n.m.log.safeAt != (wal.Offset{}) {
		level := one(s.rng, wal.Written, wal.Written, wal.Synced)
		if at, ok := n.newest(); ok {
			_ = n.log.Commit(at, level) // who waits for it is told by his own commit
		}
	}
	s.after(pick(s.rng, 15*time.Millisecond, 60*time.Millisecond), n.own(byTime, n.flusher))
}

func (n *node) newest() (wal.Offset, bool) {
	for _, w := range slices.Backward(n.m.waiting) {
		if w.appends {
			return w.at, true
		}
	}
	return n.m.log.safeAt, n.m.log.safeAt != (wal.Offset{})
}

// settle does what the machine wants done.
func (n *node) settle() {
	if n.paused > n.s.now { // in the midst of something
		n.s.after(n.paused-n.s.now, n.own(byTime, n.settle))
		return
	}
	for n.m != nil {
		o := n.m.output
		n.m.output = output{}
		if len(o.send)+len(o.writes)+len(o.tell) == 0 {
			break
		}
		life := n.life
		for i, msg := range o.send {
			if n.s.send(n, msg); n.life != life || n.m == nil { // it was told that it is an old copy, or could not write down whom it met
				return
			}
			if n.s.halts && !n.s.over && n.s.rng.IntN(300) == 0 && n.pause() { // what is left is done when it goes on
				n.s.stats.halted++
				o.send = o.send[i+1:]
				n.m.output = o
				n.settle()
				return
			}
		}
		n.writes = append(n.writes, o.writes...)
		for _, e := range o.tell {
			n.told(e)
		}
	}
	if n.m != nil {
		n.s.lookAt(n)
	}
	n.pump()
}

// pump waits for the oldest write, for as long as this disk takes. Those behind it that appended nothing need no disk.
func (n *node) pump() {
	if n.busy || len(n.writes) == 0 {
		return
	}
	n.busy = true
	w := n.writes[0]
	n.writes = n.writes[1:]
	n.s.after(n.slower*pick(n.s.rng, n.s.disk[0], n.s.disk[1]), n.own(byDisk, func() {
		err := error(nil)
		if w.appends {
			err = n.log.Commit(w.at, w.level)
		}
		n.done(w, err)
		for n.m != nil && len(n.writes) > 0 && !n.writes[0].appends {
			w, n.writes = n.writes[0], n.writes[1:]
			n.done(w, nil)
		}
		n.busy = false
		n.pump()
	}))
}

// done tells the machine what became of a write.
func (n *node) done(w *write, err error) {
	if n.m == nil {
		return
	}
	if n.pass(); err != nil {
		n.s.say("%v: %v", n, err)
		n.m.failed(err)
	} else {
		n.m.wrote(w, n.clock())
	}
	n.settle()
}

// told takes an event of the machine.
func (n *node) told(e event) {
	s := n.s
	switch {
	case e.committed != nil:
		n.committed(e.committed)
	case e.lead != 0:
		s.stats.reigns++
		n.appended = map[uint64]string{}
		s.truth.lead(s, n, e.lead, e.next)
	case e.lost != 0:
		s.say("%v has lost the lead of term %d", n, e.lost)
		n.appended = nil
	case e.changed != nil:
		e.changed.done(e.changed.err)
	case e.read != nil:
		e.read.done(e.read.err)
	case e.stopped != nil:
		n.stopped(e.stopped)
	}
}

// stopped has the machine begun again when its log can be written.
func (n *node) stopped(err error) {
	s := n.s
	s.say("%v stops: %v", n, err)
	switch {
	case errors.Is(err, ErrForgetful):
		n.rest(err)
		return
	case errors.Is(err, ErrRemoved):
		return
	case errors.Is(err, ErrEngine):
		s.stats.engine++
		s.wrong("%v: %v", n, err)
		return
	case errors.Is(err, ErrDrift):
		s.wrong("%v: %v", n, err)
		return
	}
	s.stats.failures++
	s.after(pick(s.rng, 20*time.Millisecond, 700*time.Millisecond), n.own(byTime, n.mend))
}

func (n *node) mend() {
	s := n.s
	n.faulty.SetRules()
	if err := n.log.Recover(); err != nil {
		s.wrong("%v: the log cannot be recovered: %v", n, err)
		return
	}
	if n.m == nil {
		return
	}
	switch err := n.m.restart(); {
	case errors.Is(err, ErrForgetful):
		n.rest(err)
	case err != nil:
		s.wrong("%v: restart: %v", n, err)
	default:
		n.doomed = n.doomed && n.copied
		n.settle()
	}
}

// rest has a process begin again, as one that has found that it has forgotten something.
func (n *node) rest(err error) {
	n.forget(err)
	if n.up {
		n.crash(false)
	}
}

// crash ends the process, and with power the machine: what was not synced may be lost.
func (n *node) crash(power bool) {
	s := n.s
	if n.m != nil && n.m.err == nil && !n.doomed && len(n.copies) < 3 { // older than the next start
		n.copies = append(n.copies, n.disk.KillClone())
	}
	n.up, n.m = false, nil
	n.life++
	_ = n.log.Abandon()
	if power {
		n.boot++
		n.doomed = n.doomed || s.level == wal.Written
		n.disk = n.disk.CrashClone(s.rng)
	} else {
		n.disk = n.disk.KillClone()
	}
	s.say("%v is down, power lost: %v", n, power)
	s.after(pick(s.rng, 10*time.Millisecond, 1500*time.Millisecond), func() {
		if !n.up {
			n.start()
		}
	})
}

// nodeOf returns who has a replica's id now.
func (s *sim) nodeOf(id uint64) *node {
	for _, n := range s.nodes {
		if n.up && n.paper.Start.Replica == id && n.m != nil {
			return n
		}
	}
	return nil
}

// leader returns the node whose reign is the newest.
func (s *sim) leader() *node {
	var best *node
	for _, n := range s.nodes {
		if n.up && n.m != nil && n.m.reign != 0 && n.paused <= s.now && (best == nil || n.m.reign > best.m.reign) {
			best = n
		}
	}
	return best
}

// publish appends records where there is a leader, at more than one if more than one believes that it leads.
func (s *sim) publish() {
	for _, n := range s.nodes {
		if s.over && s.now > s.healed+2*time.Second && s.stats.acked > s.before {
			return
		}
		if !n.up || n.m == nil || n.m.reign == 0 || n.paused > s.now || n.m.batch.size() > s.shape.options.Uncommitted {
			continue
		}
		if n.pass(); n.m.reign == 0 {
			n.settle()
			continue
		}
		for range pick(s.rng, 1, 4) {
			payload := fmt.Sprintf("%d by %d in %d ", s.truth.published, n.i, n.m.reign)
			payload += strings.Repeat("x", pick(s.rng, s.records[0], s.records[1]))
			s.truth.published++
			number, err := n.m.batch.append(n.clock(), n.m.reign, journal.KindPublish, []byte(payload))
			if errors.Is(err, ErrBusy) {
				break
			}
			if err != nil {
				s.wrong("%v: append in its own reign: %v", n, err)
				return
			}
			n.appended[number] = payload
		}
		if s.rng.IntN(4) > 0 {
			n.m.batch.want()
		}
		n.confirm()
		n.m.advance(n.clock())
		n.settle()
	}
	s.after(pick(s.rng, 1, 2*s.every), s.publish)
}

// confirm has a node that believes that it leads make sure of that. What it was told by then is all that anybody had acknowledged when it asked.
func (n *node) confirm() {
	s, before := n.s, n.s.truth.newest
	n.m.confirm(n.m.reign, func(err error) {
		if err != nil {
			return
		}
		if s.stats.confirmed++; n.m.applied.Record < before {
			s.wrong("%v is certain that it leads, and knows of record %d, while %d was acknowledged before it asked", n, n.m.applied.Record, before)
		}
	})
}

// run lets time pass.
func (s *sim) run(until time.Duration) {
	for s.fail == "" && len(s.queue) > 0 && s.queue[0].at <= until {
		e := heap.Pop(&s.queue).(timed)
		s.now = e.at
		e.do()
	}
	s.now = max(s.now, until)
}

func hashOf(before uint64, number uint64, payload []byte) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %d ", before, number)
	h.Write(payload)
	return h.Sum64()
}

var _ raft.Storage = (*storage)(nil)
