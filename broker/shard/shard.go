package shard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/broker/cluster"
	"brokerd/broker/policy"
	"brokerd/broker/replica"
	"brokerd/broker/topic"
)

// Options says what a shard is.
type Options struct {
	Number   uint32              // of the group
	Registry *topic.Registry     // of the node
	Segments topic.GroupSegments // where messages go for which memory has no room; nil: they stay there
	Room     int64               // bytes of messages that memory has room for; 16 MiB
	Limit    int64               // bytes of messages in memory from which on publishes wait for the disk; 64 MiB
	Wait     time.Duration       // what a publish waits for replicas that are behind, and a change of the map; 5 s
	// Short returns why the group takes no publishes, as disks of its replicas are nearly full; nil: it does. A nil Short is that. It waits for nothing.
	Short func() error
	// Do changes the map.
	Do func(context.Context, cluster.Command) error
	// Leading is told when the topics of the group are served by this node, and with nil when they are not any more; nil: nobody asks.
	Leading func(group uint32, led *topic.Led)
	// Changed is told that topics or channels have come or gone by an entry, or changed their pauses; nil: nobody asks. It does not wait.
	Changed func()
	// Stop is told that the shard is not what was committed: the replica is to be ended, and written down no more.
	Stop func(err error)
	Log  *slog.Logger // nil: nothing is logged
}

// Shard is the topics of a group on this node. It is the replica.Owner of the group. Start and Close are called once each.
type Shard struct {
	o       Options
	standby *topic.Standby
	kick    chan struct{}
	much    chan struct{} // there are more messages in memory than there is room for
	stop    context.CancelFunc
	loop    sync.WaitGroup

	mu      sync.Mutex // guards what follows
	group   group
	point   replica.Point // what the standby stands for
	applied int64         // bytes of entries that were applied
	reign   *reign        // the newest; nil: this node has not led yet
	term    uint64        // in which the group leads, 0: it does not
	failed  error         // why it is not what was committed
	state   *cluster.State
	waiting map[string]error // topics that cannot be served, and why
	serving bool
	unread  error             // why messages cannot be read, while this node leads; nil: they can, or that is seen to
	unspilt error             // why messages could not be moved to the disk, the last time
	said    map[string]string // what was logged last about something

	forgetting map[cluster.Held]bool // topics of which the map is being told that they are gone

	reaches atomic.Bool // a leader was known lately
	behind  atomic.Bool // so much is in memory that the group may soon have to wait for the disk

	// Owned by run.
	heard  time.Time // when one was known last
	led    *topic.Led
	of     *reign         // that led is of
	done   *cluster.State // the topics are as this map says; nil: they are not
	tidied time.Time      // until when it is not looked for what nobody needs
	gave   time.Time      // when the lead was last given away as messages cannot be read
	forgot time.Time      // when it was last looked for nodes that were not heard of
	look   time.Time      // when topics that cannot be served are looked at again
	there  bool           // all are served
}

// Bytes of messages in memory, of the topics of a group: from when on they go to the disk, and from when on publishes wait for that.
const (
	DefaultRoom  = 16 << 20
	DefaultLimit = 64 << 20
)

// New returns a shard of what a checkpoint holds, which stands for a point; nil: of a group that is new.
func New(o Options, content []byte, at replica.Point) (*Shard, error) {
	standby, err := topic.OpenStandby(content, o.Segments)
	if err != nil {
		return nil, err
	}
	return newShard(o, standby, at)
}

