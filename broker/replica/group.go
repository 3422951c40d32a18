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
	Send(to uint64, lane Lane, message []byte)
}

// Owner is told what happens in a group, by the group's goroutine, which holds no lock: in order, and one thing at a
// time.
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
}

// Group is a replica of a group that runs. Its methods are safe for concurrent use; Start and Close are called once
// each.
type Group struct {
	o         Options
	id        uint64
	owner     Owner
	transport Transport
	epoch     time.Time

	m *machine // owned by run; but for its batch

	lanes  [2]chan received
	wake   chan struct{} // something was appended, or is waited for
	calls  chan func(now time.Duration)
	done   chan outcome
	writes queue
	stop   chan struct{}
	loops  sync.WaitGroup

	leader atomic.Uint64 // that is known, see Leader

	leased atomic.Int64 // until when the lease holds, by the group's clock; 0: it does not. Read by whoever delivers

	mu        sync.Mutex
	leads     bool
	reign     uint64        // the newest
	committed uint64        // number of the last record of it that is known to be committed
	err       error         // why nothing more happens
	awaited   []awaited     // who waits for records
	moved     chan struct{} // closed when there may be room
}

// awaited is a record that somebody waits for.
type awaited struct {
	term, number uint64
	known        chan error // holds one: what has become of it
}

// received is a message of another replica, and from whom it comes.
type received struct {
	from    uint64
	message []byte
}

// outcome is what became of a write.
type outcome struct {
	w   *write
	err error
}

// Limits of what waits inside a group.
const (
	inboxMessages = 256
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
	return &Group{o: m.o, id: m.id, owner: owner, transport: transport, epoch: time.Now(), m: m,
		lanes: [2]chan received{make(chan received, inboxMessages), make(chan received, inboxMessages)}, wake: make(chan struct{}, 1),
		calls: make(chan func(time.Duration)), done: make(chan outcome), writes: queue{wake: make(chan struct{}, 1)}, stop: make(chan struct{}),
		moved: make(chan struct{})}, nil
}

// Start starts the group's goroutines.
func (g *Group) Start() {
	g.loops.Go(g.run)
	g.loops.Go(g.wait)
}

// Close ends the goroutines, and what waits gets ErrClosed. What is committed is written down once more, so that the
// next start need not ask for it; the log's Close syncs that. It hands nothing over; see HandOver.
func (g *Group) Close() {
	close(g.stop)
	g.loops.Wait()
	if g.m.err == nil {
		if _, _, err := g.m.log.remember(); err != nil {
			g.o.Logger.Warn("what is committed was not written down at the end", "group", g.m.log.group, "error", err)
		}
	}
	g.leased.Store(0)
	g.fail(ErrClosed)
}

// now is the group's clock: monotonic, from 1 s on.
func (g *Group) now() time.Duration { return time.Since(g.epoch) + time.Second }

