package storage

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/cmd/leaktest"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/manifest"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

func TestMain(m *testing.M) {
	flag.Parse()
	leaktest.Main(m)
}

var (
	crashRuns  = flag.Int("crash-runs", usualCrashes, "seeded runs of TestCrash")
	crashSeed  = flag.Uint64("crash-seed", 0, "the one run of TestCrash to repeat")
	crashFrom  = flag.Uint64("crash-from", 1, "first seed of TestCrash")
	crashTrace = flag.Int("crash-trace", 300, "lines that TestCrash shows of a run that fails")
	crashHard  = flag.Bool("crash-hard", false, "TestCrash has the disk fail most of the time, few deliveries allowed, and much read again")
	crashClock = flag.Bool("crash-clocks", false, "each life of TestCrash has a clock of its own, behind or ahead of the one before")
	crashLog   = flag.Bool("crash-log", false, "show what the engine logs in TestCrash")
)

// crash is how a life ends: the clone that is taken at some operation of the file system, and what was so then.
type crash struct {
	mu    sync.Mutex
	left  int // operations until it; negative: at the end of the life
	power *rand.Rand
	clone *vfs.Mem
	at    int64 // event
	safe  int64 // what had ended then is certain
}

func (c *crash) done() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.clone != nil
}

// armed reports whether a crash is to come.
func (c *crash) armed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.left >= 0
}

// tick counts an operation of the file system. Of publishes that are made at once others go on before it is done, as they do while a disk works.
func (n *node) tick(vfs.Op, string) {
	for i := 0; i < 8 && n.atOnce.Load(); i++ {
		runtime.Gosched()
	}
	c := &n.crash
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clone != nil || c.left < 0 {
		return
	}
	if c.left--; c.left < 0 {
		n.cloneLocked()
	}
}

func (n *node) cloneLocked() {
	c := &n.crash
	c.at = n.events.Load()
	if c.power != nil {
		c.safe, c.clone = n.synced.Load(), n.fs.CrashClone(c.power)
		return
	}
	c.safe, c.clone = n.written.Load(), n.fs.KillClone()
}

// setFaults makes the file system fail for a while, or heals it.
func (n *node) setFaults() {
	switch k := n.rng.IntN(12); {
	case k < 4:
		n.rules()
		n.fs.SetLimit(0)
		n.openFolders()
		n.note("the disk heals")
	case k == 4 && n.fills:
		n.fill(60 << 10)
	case k == 5:
		n.closeFolder()
	default:
		n.rules(n.randomRule())
	}
}

// faultyOps are the kinds of operations that fail: one at a time, or all that change something.
var faultyOps = []vfs.Op{vfs.OpWrite, vfs.OpSync, vfs.OpSyncDir, vfs.OpCreate, vfs.OpRename, vfs.OpMkdir, vfs.OpPreallocate, vfs.OpRemove,
	vfs.OpOpenWrite, vfs.OpLink, vfs.OpTruncate, vfs.OpFree, vfs.OpOpen | vfs.OpRead, vfs.OpRead, vfs.OpOpen, vfs.OpList, vfs.OpSize, vfs.OpForget, vfs.OpChange,
	vfs.OpStat, vfs.OpLinks, vfs.OpClose}

func (n *node) randomRule() vfs.Rule {
	rule := vfs.Rule{Ops: faultyOps[n.rng.IntN(len(faultyOps))], Skip: n.rng.IntN(20), Times: 1 + n.rng.IntN(10),
		Err: diskErrors[n.rng.IntN(len(diskErrors))], Short: n.rng.IntN(40), Done: n.rng.IntN(3) == 0, Clean: n.rng.IntN(2) == 0}
	if n.rng.IntN(8) == 0 { // once: what is wrong twice is damage
		rule = vfs.Rule{Ops: vfs.OpRead, Skip: n.rng.IntN(20), Times: 1, Flip: true}
	}
	n.note("the disk fails: %+v", rule)
	return rule
}