// newShard makes a shard of a standby, which is closed when that is not possible.
func newShard(o Options, standby *topic.Standby, at replica.Point) (*Shard, error) {
	if o.Room == 0 {
		o.Room = DefaultRoom
	}
	if o.Limit == 0 {
		o.Limit = DefaultLimit
	}
	if o.Wait == 0 {
		o.Wait = 5 * time.Second
	}
	if o.Short == nil {
		o.Short = func() error { return nil }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Log = o.Log.With("group", o.Number)
	s := &Shard{o: o, standby: standby, kick: make(chan struct{}, 1), much: make(chan struct{}, 1), point: at, said: map[string]string{},
		forgetting: map[cluster.Held]bool{}}
	if n := s.standby.Record(); n != at.Record {
		err := fmt.Errorf("%w: it is as of record %d, and its checkpoint as of %d", topic.ErrDrift, n, at.Record)
		return nil, errors.Join(err, standby.Close())
	}
	standby.Keep(o.Room, func() { nudge(s.much) }, s.unreadable)
	return s, nil
}

// unreadable is told that messages on disk are not what they were, or cannot be read for long. Others have them: they may lead then.
func (s *Shard) unreadable(err error) {
	if !errors.Is(err, topic.ErrUnread) {
		s.o.Stop(fmt.Errorf("%w: %w", replica.ErrForgetful, err))
		return
	}
	s.mu.Lock()
	s.unread = err
	s.mu.Unlock()
	s.wake()
}

// Start begins, with the group that it is the owner of, which is not started yet.
func (s *Shard) Start(g *replica.Group) { s.start(g) }

func (s *Shard) start(g group) {
	s.group = g
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.loop.Go(func() { s.run(ctx) })
	s.loop.Go(func() { s.spill(ctx) })
}

// Close ends it. The group was closed before, and nobody publishes or consumes here any more, or is sent away.
func (s *Shard) Close() {
	s.Lost(0)
	if s.stop != nil {
		s.stop()
		s.loop.Wait()
	}
	if err := s.standby.Close(); err != nil {
		s.o.Log.Error("closing the segments of a group of topics", "error", err)
	}
}

// Lead is replica.Owner's.
func (s *Shard) Lead(term, _ uint64) {
	s.mu.Lock()
	s.term = term
	s.beginLocked()
	s.mu.Unlock()
	s.wake()
}

func (s *Shard) beginLocked() {
	s.reign = &reign{term: s.term, group: s.group, standby: s.standby, limit: s.o.Limit, wait: s.o.Wait, ended: make(chan struct{}), wake: s.wake, much: s.much,
		short: s.o.Short, unspilt: s.Unspilt}
	s.reign.last.Store(s.standby.Record())
}

// Lost is replica.Owner's.
func (s *Shard) Lost(uint64) {
	s.mu.Lock()
	s.term = 0
	r := s.reign
	s.mu.Unlock()
	if r != nil {
		r.end()
	}
	s.wake()
}

// Stopped is replica.Owner's.
func (s *Shard) Stopped(err error) {
	s.o.Log.Warn("the replica of a group of topics stands still", "why", err)
	s.o.Stop(err)
}

// Committed is replica.Owner's.
func (s *Shard) Committed(c *replica.Committed) {
	s.mu.Lock()
	if s.failed != nil {
		s.mu.Unlock()
		return
	}
	before := s.standby.Changes()
	switch {
	case c.Data != nil:
		s.failed = s.standby.Apply(c.Data)
		s.applied += int64(len(c.Data))
	case c.Term != s.point.Term: // else it is a change of members, in the middle of a reign
		s.standby.EndReign()
	}
	err, r := s.failed, s.reign
	if err == nil {
		s.point = c.At
		if c.Own && r != nil && c.Count > 0 {
			r.safe.Store(c.First + uint64(c.Count) - 1)
		}
	}
	changed := s.standby.Changes() != before
	s.mu.Unlock()
	if changed && s.o.Changed != nil {
		s.o.Changed()
	}
	s.keepUp()
	if err != nil {
		if r != nil {
			r.end()
		}
		s.o.Log.Error("an entry of a group of topics cannot be applied", "entry", c.Index, "error", err)
		s.o.Stop(fmt.Errorf("%w: entry %d: %w", replica.ErrDrift, c.Index, err))
	}
}

// Tend has it bring its topics to what a map says, if it leads.
func (s *Shard) Tend(state *cluster.State) {
	s.mu.Lock()
	news := s.state != state
	s.state = state
	s.mu.Unlock()
	if news { // what it could not do before it tries again by itself
		s.wake()
	}
}

// List returns the topics of the group as they are on this replica, sorted by name.
func (s *Shard) List() []topic.Listed { return s.standby.List() }

// Policy returns the options of a topic, by its number, as this replica knows them.
func (s *Shard) Policy(number uint32) *policy.Policy { return s.standby.Policy(number) }

// Copy returns a topic by its number, as this replica has it, nil when it does not.
func (s *Shard) Copy(number uint32) *topic.Copy {
	s.mu.Lock()
	failed := s.failed
	s.mu.Unlock()
	if failed != nil {
		return nil
	}
	return s.o.Registry.CopyOf(s.standby, number)
}

// Point returns what it stands for now.
func (s *Shard) Point() replica.Point {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.point
}

// Bytes returns how many bytes of messages it has in memory, and of entries that it has applied.
func (s *Shard) Bytes() (held, applied int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.standby.Bytes(), s.applied
}

// Waiting returns topics that cannot be served here although this node leads them, and why. serves says that it does the others.
func (s *Shard) Waiting() (waiting map[string]string, serves bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, err := range s.waiting {
		if waiting == nil {
			waiting = map[string]string{}
		}
		waiting[name] = err.Error()
	}
	return waiting, s.serving
}

func (s *Shard) wake() { nudge(s.kick) }

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Paces of the loop: while the lease is missed it looks whether it is there again.
const (
	leadingPace = 50 * time.Millisecond
	idlePace    = time.Second
	forgetEvery = time.Minute

	giveAwayEvery = 10 * time.Second
	reachesFor    = 10 * time.Second // without a leader
	forgetAfter   = 10 * time.Minute // a node that was not heard of for so long sends nothing again: it waits for a minute at most, and keeps what it has answered early for five
)

// run begins and ends reigns, and does what the map asks for.
func (s *Shard) run(ctx context.Context) {
	defer s.drop()
	for ctx.Err() == nil {
		again := s.step(ctx)
		pace := idlePace - time.Duration(time.Now().UnixNano())%idlePace // all shards of a node at the same moment: one that rests is woken once
		if again || s.led != nil && s.of.missed.Load() {
			pace = leadingPace
		}
		var ended <-chan struct{}
		if s.of != nil && !s.of.over.Load() { // else it was told, and would be without end
			ended = s.of.ended
		}
		t := time.NewTimer(pace)
		select {
		case <-ctx.Done():
		case <-s.kick:
		case <-ended:
		case <-t.C:
		}
		t.Stop()
	}
}

// listen notes whether a leader is known, and tells when none was for long, or one is again.
func (s *Shard) listen() {
	now := time.Now()
	if s.group.Leader() != 0 {
		s.heard = now
	}
	if reaches := !s.heard.IsZero() && now.Sub(s.heard) < reachesFor; s.reaches.Swap(reaches) != reaches && s.o.Changed != nil {
		s.o.Changed()
	}
}

// Reaches reports whether a leader of the group was known to this node within the last 10 s: it is of use to clients.
func (s *Shard) Reaches() bool { return s.reaches.Load() }

// step does what is to be done now, and reports whether it is to be called again soon.
func (s *Shard) step(ctx context.Context) (again bool) {
	s.listen()
	s.tidy()
	s.mu.Lock()
	r, state := s.current(), s.state
	s.mu.Unlock()
	if s.led != nil && s.of != r {
		s.drop()
	}
	if r == nil {
		return false
	}
	if r.over.Load() {
		s.drop() // the next one begins later
		return true
	}
	if s.led == nil {
		began := time.Now()
		led, err := s.o.Registry.Lead(s.standby, r)
		if err != nil {
			s.report("lead", err)
			s.drifted(err)
			return true
		}
		s.led, s.of, s.done, s.there, s.look = led, r, nil, false, time.Time{}
		s.o.Log.Info("this node leads a group of topics", "term", r.term, "topics", len(s.standby.Topics()), "took", time.Since(began))
	}
	if r.missed.Load() && r.group.Leased() && r.missed.Swap(false) {
		s.led.Resume()
	}
	if state != nil && state != s.done {
		again = s.bringTo(ctx, state)
		s.there, s.look = false, time.Time{}
	}
	if now := time.Now(); !s.there && !now.Before(s.look) {
		s.serve()
		s.look = now.Add(idlePace)
	}
	s.giveAway(ctx)
	if now := time.Now(); now.Sub(s.forgot) >= forgetEvery {
		s.led.ForgetOrigins(now.Add(-forgetAfter))
		s.forgot = now
	}
	return again
}

// giveAway has another replica lead if messages cannot be read here, and tries again now and then: that one may not be able to read them either.
func (s *Shard) giveAway(ctx context.Context) {
	s.mu.Lock()
	why := s.unread
	s.unread = nil
	s.mu.Unlock()
	if why == nil || time.Since(s.gave) < giveAwayEvery {
		return
	}
	s.gave = time.Now()
	ctx, cancel := context.WithTimeout(ctx, s.o.Wait)
	defer cancel()
	if err := s.group.Yield(ctx); err != nil {
		why = fmt.Errorf("%w; nobody else can lead: %w", why, err)
	}
	s.tell("read", "this node gives the lead of a group of topics away", why)
}

// drifted ends the replica when an error says that its topics are not what was committed: others have them.
func (s *Shard) drifted(err error) {
	if !errors.Is(err, topic.ErrDrift) {
		return
	}
	s.mu.Lock()
	s.failed = err
	s.mu.Unlock()
	s.o.Stop(fmt.Errorf("%w: %w", replica.ErrDrift, err))
}

// current returns the reign that is to be served: also one that is over, until all is applied that it has appended, and the lead is not being
// handed over; then another one of the same term follows it. Shard.mu is held.
func (s *Shard) current() *reign {
	switch {
	case s.term == 0 || s.failed != nil:
		return nil
	case s.reign.over.Load() && s.standby.Record() >= s.reign.last.Load() && s.group.Leased():
		s.beginLocked()
	}
	return s.reign
}

// drop ends serving.
func (s *Shard) drop() {
	if s.led == nil {
		return
	}
	s.of.end()
	if s.o.Leading != nil {
		s.o.Leading(s.o.Number, nil)
	}
	s.led.Drop()
	s.led, s.of = nil, nil
	s.mu.Lock()
	s.serving, s.waiting, s.unread = false, nil, nil
	s.mu.Unlock()
	s.o.Log.Info("this node does not lead a group of topics any more")
}

// serve has the topics served that are not yet.
func (s *Shard) serve() {
	waiting := s.led.Serve()
	s.mu.Lock()
	begins := !s.serving
	s.waiting, s.serving, s.there = waiting, true, len(waiting) == 0
	s.mu.Unlock()
	if begins && s.o.Leading != nil {
		s.o.Leading(s.o.Number, s.led)
	}
	for _, name := range slices.Sorted(maps.Keys(waiting)) {
		s.report("topic "+name, waiting[name])
	}
}

// bringTo makes and deletes topics as the map says, each step of which can be done again without harm. It reports whether there is more to do.
func (s *Shard) bringTo(ctx context.Context, state *cluster.State) (more bool) {
	var has []cluster.Held
	for number, name := range s.standby.Topics() {
		has = append(has, cluster.Held{Number: number, Name: name})
	}
	steps, unknown := state.Steps(int(s.o.Number), has, s.standby.Made())
	for _, h := range unknown {
		s.report("unknown "+h.Name, fmt.Errorf("topic %s, number %d, is in the group and not in the map: it is kept", h.Name, h.Number))
	}
	if len(steps) == 0 {
		s.done = state
	}
	for _, step := range steps {
		var err error
		switch {
		case step.Create != nil:
			err = s.led.Create(step.Create.Number, step.Create.Name)
		case step.Delete != nil:
			err = s.led.Delete(step.Delete.Number)
		case step.Forget != nil:
			s.forget(ctx, *step.Forget)
		}
		if err != nil {
			s.report("step", err)
			break
		}
	}
	return len(steps) > 0
}

// forget has the map forget a topic that is gone. It waits for nothing: who keeps the map may not be there, and reigns begin and end meanwhile.
func (s *Shard) forget(ctx context.Context, h cluster.Held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forgetting[h] {
		return
	}
	s.forgetting[h] = true
	s.loop.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, s.o.Wait)
		defer cancel()
		if err := s.o.Do(ctx, cluster.Command{Op: cluster.OpForget, Topic: h.Name, Group: int(s.o.Number), Number: h.Number}); err != nil {
			s.report("forget "+h.Name, err)
		}
		s.mu.Lock()
		delete(s.forgetting, h)
		s.mu.Unlock()
		s.wake()
	})
}

// report logs what went wrong with something that the map asks for, when it is news.
func (s *Shard) report(what string, err error) {
	s.tell(what, "what the map of the cluster asks for cannot be done now", err)
}

// tell logs what went wrong with something, when it is news.
func (s *Shard) tell(what, text string, err error) {
	s.mu.Lock()
	usual := errors.Is(err, topic.ErrNotLeader) || errors.Is(err, context.Canceled) || s.said[what] == err.Error()
	s.said[what] = err.Error()
	s.mu.Unlock()
	if usual {
		return
	}
	s.o.Log.Warn(text, "what", what, "error", err)
}
