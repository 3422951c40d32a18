package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"brokerd/diskqueue/journal"
)

// Lane is the connection that a message goes over: what is urgent does not wait behind what is large.
type Lane uint8

// The lanes.
const (
	Control Lane = iota // heartbeats, votes, answers
	Bulk                // entries; in order
)

// Transport carries messages to other replicas of the group.
type Transport interface {
	// Send gives a message to a replica. It never waits, and may lose it; what is sent over one lane keeps its order.
	Send(to uint64, lane Lane, message []byte, leaves When)
}

// When says how soon a message is to leave.
type When uint8

// The moments.
const (
	Soon  When = iota
	Now        // somebody waits for what it brings about
	Later      // when the clock says that the node beats
)

// Owner is told what happens in a group, in order and one thing at a time, by whoever has the turn of the group's machine: it must not wait for the group.
type Owner interface {
	// Lead says that this replica leads: all that is committed was told, and Append takes records of this term, the
	// first being number next.
	Lead(term, next uint64)
	// Lost says that it does not any more. What was appended and was not told to be committed may be committed all
	// the same.
	Lost(term uint64)
	// Committed tells an entry. Its data is good until Committed returns.
	Committed(c *Committed)
	// Stopped says why the replica does nothing more: an ErrForgetful, ErrRemoved, ErrDrift or ErrEngine; with any
	// other error it begins again when the log can be written.
	Stopped(err error)
	// Behind reports whether Committed may wait for long, as for a slow disk. It is asked at any time, and waits for nothing.
	Behind() bool
}

// Group is a replica of a group that runs. Its methods are safe for concurrent use; Start and Close are called once
// each.
type Group struct {
	o         Options
	id        uint64
	owner     Owner
	transport Transport

	turn  turn
	m     *machine // owned by who has the turn; but for its batch; and so is the next one
	retry time.Duration

	ticking   atomic.Bool // a tick was not told to the machine yet
	gather    *time.Timer
	gathering atomic.Bool // gather runs
	writes    queue
	stop      chan struct{}
	loops     sync.WaitGroup

	leader atomic.Uint64 // that is known, see Leader

	rests  atomic.Bool  // it beats at leisure
	leased atomic.Int64 // until when the lease holds, by the group's clock; 0: it does not. Read by whoever delivers

	mu        sync.Mutex
	leads     bool
	reign     uint64        // the newest
	committed uint64        // number of the last record of it that is known to be committed
	kept      uint64        // the same of what is as safe here as the level says, as far as somebody has asked
	newest    []byte        // data of the newest entry that is so, when kept does not say so yet
	owned     int           // how many of awaited wait for that
	err       error         // why nothing more happens
	awaited   []awaited     // who waits for records
	moved     chan struct{} // closed when there may be room; nil: nobody waits for that
}

// awaited is a record that somebody waits for.
type awaited struct {
	term, number uint64
	own          bool       // that it is safe here is enough
	known        chan error // holds one: what has become of it
}

// Limits of what waits inside a group.
const (
	inboxMessages = 256
	nowBytes      = 16 << 10 // of a message: to send a larger one takes too long for who has the turn
	retryEvery    = time.Second
)

// ErrClosed is a group that was closed.
var ErrClosed = errors.New("the group of replicas is closed")

// ErrReplicasBehind is an append that waited in vain for room: too much is not committed.
var ErrReplicasBehind = errors.New("replicas are behind")

// New returns a replica that may go on with what its node has found, or why it may not.
func New(o Options, h *History, owner Owner, transport Transport) (*Group, error) {
	m, err := newMachine(o, h)
	if err != nil {
		return nil, err
	}
	return &Group{o: m.o, id: m.id, owner: owner, transport: transport, m: m, turn: turn{wake: make(chan struct{}, 1)},
		writes: queue{wake: make(chan struct{}, 1)}, stop: make(chan struct{})}, nil
}

// Start starts the group's goroutines.
func (g *Group) Start() {
	g.gather = time.NewTimer(time.Hour)
	g.loops.Go(g.run)
	g.loops.Go(g.wait)
	g.o.Clock.add(g)
}