// Step takes a message that another replica has sent; one that says that it is of a third one is dropped. It waits while the group is
// busy, so that the link does.
func (g *Group) Step(ctx context.Context, from uint64, lane Lane, message []byte) error {
	if lane > Bulk {
		return fmt.Errorf("message of a replica over lane %d, there are 0 and 1", lane)
	}
	select {
	case <-g.stop:
		return ErrClosed
	default:
	}
	select {
	case g.lanes[lane] <- received{from, message}:
		return nil
	case <-g.stop:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Append puts a record about topics, its payload in parts that are copied, into the group's open entry and returns
// its number. It must lead in that term. It waits for nothing; whoever wants to know waits with Await.
//
// It returns ErrNotLeader, ErrBusy while the lead is handed over, or journal.ErrRecord for a kind that cannot be in
// an entry.
func (g *Group) Append(term uint64, kind journal.Kind, payload ...[]byte) (number uint64, err error) {
	number, err = g.m.batch.append(g.now(), term, kind, payload...)
	if err == nil {
		g.kick()
	}
	return number, err
}

func (g *Group) kick() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// Await returns nil once a record that was appended in a term is committed, ErrNotLeader when the lead is lost
// before, so that nobody here knows, ErrClosed, why the replica has stopped, or the context's error.
func (g *Group) Await(ctx context.Context, term, number uint64) error {
	g.m.batch.want()
	g.kick()
	g.mu.Lock()
	if known, err := g.outcomeLocked(term, number); known {
		g.mu.Unlock()
		return err
	}
	w := awaited{term, number, make(chan error, 1)}
	g.awaited = append(g.awaited, w)
	g.mu.Unlock()
	select {
	case err := <-w.known:
		return err
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.awaited = slices.DeleteFunc(g.awaited, func(other awaited) bool { return other.known == w.known })
	select {
	case err := <-w.known:
		return err
	default:
		return ctx.Err()
	}
}

// outcomeLocked returns what has become of a record, once that is known.
func (g *Group) outcomeLocked(term, number uint64) (known bool, err error) {
	switch {
	case g.reign == term && g.committed >= number:
		return true, nil
	case g.err != nil:
		return true, g.err
	case g.reign != term || !g.leads:
		return true, ErrNotLeader
	}
	return false, nil
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
		moved := g.moved
		g.mu.Unlock()
		if ok {
			return err
		}
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
	g.awaited = slices.DeleteFunc(g.awaited, func(w awaited) bool {
		known, err := g.outcomeLocked(w.term, w.number)
		if known {
			w.known <- err
		}
		return known
	})
	close(g.moved)
	g.moved = make(chan struct{})
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

// call has something done by the group's goroutine.
func (g *Group) call(ctx context.Context, do func(now time.Duration)) error {
	done := make(chan struct{})
	select {
	case g.calls <- func(now time.Duration) { do(now); close(done) }:
		<-done
		return nil
	case <-g.stop:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run is the group's goroutine.
func (g *Group) run() {
	tick := time.NewTimer(g.o.Tick)
	defer tick.Stop()
	gather := time.NewTimer(time.Hour)
	defer gather.Stop()
	retry := g.now()
	for {
		select {
		case <-g.stop:
			return
		case r := <-g.lanes[Control]:
			g.step(r)
		case r := <-g.lanes[Bulk]:
			g.step(r)
		case o := <-g.done:
			if o.err != nil {
				g.m.failed(o.err)
			} else {
				g.m.wrote(o.w, g.now())
			}
		case do := <-g.calls:
			do(g.now())
			g.m.advance(g.now())
		case <-g.wake:
			g.m.advance(g.now())
		case <-gather.C:
			g.m.advance(g.now())
		case <-tick.C:
			if now := g.now(); g.m.err != nil && now >= retry {
				retry = now + retryEvery
				g.again()
			}
			g.m.tick(g.now())
			tick.Reset(g.o.Tick) // never made up for, and never closer
		}
		g.settle()
		if at, ok := g.m.batch.deadline(); ok {
			gather.Reset(max(0, at-g.now()))
		}
	}
}

// step hands a message to the machine.
func (g *Group) step(r received) {
	msg, err := decode(r.message)
	if err != nil {
		g.o.Logger.Warn("a message of another replica cannot be read", "error", err)
		return
	}
	if msg.GetFrom() != r.from { // nobody speaks for another one
		return
	}
	g.m.step(msg, g.now())
}

// again begins again after a failed write.
func (g *Group) again() {
	if Final(g.m.err) {
		return
	}
	if err := g.m.restart(); err == nil {
		g.o.Logger.Info("a group of replicas goes on", "group", g.m.log.group)
	} else if Final(err) {
		g.m.output.tell = append(g.m.output.tell, event{stopped: err})
	}
}

// Final reports whether a replica that stopped so does not begin again by itself. One whose log cannot be written does, once it can.
func Final(err error) bool {
	return errors.Is(err, ErrForgetful) || errors.Is(err, ErrRemoved) || errors.Is(err, ErrDrift) || errors.Is(err, ErrEngine)
}

// settle does what the machine wants done.
func (g *Group) settle() {
	o := g.m.output
	g.m.output = output{}
	g.leader.Store(g.m.leader)
	g.leased.Store(int64(g.m.lapse(g.now()))) // before anything leaves that lets another one lead
	for _, msg := range o.send {
		lane := Control
		if msg.GetType() == raftpb.MsgApp {
			lane = Bulk
		}
		g.transport.Send(msg.GetTo(), lane, encode(msg))
	}
	g.writes.put(o.writes)
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
		g.change(func() { g.leads, g.reign, g.committed = true, e.lead, e.next-1 })
		g.owner.Lead(e.lead, e.next)
	case e.lost != 0:
		g.change(func() { g.leads = false })
		g.owner.Lost(e.lost)
	case e.changed != nil:
		e.changed.done(e.changed.err)
	case e.stopped != nil:
		if Final(e.stopped) {
			g.fail(e.stopped)
		}
		g.owner.Stopped(e.stopped)
	}
}

// wait waits for the log, one write after the other, so that their answers leave in that order.
func (g *Group) wait() {
	for {
		select {
		case <-g.stop:
			return
		case <-g.writes.wake:
		}
		for _, w := range g.writes.take() {
			err := error(nil)
			if w.appends {
				err = g.o.Log.Commit(w.at, w.level)
			}
			select {
			case g.done <- outcome{w, err}:
			case <-g.stop:
				return
			}
		}
	}
}

// queue is what waits for the log, oldest first. Whoever puts something in never waits, or two goroutines could wait
// for each other; the engine bounds it.
type queue struct {
	wake chan struct{}
	mu   sync.Mutex
	list []*write
}

func (q *queue) put(writes []*write) {
	if len(writes) == 0 {
		return
	}
	q.mu.Lock()
	q.list = append(q.list, writes...)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *queue) take() []*write {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.list
	q.list = nil
	return list
}