// options are those of a start on the folder as it is.
func (n *node) options() Options {
	log := slog.New(slog.DiscardHandler)
	if *crashLog {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	fs := vfs.FS(n.fs)
	if n.disk != nil {
		fs = n.disk
	}
	return Options{FS: fs, Dir: "data", SyncEvery: cmp.Or(n.sizes.syncEvery, 40), SyncTimeout: 2 * time.Second, Log: log,
		LogFileSize: cmp.Or(n.sizes.log, 8<<10), SegmentSize: cmp.Or(n.sizes.segment, 8<<10),
		CheckpointBytes: cmp.Or(n.sizes.checkpoint, 12<<10), Prepare: n.sizes.prepare, AcceptLoss: n.accept, Listed: n.listed, Groups: n.groups,
		MinFreeSpace: n.free, Reserve: n.reserve}
}

// diskErrors are what a disk, or the system, says when it cannot.
var diskErrors = []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO, syscall.EMFILE, syscall.ENOMEM, syscall.ESTALE,
	syscall.EACCES, syscall.EINTR, syscall.ETIMEDOUT}

// sizes are what a start may say otherwise than the one before. Zeros: as newNode's.
type sizes struct {
	log, segment, syncEvery int64
	checkpoint              uint64
	prepare                 bool
}

func (n *node) anySizes() sizes {
	return sizes{log: 4 << 10 << n.rng.IntN(4), segment: 4 << 10 << n.rng.IntN(4), syncEvery: 1 + n.rng.Int64N(80),
		checkpoint: 6 << 10 << n.rng.IntN(4), prepare: n.rng.IntN(2) == 0}
}

// start opens the folder as it is, under a name and with levels of its own. A disk that fails may need a second attempt; one that is full, or on which
// nothing may be written, need not. The crash that ends this life may come in the midst of it.
func (n *node) start() {
	n.disk = vfs.NewFaulty(n.fs)
	n.reborn()
	fails := n.beset()
	// What was only written to the system is synced by the start, or, when that fails, soon behind it: before that a power cut may take it.
	early := n.crash.power == nil || !n.faults && !n.guarded && !n.killed
	if n.crash.armed() && early {
		n.disk.Observe(n.tick)
	}
	recovery, err := n.open()
	if err != nil && fails {
		n.note("no start on a disk that fails: %v", err)
		n.rules()
		recovery, err = n.open()
	}
	if err != nil {
		n.fail("opening: %v", err)
	}
	n.rules()
	if wrong := n.wrong.Load(); wrong > 0 {
		n.fail("%d channels had sums that did not add up", wrong)
	}
	for id := range recovery.State.Topics {
		if missing := recovery.Missing(id); len(missing) > 0 && !n.faults && !maps.Equal(missing, n.missed[id]) {
			n.fail("%v messages of topic %d are missing", missing, id)
		}
	}
	n.missed = map[uint32]map[string]int{} // until there is a checkpoint a start finds the same again
	for id := range recovery.State.Topics {
		n.missed[id] = recovery.Missing(id)
	}
	n.checkSums()
	if n.keeps != nil {
		if err := n.keeps(n.k); err != nil {
			n.fail("reading the group: %v", err)
		}
	}
	n.r.Start()
	n.k.Start(n.r)
	if n.most == anyLimit {
		n.limit(n.anyMost())
	}
	n.dead()
	n.subs, n.first, n.turns = nil, map[string]int{}, nil
	n.written.Store(0)
	n.synced.Store(0)
	n.checkKept()
	if n.faults || n.guarded { // what the disk has refused is made up for
		time.Sleep(time.Second)
		synctest.Wait()
	}
	if !early {
		n.makeUp()
	}
	if n.crash.armed() && !early {
		n.disk.Observe(n.tick)
	}
	n.killed = n.crash.power == nil
}

// makeUp sees to a disk that has no room, or no way, for what a start is to make up for: until it has, a power cut may take what was there before.
func (n *node) makeUp() {
	if n.k.Journal().Gap() == nil {
		return
	}
	n.note("the log has lost records: the disk gets room")
	n.fs.SetLimit(0)
	n.openFolders()
	time.Sleep(time.Second)
	synctest.Wait()
	if err := n.k.Journal().Gap(); err != nil {
		n.fail("a start on a disk that is well again: %v", err)
	}
}