// Close ends the goroutines, and what waits gets ErrClosed. What is committed is written down once more, so that the
// next start need not ask for it; the log's Close syncs that. It hands nothing over; see HandOver.
func (g *Group) Close() {
	g.o.Clock.remove(g)
	close(g.stop)
	g.loops.Wait()
	g.turn.end()
	if g.gather != nil {
		g.gather.Stop()
	}
	if g.m.err == nil {
		if _, _, err := g.m.log.remember(); err != nil {
			g.o.Logger.Warn("what is committed was not written down at the end", "group", g.m.log.group, "error", err)
		}
	}
	g.leased.Store(0)
	g.fail(ErrClosed)
}

func (g *Group) now() time.Duration { return g.o.Clock.now() }

// Step takes a message that another replica has sent; one that says that it is of a third one is dropped. What may take long is left to the group's goroutine. Where too much
// waits for that, what comes over Bulk waits, so that the link does, and what comes over Control, which other groups' heartbeats come behind, is lost. What it answers to
// that may leave Later.
func (g *Group) Step(ctx context.Context, from uint64, lane Lane, message []byte) error {
	return g.step(ctx, from, lane, message, false)
}

// StepLast is Step for who has nothing else to do until another replica sends more: what is to be written then it writes itself, if nobody else does. To have another
// goroutine do that wakes one more thread, which finds nothing to do but that, and the answer leaves later.
func (g *Group) StepLast(ctx context.Context, from uint64, lane Lane, message []byte) error {
	return g.step(ctx, from, lane, message, true)
}

func (g *Group) step(ctx context.Context, from uint64, lane Lane, message []byte, writes bool) error {
	if lane > Bulk {
		return fmt.Errorf("message of a replica over lane %d, there are 0 and 1", lane)
	}
	if ok, err := g.turn.room(ctx, g.stop, lane == Bulk); !ok {
		return err
	}
	msg, err := decode(message)
	if err != nil {
		g.o.Logger.Warn("a message of another replica cannot be read", "error", err)
		return nil
	}
	if msg.GetFrom() != from { // nobody speaks for another one
		return nil
	}
	g.turn.post(func(now time.Duration) { g.m.step(msg, now) })
	if g.owner.Behind() {
		g.turn.call()
		return nil
	}
	if wrote := g.workFor(lane == Control, writes); wrote {
		g.write(1)
	}
	return nil
}

// Append puts a record about topics, its payload in parts that are copied, into the group's open entry and returns
// its number. It must lead in that term. It waits for nothing; whoever wants to know waits with Await.
//
// It returns ErrNotLeader, ErrBusy while the lead is handed over, or journal.ErrRecord for a kind that cannot be in
// an entry.
func (g *Group) Append(term uint64, kind journal.Kind, payload ...[]byte) (number uint64, err error) {
	number, err = g.m.batch.append(g.now(), term, kind, payload...)
	if err == nil && !g.gathering.Load() && g.gathering.CompareAndSwap(false, true) {
		g.gather.Reset(g.o.Gather)
	}
	return number, err
}

// Await returns nil once a record that was appended in a term is committed, ErrNotLeader when the lead is lost
// before, so that nobody here knows, ErrClosed, why the replica has stopped, or the context's error.
func (g *Group) Await(ctx context.Context, term, number uint64) error {
	return g.await(ctx, awaited{term: term, number: number})
}

// AwaitOwn is Await that does not wait for other replicas: it returns nil as well once the record is as safe on this one as the level says. When
// another one leads then it may be gone all the same.
func (g *Group) AwaitOwn(ctx context.Context, term, number uint64) error {
	return g.await(ctx, awaited{term: term, number: number, own: true})
}