// open opens the folder and makes its topics. After an error nothing is open.
func (n *node) open() (*topic.Recovery, error) {
	k, recovery, err := Open(n.options())
	if err != nil {
		return nil, err
	}
	n.k = k
	n.ids.n, n.ids.keep = max(n.ids.n, k.IDs()), k.KeepIDs
	n.r = topic.NewRegistry(topic.Config{NodeID: n.id, MemQueueSize: []int{0, 1, 12, 12, 200}[n.rng.IntN(5)],
		MaxMemory: n.memory, MaxMsgTimeout: time.Hour, MaxReqTimeout: time.Hour,
		Journal: k.Journal(), Segments: k.Segments(), IDs: &n.ids, Need: k.Need,
		Log:   slog.New(sums{n.options().Log.Handler(), &n.wrong, &n.damaged}),
		Level: n.levelOf})
	n.r.SetPatterns(n.orderedPatterns())
	if n.most = anyLimit; n.rng.IntN(2) == 0 {
		n.limit(n.anyMost()) // before the topics are there
	}
	if err := n.r.Recover(recovery); err != nil {
		if e := errors.Join(n.r.Close(), k.Abandon()); e != nil {
			n.note("giving the start up: %v", e)
		}
		return nil, err
	}
	return recovery, nil
}

// checkSums fails when the messages that a channel has accepted are not those that have left it and those that it has.
func (n *node) checkSums() {
	for _, t := range n.r.Topics() {
		for _, c := range t.Channels() {
			if s := c.Stats(); !s.Balanced {
				n.fail("topic %s, channel %s: the sum is wrong: %+v", t.Name(), c.Name(), s)
			}
		}
	}
}

// sums is a log that finds out when a start has to put a channel's sum right, and how often messages are told to be lost.
type sums struct {
	slog.Handler
	wrong, damaged *atomic.Int64
}

func (h sums) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "the counts of a channel did not add up" {
		h.wrong.Add(1)
	}
	if r.Message == "messages on disk are damaged and were lost" {
		h.damaged.Add(1)
	}
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h sums) Enabled(context.Context, slog.Level) bool { return true }

// stop ends the process that goes on with a disk that does not count any more.
func (n *node) stop() error {
	n.rules()
	n.fs.SetLimit(0)
	n.openFolders()
	for _, s := range n.subs {
		_ = s.Close()
	}
	n.subs = nil
	err := n.r.Close()
	if e := n.k.Close(); err == nil {
		err = e
	}
	return err
}

// live is one life: some work, and a crash in the middle of it.
func (n *node) live() {
	for range 10 + n.rng.IntN(150) {
		if n.crash.done() {
			break
		}
		n.step()
	}
	n.listed = nil
	for _, t := range n.r.Metadata().Topics {
		l := &journal.Topic{ID: t.Number, Name: t.Name, Paused: t.Paused, Options: t.Options}
		for _, c := range t.Channels {
			l.Channels = append(l.Channels, &journal.Channel{ID: c.Number, Name: c.Name, Paused: c.Paused, Options: c.Options})
		}
		n.listed = append(n.listed, l)
	}
	n.endLife(n.rng.IntN(3) == 0)
	n.droppedEarly()
	n.forget()
	n.fs = n.crash.clone
	n.fs.SetLimit(0)
	n.openFolders()
	n.usesOnlyNamed()
}

// endLife ends a life that has not crashed: as a broker ends that is told to leave, or by a crash now. What is done from then on does not count.
func (n *node) endLife(leave bool) {
	left := leave && n.leave()
	n.crash.mu.Lock()
	if n.crash.clone == nil {
		n.cloneLocked()
	}
	n.crash.mu.Unlock()
	if !left {
		_ = n.stop()
	}
}

// leave ends a life as a broker ends that is told to, unless it has crashed: in the midst of that it still may, and behind it nothing is lost.
func (n *node) leave() bool {
	if n.crash.done() {
		return false
	}
	err := n.stop()
	n.note("stopped: %v", err)
	switch {
	case err == nil && !n.crash.done():
		at := n.begin()
		n.written.Store(at)
		n.synced.Store(at)
	case err != nil && !n.faults && !n.crash.done():
		n.fail("stopping: %v", err)
	}
	return true
}

// fate is what a crash does to something that happened.
type fate int

const (
	kept fate = iota
	unknown
	lost
)