func (g *Group) await(ctx context.Context, w awaited) error {
	if g.m.batch.want() {
		g.post(g.advance)
	}
	g.mu.Lock()
	if known, err := g.outcomeLocked(&w); known {
		g.mu.Unlock()
		return err
	}
	w.known = make(chan error, 1)
	g.awaited = append(g.awaited, w)
	if w.own {
		g.owned++
	}
	g.mu.Unlock()
	select {
	case err := <-w.known:
		return err
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	before := len(g.awaited)
	g.awaited = slices.DeleteFunc(g.awaited, func(other awaited) bool { return other.known == w.known })
	if w.own {
		g.owned -= before - len(g.awaited)
	}
	select {
	case err := <-w.known:
		return err
	default:
		return ctx.Err()
	}
}

// outcomeLocked returns what has become of a record, once that is known.
func (g *Group) outcomeLocked(w *awaited) (known bool, err error) {
	switch {
	case g.reign == w.term && g.committed >= w.number:
		return true, nil
	case g.err != nil:
		return true, g.err
	case g.reign != w.term || !g.leads:
		return true, ErrNotLeader
	case w.own:
		return g.keptLocked() >= w.number, nil
	}
	return false, nil
}

// keptLocked returns the number of the last record of the reign that is as safe here as the level says. Records are counted only once somebody asks.
func (g *Group) keptLocked() uint64 {
	if g.newest != nil {
		if first, count, err := journal.Records(g.newest); err == nil { // it was made here
			g.kept = max(g.kept, first+uint64(count)-1)
		}
		g.newest = nil
	}
	return g.kept
}

// keep notes the newest entry that is as safe here as the level says.
func (g *Group) keep(data []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.newest = data; g.owned > 0 {
		g.answerLocked()
	}
}

// Room waits until there is room for records that are not committed: less than Options.Uncommitted bytes. It returns
// ErrReplicasBehind when the context ends before.
func (g *Group) Room(ctx context.Context) error {
	err := g.until(ctx, func() (bool, error) {
		return g.err != nil || g.m.batch.size() < g.o.Uncommitted, g.err
	})
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return fmt.Errorf("%w: %w", ErrReplicasBehind, err)
	}
	return err
}