func (n *node) fate(s said) fate {
	switch {
	case s.hi <= n.crash.safe || s == settled:
		return kept
	case s.lo > n.crash.at:
		return lost
	}
	return unknown
}

// forget takes back what the crash may have taken.
func (n *node) forget() {
	c := &n.crash
	n.note("crash at %d, all is safe up to %d, power cut %v", c.at, c.safe, c.power != nil)
	for key, m := range n.messages {
		f := n.fate(m.at)
		void := m.voided
		if c.power != nil {
			void = m.voidSynced
		}
		switch {
		case f == lost || void.yes() && void.hi <= c.at:
			delete(n.messages, key)
			continue
		case m.acked && m.at.hi <= c.at && (c.power == nil || m.fsync):
			f = kept
		case !m.acked && m.at != settled:
			f = unknown
		}
		m.sure = m.sure && f == kept
		m.loose = m.loose || f == unknown // also to a channel whose deletion, before it, was lost
		m.at = settled
	}
	for key, p := range n.promises {
		if n.messages[p.m.topic+"/"+p.m.body] == nil || p.from != nil && n.fate(p.from.moved) == lost {
			delete(n.promises, key)
		}
	}
	for key, p := range n.promises {
		// A power cut may forget a pause and keep the channel that was made behind it, so that what waits moves there.
		surprise := c.power != nil && strings.HasPrefix(key, p.m.topic+"//") && !p.moved.yes() && c.at > c.safe
		if (surprise || p.moved.yes() && n.fate(p.moved) == unknown) && !p.m.loose {
			p.m.loose, p.m.anywhere = true, p.strict && p.m.sure && !n.droppedSomewhere(p.m)
			p.strict = false
		}
	}
	for _, p := range n.promises {
		n.forgetPart(p)
	}
	for key, p := range n.promises {
		own := strings.HasPrefix(key, p.m.topic+"//")
		if !own && p.m.loose && p.strict && certain(p.deliveries) == 0 { // it may come on other channels instead
			p.strict = false
			p.m.anywhere = !n.droppedSomewhere(p.m)
		}
	}
	for _, p := range n.promises {
		if p.from == nil && p.moved.yes() {
			if n.fate(p.moved) != kept {
				p.moved = said{}
			} else {
				p.moved = settled
			}
		}
	}
	for _, p := range n.promises {
		p.from = nil
	}
	for key, at := range n.sentBack {
		if c.power != nil && n.fate(at) != kept { // it may leave the one that went back, and lose the records by which the message had left its channel
			n.twice[key] = true
		}
	}
	clear(n.sentBack)
}

func (n *node) forgetPart(p *promise) {
	n.forgetRewind(p)
	p.strict = p.strict && p.m.sure
	if p.gone.yes() {
		was := p.gone == p.cancelled
		p.cancelled = said{}
		switch n.fate(p.gone) {
		case kept:
			if p.gone = settled; was {
				p.cancelled = settled
			}
		case unknown:
			p.m.cancelled = p.m.cancelled || was
			p.gone, p.strict, p.m.anywhere = said{}, false, false
		case lost:
			p.gone = said{}
		}
		p.finished = p.finished && p.gone.yes()
	}
	if p.deferred.yes() && n.fate(p.deferred) != kept {
		p.due = p.base
	}
	p.deferred = said{}
	for i, d := range p.deliveries {
		if d.yes() && n.fate(d) == kept {
			p.deliveries[i] = settled
		} else {
			p.deliveries[i] = said{} // nobody knows
		}
	}
}

// droppedSomewhere reports whether a message was finished or dropped on any channel, or may have been.
func (n *node) droppedSomewhere(m *message) bool {
	if m.perhaps {
		return true
	}
	for key, p := range n.promises {
		if p.m == m && p.gone.yes() && strings.HasPrefix(key, m.topic+"/") {
			return true
		}
	}
	return false
}

// drain delivers everything and finishes it, and then nothing that was promised may be missing.
func (n *node) drain() {
	n.note("drain")
	n.faults = false
	n.limit(0)
	for _, t := range n.r.Topics() {
		if isDeadLetters(t.Name()) {
			continue
		}
		t.SetPaused(false)
		n.moves(t, n.begin())
		if _, err := t.Channel("c0"); err != nil {
			n.fail("making a channel: %v", err)
		}
		n.moves(t, n.begin())
		for _, c := range t.Channels() {
			c.SetPaused(false)
			s, err := t.Subscribe(c.Name(), topic.SubscribeOptions{Owner: nobody{}, MsgTimeout: time.Hour})
			if err != nil {
				n.fail("subscribing: %v", err)
			}
			s.SetReady(1000)
			n.subs = append(n.subs, &consumer{Subscription: s, topic: t.Name(), name: t.Name() + "/" + c.Name()})
		}
	}
	for round, some := 0, true; round < 30 || some; round++ { // of an ordered channel one message of each key comes at a time
		some = false
		for _, s := range n.subs {
			some = n.take(s) > 0 || some
			n.answer(s, true)
		}
		n.advance(5 * time.Second)
	}
	n.advance(2 * time.Minute) // a dead letter topic that could not be written is tried again
	dead := n.dead()
	var missing []string
	for key, p := range n.promises {
		own := strings.Contains(key, "//")
		if p.strict && !p.gone.yes() && !p.m.over() && !(own && p.moved.yes()) && dead[key] == 0 {
			missing = append(missing, key)
		}
	}
	for key, m := range n.messages {
		if m.anywhere && !m.over() && !n.droppedSomewhere(m) && !slices.ContainsFunc([]string{"c0", "c1"}, func(c string) bool {
			return dead[m.topic+"/"+c+"/"+m.body] > 0
		}) {
			missing = append(missing, key)
		}
	}
	if len(missing) > 0 {
		n.fail("%d of %d messages are missing, such as %.16q", len(missing), len(n.promises), missing[0])
	}
}

func crashRun(t *testing.T, seed uint64) {
	n := &node{seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), fs: vfs.NewMem(), messages: map[string]*message{}, promises: map[string]*promise{},
		ageless: map[string]bool{}, twice: map[string]bool{}, sentBack: map[string]said{}, early: map[string]topic.Position{}}
	n.fs.SetStyle(vfs.Style{TornRenames: seed%4 == 1, LostRenames: seed%4 == 3, Stale: seed%3 == 1})
	if err := n.fs.MkdirAll("data"); err != nil {
		t.Fatal(err)
	}
	faulty := n.rng.IntN(4) == 0 || *crashHard
	n.eager = n.rng.IntN(3) == 0
	n.fills = faulty && n.rng.IntN(2) == 0
	n.large = []int{0, 0, 40 << 10, 200 << 10}[n.rng.IntN(4)] // some larger than any file of the log or of segments, and than what is copied
	n.lackSome()
	life := func() {
		n.older = n.contents()
		n.vary(faulty)
		n.start()
		n.live()
		n.lose()
	}
	last := func() {
		n.vary(false)
		n.crash = crash{left: -1}
		n.start()
		n.last()
	}
	lives := 1 + n.rng.IntN(4)
	n.spans = clockSpans
	if n.clocks = *crashClock || seed%6 == 4; n.clocks {
		for range lives {
			n.bubble(t, 0, life)
		}
		n.bubble(t, n.latest(), last)
		return
	}
	n.bubble(t, 0, func() {
		if seed%5 == 3 {
			n.age()
		}
		for range lives {
			life()
		}
		last()
	})
}

// bubble does something in a bubble of its own, whose clock begins anywhere in many years, and at an age at least, if clocks are to differ, unless a former one
// has failed.
func (n *node) bubble(t *testing.T, least time.Duration, do func()) {
	if t.Failed() {
		return
	}
	synctest.Test(t, func(t *testing.T) {
		n.t = t
		defer func() { // or the bubble does not end
			if t.Failed() && n.disk != nil && n.k != nil && n.k.stop != nil {
				_ = n.stop()
			}
		}()
		if n.clocks {
			ahead := least + time.Duration(n.rng.Int64N(int64(n.spans[n.rng.IntN(len(n.spans))])))
			n.note("the clock is at %v", ahead)
			time.Sleep(ahead)
			defer n.outlive()
		}
		defer func() {
			if now := wall(); now.After(n.newest) {
				n.newest = now
			}
		}()
		do()
	})
}