// until waits until something holds that only changes when moved is closed. It is asked under g.mu.
func (g *Group) until(ctx context.Context, holds func() (bool, error)) error {
	for {
		g.mu.Lock()
		ok, err := holds()
		if ok {
			g.mu.Unlock()
			return err
		}
		if g.moved == nil {
			g.moved = make(chan struct{})
		}
		moved := g.moved
		g.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// change changes what waiters look at, and wakes those of them that need not wait any more.
func (g *Group) change(do func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	do()
	g.answerLocked()
	if g.moved != nil {
		close(g.moved)
		g.moved = nil
	}
}

// answerLocked tells those who wait for records what is known.
func (g *Group) answerLocked() {
	g.awaited = slices.DeleteFunc(g.awaited, func(w awaited) bool {
		known, err := g.outcomeLocked(&w)
		if known {
			w.known <- err
			if w.own {
				g.owned--
			}
		}
		return known
	})
}

func (g *Group) fail(err error) {
	g.change(func() {
		if g.err == nil {
			g.err = err
		}
	})
}

// Leased reports whether this replica leads and may deliver now: nobody else was elected by timeout. Only duplicates
// may depend on it.
func (g *Group) Leased() bool { return int64(g.now()) < g.leased.Load() }

// Leader returns the replica that leads as far as is known here, 0 when none is known. It waits for nothing.
func (g *Group) Leader() uint64 { return g.leader.Load() }

// call has something done in a turn, and returns once it is.
func (g *Group) call(ctx context.Context, do func(now time.Duration)) error {
	var begun atomic.Bool // or given up
	done := make(chan struct{})
	g.post(func(now time.Duration) {
		if begun.CompareAndSwap(false, true) {
			do(now)
			close(done)
			g.m.advance(now)
		}
	})
	err := error(nil)
	select {
	case <-done:
		return nil
	case <-g.stop:
		err = ErrClosed
	case <-ctx.Done():
		err = ctx.Err()
	}
	if begun.CompareAndSwap(false, true) {
		return err
	}
	<-done
	return nil
}

// post has something done with the machine: at once, unless another goroutine has the turn, which then sees to it.
func (g *Group) post(do func(now time.Duration)) {
	g.turn.post(do)
	g.work(false)
}

// work does what was posted, unless another goroutine has the turn. late says that what the one thing that the caller has posted brings about may leave Later.
func (g *Group) work(late bool) { g.workFor(late, false) }

// workFor is work for who may write what is to be written, and reports whether he has to.
func (g *Group) workFor(late, writes bool) (has bool) {
	g.turn.work(func(posted []func(time.Duration)) {
		if g.m.err == nil {
			g.m.pass(g.now())
		}
		for _, do := range posted {
			do(g.now())
		}
		has = len(g.m.output.writes) > 0 && writes
		g.settle(late && len(posted) == 1, has)
	})
	return has
}

// advance proposes what somebody waits for, in a turn.
func (g *Group) advance(now time.Duration) { g.m.advance(now) }

// gathered proposes what has gathered for long enough, in a turn: who has it may have it for long, and until then nothing is due.
func (g *Group) gathered(now time.Duration) {
	g.gathering.Store(false)
	g.m.advance(now)
	if at, ok := g.m.batch.deadline(); ok && g.gathering.CompareAndSwap(false, true) {
		g.gather.Reset(max(0, at-g.now()))
	}
}

// run is the group's goroutine: it does what time brings, and what others leave to it.
func (g *Group) run() {
	for {
		select {
		case <-g.stop:
			return
		case <-g.turn.wake:
			g.work(false)
			g.mend()
		case <-g.gather.C:
			g.post(g.gathered)
		}
	}
}

// tick is called by the clock, which nothing may hold up: where that could take long, as it is somebody's turn, the owner is behind, or the log could not be written, it
// is left to the group's goroutine. While it waits for that, other ticks are left out.
func (g *Group) tick() {
	if g.ticking.Swap(true) {
		return
	}
	told := false
	if !g.owner.Behind() {
		g.turn.brief(func() {
			if told = g.m.err == nil; told {
				g.ticked(g.now())
				g.settle(true, false)
			}
		})
	}
	if !told {
		g.turn.post(g.ticked)
		g.turn.call()
	}
}

// ticked tells the machine of ticks, in a turn of the clock.
func (g *Group) ticked(now time.Duration) {
	g.ticking.Store(false)
	g.m.pass(now)
	g.m.press(now)
}

// again begins again after a failed write, now and then. It waits for the disk: only the group's goroutine does it.
func (g *Group) again() {
	now := g.now()
	if Final(g.m.err) || now < g.retry {
		return
	}
	g.retry = now + retryEvery
	if err := g.m.restart(); err == nil {
		g.o.Logger.Info("a group of replicas goes on", "group", g.m.log.group)
	} else if Final(err) {
		g.m.output.tell = append(g.m.output.tell, event{stopped: err})
	}
}

// mend has a machine that has failed begin again, unless it is somebody's turn: it is called with each tick.
func (g *Group) mend() {
	g.turn.alone(func() {
		if g.m.err != nil {
			g.again()
			g.settle(false, false)
		}
	})
}

// Final reports whether a replica that stopped so does not begin again by itself. One whose log cannot be written does, once it can.
func Final(err error) bool {
	return errors.Is(err, ErrForgetful) || errors.Is(err, ErrRemoved) || errors.Is(err, ErrDrift) || errors.Is(err, ErrEngine)
}

// settle does what the machine wants done. late says that heartbeats and their answers may leave Later, writes that the caller calls write.
func (g *Group) settle(late, writes bool) {
	o := g.m.output
	g.m.output = output{}
	g.leader.Store(g.m.leader)
	g.rests.Store(g.m.rests)
	g.leased.Store(int64(g.m.lapse(g.now()))) // before anything leaves that lets another one lead
	for _, msg := range o.send {
		lane, t := Control, msg.GetType()
		if t == raftpb.MsgApp || t == raftpb.MsgTimeoutNow { // who is to campaign needs first what was sent before that
			lane = Bulk
		}
		b, leaves := encode(msg), Soon
		switch beat := t == raftpb.MsgHeartbeat || t == raftpb.MsgHeartbeatResp; {
		case beat && late && !o.hurry:
			leaves = Later
		case (!beat || o.hurry) && len(b) <= nowBytes:
			leaves = Now
		}
		g.transport.Send(msg.GetTo(), lane, b, leaves)
	}
	g.writes.put(o.writes, writes)
	for _, e := range o.tell {
		g.tell(e)
	}
}

// tell tells the owner, and those who wait.
func (g *Group) tell(e event) {
	switch {
	case e.committed != nil:
		g.owner.Committed(e.committed)
		if c := e.committed; c.Own && c.Count > 0 {
			g.change(func() { g.committed = c.First + uint64(c.Count) - 1 })
		}
	case e.lead != 0:
		g.change(func() { g.leads, g.reign, g.committed, g.kept, g.newest = true, e.lead, e.next-1, e.next-1, nil })
		g.owner.Lead(e.lead, e.next)
	case e.kept != nil:
		g.keep(e.kept)
	case e.lost != 0:
		g.change(func() { g.leads, g.newest = false, nil })
		g.owner.Lost(e.lost)
	case e.changed != nil:
		e.changed.done(e.changed.err)
	case e.read != nil:
		e.read.done(e.read.err)
	case e.stopped != nil:
		if Final(e.stopped) {
			g.fail(e.stopped)
		}
		g.owner.Stopped(e.stopped)
	}
}