// outlive takes note of what has expired, or become due, by the clock of a life: by that of the next one it may not have, and may have gone, or may not.
func (n *node) outlive() {
	for _, m := range n.messages {
		if m.over() {
			m.until, m.sure, m.anywhere, m.perhaps, m.outlived = time.Time{}, false, false, true, true
		}
	}
	for _, p := range n.promises {
		p.strict = p.strict && p.m.sure
		if !wall().Before(p.due) { // it has become due, and may be put down as such, or not
			p.due, p.base = time.Time{}, time.Time{}
		}
	}
}

// last delivers all that there is, in a life that ends as it should.
func (n *node) last() {
	if late := n.lastDue().Sub(wall()); late > 0 {
		n.advance(late)
	}
	n.drain()
	if err := n.stop(); err != nil {
		n.fail("closing: %v", err)
	}
}

// lose takes something out of the folder of a node that has ended, or puts an older copy of the manifest back. A start that refuses must
// have changed nothing, and gets the folder back as it was; one that does not must keep all promises.
func (n *node) lose() {
	older := n.manifests
	b, err := vfs.ReadFile(n.fs, "data/"+manifest.FileName)
	if err == nil {
		n.manifests = append(n.manifests, b)
	}
	if n.rng.IntN(2) == 0 {
		return
	}
	whole := n.fs
	n.fs, n.replaced, n.removed, n.broken = whole.KillClone(), n.stale, nil, broken{}
	for range 1 + n.rng.IntN(2) {
		n.loseOne(older)
		older = nil // with a log file that only the newer one knows both would be gone
	}
	n.disk = nil
	before := n.tree()
	if v, err := lookAtVersions(n.fs, "data", false); err != nil || v.files == 0 && before["data/"+manifest.FileName] == "" {
		n.fs = whole // an empty folder is a new one
		return
	}
	if n.rng.IntN(4) == 0 {
		n.breakOne()
	}
	n.setBroken(true)
	k, _, err := Open(n.options())
	n.setBroken(false)
	if now := n.tree(); !maps.Equal(now, before) {
		n.fail("a look at the folder has changed it:\n%v\n%v", before, now)
	}
	n.setBroken(true)
	switch {
	case err == nil:
		n.note("nothing is missing, damage %q %+v", k.Opened().Damage, k.Opened().Log.Damage)
		if n.replaced && len(k.Opened().Damage)+len(k.Opened().Log.Damage) > 0 {
			n.fs = whole // what an older copy lacks is told, as damage or as what a power cut leaves
		} else {
			n.stale = n.replaced // nothing needs the older copy now; a later start may, when it has lost a checkpoint
		}
		if n.broken.sectors > 0 {
			n.fs = whole // what cannot be read is not lost: it is tried again, and again
		}
		if err := k.Abandon(); err != nil {
			n.fail("abandoning: %v", err)
		}
	case errors.Is(err, ErrIncomplete), n.broken.sectors > 0 && errors.Is(err, syscall.EIO):
		n.note("the start refuses: %v", err)
		n.acceptLoss(n.fs)
		n.fs = whole
	default:
		n.fail("opening a folder of which something is missing: %v", err)
	}
}

// loseOne takes one file or folder away. Which log file is the newest is entered within a second: one that came later is not noticed.
func (n *node) loseOne(older [][]byte) {
	m, _, err := manifest.Read(n.fs, "data")
	if err != nil {
		return
	}
	var paths []string
	for path := range n.tree() {
		var number uint64
		if _, err := fmt.Sscanf(path, "data/journal/%d.wal", &number); err != nil || number <= m.Log.Seen {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	n.note("of %+v", m)
	if len(paths) == 0 {
		return
	}
	path := paths[n.rng.IntN(len(paths))]
	switch n.rng.IntN(8) {
	case 0: // all files in the same folder, as of a volume that is not mounted, unless some of it would not be noticed
		for _, other := range paths {
			if filepath.Dir(other) == filepath.Dir(path) {
				n.remove(other)
			}
		}
	case 1:
		if len(older) > 0 {
			n.note("an older manifest is put back")
			n.forgot = true
			n.store(manifest.FileName, older[n.rng.IntN(len(older))])
		}
	case 2:
		n.putBackOlder(path, m)
	case 3, 4:
		n.copyBeside(path)
	default:
		n.remove(path)
	}
}

// acceptLoss demands that a folder on which a start refuses can be opened without what is missing, and is whole then.
func (n *node) acceptLoss(hurt *vfs.Mem) {
	again := n.another(hurt.KillClone())
	again.accept = true
	recovery, err := again.open()
	if err != nil {
		n.fail("accepting the loss: %v", err)
	}
	if o := again.k.Opened(); len(o.Missing)+len(o.Log.Damage)+len(o.Damage) == 0 && n.broken.sectors == 0 {
		n.fail("nothing is said to be missing when that is accepted")
	}
	allowed := again.leftOut(recovery)
	if n.replaced {
		allowed = nil // an older log file lacks what nothing else tells of
	}
	for _, path := range n.removed {
		if strings.HasSuffix(path, ".wal") || strings.HasSuffix(path, ".seg") && again.k.Opened().Checkpoint == "" {
			allowed = nil // nobody knows what was in it
		}
	}
	again.r.Start()
	again.k.Start(again.r)
	if err := errors.Join(again.r.Close(), again.k.Close()); err != nil {
		n.fail("closing after the loss: %v", err)
	}
	again.accept = false
	if _, err := again.open(); err != nil {
		n.fail("a folder whose loss was accepted is not whole: %v", err)
	}
	n.compare(again, allowed)
	if err := errors.Join(again.r.Close(), again.k.Abandon()); err != nil {
		n.fail("closing what was made whole: %v", err)
	}
	if n.rng.IntN(2) == 0 {
		n.repairTwice(hurt, allowed)
	}
}

// repairTwice demands the same when repairs end in the midst of it, by kills and power cuts, before one comes to its end.
func (n *node) repairTwice(hurt *vfs.Mem, allowed map[string]int) {
	repair := func(fs *vfs.Mem) *node {
		again := n.another(fs)
		again.accept, again.crash = true, crash{left: -1}
		return again
	}
	fs := hurt.KillClone()
	for range 1 + n.rng.IntN(2) {
		again := repair(fs)
		again.crash.left = n.rng.IntN(80)
		if n.crash.power != nil && n.rng.IntN(2) == 0 { // else a power cut would take what a kill has left unsynced
			again.crash.power = rand.New(rand.NewPCG(n.rng.Uint64(), 3))
		}
		n.note("a repair ends after %d changes, power cut %v", again.crash.left, again.crash.power != nil)
		again.disk.Observe(func(op vfs.Op, name string) {
			if op&vfs.OpChange != 0 {
				again.tick(op, name)
			}
		})
		if _, err := again.open(); err != nil {
			n.fail("accepting the loss once more: %v", err)
		}
		again.r.Start()
		again.k.Start(again.r)
		if err := errors.Join(again.r.Close(), again.k.Close()); err != nil {
			n.fail("closing after the loss: %v", err)
		}
		if fs = again.fs; again.crash.done() {
			fs = again.crash.clone
		}
	}
	last := repair(fs)
	last.accept = false
	_, err := last.open()
	n.note("a start behind that: %v", err)
	if errors.Is(err, ErrIncomplete) || n.broken.sectors > 0 && errors.Is(err, syscall.EIO) {
		last = repair(fs)
		if _, err := last.open(); err != nil {
			n.fail("accepting the loss in the end: %v", err)
		}
		n.note("the last repair is without %q, damage %+v", last.k.Opened().Missing, last.k.Opened().Log.Damage)
		last.r.Start()
		last.k.Start(last.r)
		if err := errors.Join(last.r.Close(), last.k.Close()); err != nil {
			n.fail("closing after the loss: %v", err)
		}
		last.accept = false
		_, err = last.open()
	}
	if err != nil {
		n.fail("a folder whose loss was accepted more than once is not whole: %v", err)
	}
	n.compare(last, allowed)
	if err := errors.Join(last.r.Close(), last.k.Abandon()); err != nil {
		n.fail("closing what was made whole: %v", err)
	}
}

// leftOut returns how many messages a repair says that it leaves out, by topic; nil when it cannot know, as a part of the log is missing
// or was damaged, or a message is. The empty name is for topics that nobody knows.
func (n *node) leftOut(recovery *topic.Recovery) map[string]int {
	o := n.k.Opened()
	if o.Log.Damaged() || slices.ContainsFunc(o.Missing, func(m string) bool { return strings.Contains(m, logFolder) || strings.Contains(m, "the log ends") }) {
		return nil
	}
	if o.Checkpoint == "" && len(o.Unreadable) > 0 { // nothing says what was there
		return nil
	}
	left := map[string]int{}
	for _, t := range n.r.Topics() {
		h, err := t.Inspect(recovery)
		if err != nil {
			n.fail("looking at what a repair serves: %v", err)
		}
		if len(h.Damage) > 0 {
			return nil
		}
		left[t.Name()] = h.Missing
		for _, gap := range h.Gaps {
			left[t.Name()] += gap.Len() * len(h.Channels)
		}
	}
	unknown, err := n.k.UnknownSegments(recovery)
	if err != nil {
		n.fail("looking at what a repair puts aside: %v", err)
	}
	for _, u := range unknown {
		left[""] += u.Messages
	}
	return left
}

// compare fails unless a repaired node serves all that was promised, but for as many messages of a topic as it has said.
func (n *node) compare(again *node, allowed map[string]int) {
	if allowed == nil {
		return
	}
	served := map[string]bool{}
	for _, t := range again.r.Topics() {
		_, err := t.Unload(func(channel string, m protocol.MessageFrame, _ uint16) error {
			served[t.Name()+"/"+channel+"/"+string(m.Body())] = true
			served[t.Name()+"//"+string(m.Body())] = true
			return nil
		})
		if err != nil {
			n.fail("reading what a repair serves: %v", err)
		}
	}
	lacks := map[string]int{}
	some := map[string]string{}
	for key, p := range n.promises {
		own := strings.HasPrefix(key, p.m.topic+"//")
		known := again.r.Lookup(p.m.topic) != nil && slices.ContainsFunc(again.r.Lookup(p.m.topic).Channels(), func(c *topic.Channel) bool {
			return strings.HasPrefix(key, p.m.topic+"/"+c.Name()+"/")
		})
		switch {
		case !p.strict || p.gone.yes() || p.m.over() || own && p.moved.yes() || served[key]:
		case served["d"+p.m.topic[1:]+"//"+p.m.body]: // it is a dead letter
		case !known && served[p.m.topic+"//"+p.m.body]: // on another channel, as nothing has the name of its own
		default:
			lacks[p.m.topic]++
			some[p.m.topic] = key
		}
	}
	for name, count := range lacks {
		if count > allowed[name]+allowed["d"+name[1:]]+allowed[""]*2 {
			n.fail("a repair serves %d messages of topic %s less than were promised, such as %.20q, and says %v", count, name, some[name], allowed)
		}
	}
}

// putBackOlder puts a file back as it was before the last life. It is for files that are written once, or whose older copy can be told:
// the log's own newest file may have lost its end in a crash, and segments grow.
func (n *node) putBackOlder(path string, m manifest.Manifest) {
	if strings.HasSuffix(path, ".seg") || strings.HasSuffix(path, fmt.Sprintf("%d.wal", m.Log.Seen)) || n.older[path] == "" {
		return
	}
	n.replaced = true
	if n.rng.IntN(2) == 0 || strings.HasSuffix(path, manifest.FileName) { // an older one of these is put back elsewhere
		n.note("%s is something else", path)
		n.store(strings.TrimPrefix(path, "data/"), []byte("not what it should be"))
		return
	}
	n.note("%s is put back as it was before", path)
	n.store(strings.TrimPrefix(path, "data/"), []byte(n.older[path]))
}

func (n *node) remove(path string) {
	n.note("%s goes", path)
	n.removed = append(n.removed, path)
	if err := n.fs.Remove(path); err != nil {
		n.fail("removing %s: %v", path, err)
	}
}

// TestCrash ends a node at a random operation of its file system, by a kill or a power cut, several times in a row: what was
// acknowledged at its level and is not finished comes, what was finished and written does not, nothing is early, nothing is
// invented, and first deliveries are in order.
func TestCrash(t *testing.T) {
	if *crashSeed != 0 {
		crashRun(t, *crashSeed)
		return
	}
	for seed := range uint64(*crashRuns) {
		seed += *crashFrom
		ok := t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { crashRun(t, seed) })
		if !ok {
			t.FailNow()
		}
	}
}
