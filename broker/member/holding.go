package member

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"brokerd/broker/cluster"
	"brokerd/broker/peer"
	"brokerd/broker/replica"
	"brokerd/diskqueue/manifest"
	"brokerd/diskqueue/wal"
)

// holding is this node's replica of a group of topics.
type holding struct {
	m      *Member
	number uint32
	id     uint64            // of the replica
	routes map[uint64]string // folders of the group's replicas, which do not change
	tally  replica.Tally

	// Guarded by Member.mu.
	shard   Shard
	group   *replica.Group // nil: it does not run
	broken  error          // why it is to be ended
	why     string         // why it does not run, for people
	lost    bool           // it never will again
	stands  standing
	coming  *transfer                 // what the group holds, on its way here
	sent    *transfer                 // the same: all of it has come
	came    struct{ id, size uint64 } // the transfer of which all has come last
	leaving map[uint64]*pieces        // what it holds, on its way to others, by transfers
	pushed  map[uint64]time.Time      // when it may be sent again to a replica
	sending map[uint64]bool           // replicas that it is being sent to
	rests   map[uint64]time.Duration  // for how long it was not sent again to a replica, the last time
	over    map[uint64]uint64         // the link that there was to it then
	behind  time.Time                 // until when the log is kept for them
	least   uint64                    // up to which entry all replicas are known to have the log, as who leads has said; 0: nobody has

	counted int64     // bytes of entries that were applied when the last checkpoint was written
	stood   uint64    // bytes that had been written to the node's log then
	cut     uint64    // up to which entry the log was last let go of
	failed  time.Time // when a checkpoint could not be written last

	// Owned by Member.run.
	again func() error // has a replica run that does not, for a reason that may pass; nil: there is none, or it never will
	tried time.Time
}

// tendGroups has this node's replicas of groups run that have topics, and tells them of the map.
func (m *Member) tendGroups() {
	ctx, cancel := context.WithTimeout(m.ctx, m.o.Wait)
	defer cancel()
	m.mu.Lock()
	state := m.state
	m.mu.Unlock()
	if m.o.Shard == nil || state == nil {
		return
	}
	for i := range state.Groups {
		g := &state.Groups[i]
		r, ok := g.ReplicaOn(m.o.Folder)
		if !ok || !g.Begun() {
			continue
		}
		m.mu.Lock()
		h := m.holdings[uint32(g.Number)]
		m.mu.Unlock()
		if h == nil {
			h = m.hold(g, r.ID)
		}
		h.tend(state)
		h.push(ctx)
	}
	if m.aside.Load() && time.Since(m.resigned) >= resignEvery {
		m.resigned = time.Now()
		m.serving.Go(m.Resign)
	}
	m.giveLeads()
}

// hold has the replica of a group run, or notes why it does not.
func (m *Member) hold(g *cluster.Group, id uint64) *holding {
	h := &holding{m: m, number: uint32(g.Number), id: id, routes: map[uint64]string{}, pushed: map[uint64]time.Time{}, sending: map[uint64]bool{}, rests: map[uint64]time.Duration{}, over: map[uint64]uint64{}, leaving: map[uint64]*pieces{}}
	var voters []uint64
	for _, r := range g.Replicas {
		h.routes[r.ID] = r.Folder
		voters = append(voters, r.ID)
	}
	saved := m.now()
	switch start := saved.Groups[h.number]; {
	case start == nil && saved.Life.Lineage > 0:
		h.fail(fmt.Errorf("%w: the folder was an old copy, and may have had this group before", replica.ErrForgetful))
	case start == nil:
		h.try(func() error { return h.found(voters) })
	case start.Replica != id:
		h.fail(fmt.Errorf("%w: the map has replica %d here, and the folder has replica %d", replica.ErrForgetful, id, start.Replica))
	default:
		h.try(func() error { return h.resume(*start) })
	}
	m.mu.Lock()
	m.holdings[h.number] = h
	m.mu.Unlock()
	return h
}

// try does something that ends with a replica that runs. When it fails for a reason that may pass, as a full disk is, it is tried again later,
// or what it has said is to be tried in its place.
func (h *holding) try(begin func() error) {
	h.again, h.tried = begin, time.Now()
	if err := begin(); err != nil {
		h.fail(err)
		return
	}
	h.again = nil
}

// tryAgain is try of what has failed, now and then.
func (h *holding) tryAgain() {
	if h.again != nil && time.Since(h.tried) >= h.m.o.Pace {
		h.try(h.again)
	}
}

// fail notes why it does not run. One that may have forgotten something stays so.
func (h *holding) fail(err error) {
	if h.m.news(fmt.Sprint("group ", h.number), err.Error()) {
		h.m.o.Log.Error("a replica of a group of topics does not run here", "group", h.number, "error", err)
	}
	if errors.Is(err, replica.ErrForgetful) || errors.Is(err, replica.ErrDrift) {
		h.again = nil
		saveErr := h.m.save(func(s *Saved) {
			if start := s.Groups[h.number]; start != nil && start.Forgetful == "" {
				start.Forgetful = err.Error()
			}
		})
		if saveErr != nil {
			h.m.o.Log.Error("that a replica has forgotten something cannot be written down", "group", h.number, "error", saveErr)
		}
	}
	h.m.mu.Lock()
	h.why, h.lost = err.Error(), errors.Is(err, replica.ErrForgetful) || errors.Is(err, replica.ErrDrift)
	h.m.mu.Unlock()
}

// found begins a group that is new, as each of its replicas does by itself.
func (h *holding) found(voters []uint64) error {
	m := h.m
	at := replica.Point{Index: 1, Term: 1}
	at.Members.Voters = voters
	s, err := m.o.Shard(h.number, nil, at, h.stop)
	if err != nil {
		return err
	}
	m.changing.Lock()
	defer m.changing.Unlock()
	content, _, counts, err := s.Content()
	var file manifest.GroupCheckpoint
	if err == nil {
		file, err = m.o.Store.WriteGroup(h.number, packHead(at), content)
	}
	var start replica.Start
	if err == nil {
		start, err = replica.Begin(m.o.Journal, h.number, h.id, 1, at)
	}
	if err != nil { // the next try makes another one
		h.reported(s.Discard())
		return fmt.Errorf("begin group %d: %w", h.number, err)
	}
	return h.enter(start, file, s, counts, (&replica.Recovery{}).History(start, wal.Synced, &wal.Report{}))
}

// enter has the manifest say where the replica begins, and runs it. When that cannot be written it may be written all the same: then there is
// no other way but to write it again. Member.changing is held.
func (h *holding) enter(start replica.Start, file manifest.GroupCheckpoint, s Shard, counts func(), history *replica.History) error {
	m := h.m
	err := m.save(func(s *Saved) {
		if s.Groups == nil {
			s.Groups = map[uint32]*replica.Start{}
		}
		s.Groups[h.number] = &start
		m.files[h.number] = file
	})
	if err == nil {
		counts()
		err = h.begin(s, history)
	}
	if err == nil {
		return nil
	}
	h.again = func() error {
		m.changing.Lock()
		defer m.changing.Unlock()
		return h.enter(start, file, s, counts, history)
	}
	return fmt.Errorf("begin group %d: %w", h.number, err)
}

// resume goes on with the replica that the folder has.
func (h *holding) resume(start replica.Start) error {
	m := h.m
	m.mu.Lock()
	file := m.files[h.number]
	m.mu.Unlock()
	b, err := m.o.Store.ReadGroup(h.number, file)
	if unread(err) {
		return fmt.Errorf("resume group %d: %w", h.number, err)
	}
	var at replica.Point
	var content []byte
	if err == nil {
		at, content, err = unpack(b)
	}
	if err == nil && at.Index != start.Applied.Index {
		err = fmt.Errorf("the checkpoint stands for entry %d, and the manifest says %d", at.Index, start.Applied.Index)
	}
	var s Shard
	if err == nil {
		if s, err = m.o.Shard(h.number, content, at, h.stop); unread(err) {
			return fmt.Errorf("resume group %d: %w", h.number, err)
		}
	}
	groups, _ := m.o.Store.Kept()
	kept, named := groupIn(groups, h.number)
	start.Missing = err != nil || !named || kept.Lost
	history := m.o.Recovery.History(start, wal.Synced, m.o.Report)
	if gone := history.Check(); gone != nil {
		if s != nil {
			s.Close()
		}
		return errors.Join(gone, err)
	}
	m.mu.Lock()
	h.cut = start.Back.Index
	m.mu.Unlock()
	return h.begin(s, history)
}

// unread reports whether an error is one of a disk that does not give back what is there, as far as anybody knows: it may do so later.
func unread(err error) bool {
	var fault syscall.Errno
	return errors.As(err, &fault) && !errors.Is(err, fs.ErrNotExist)
}

// begin runs the replica.
func (h *holding) begin(s Shard, history *replica.History) error {
	m := h.m
	o := m.groupOptions(h.number, &h.tally)
	o.Full = s.Full
	g, err := replica.New(o, history, s, h)
	if err != nil {
		return fmt.Errorf("begin the replica of group %d: %w", h.number, err)
	}
	s.Start(g)
	m.mu.Lock()
	h.shard, h.group, h.why, h.lost, h.counted = s, g, "", false, 0
	m.mu.Unlock()
	m.news(fmt.Sprint("group ", h.number), "")
	g.Start()
	return nil
}

// groupIn returns what a manifest says of a group.
func groupIn(groups []manifest.Group, number uint32) (g manifest.Group, ok bool) {
	for _, g := range groups {
		if g.Number == number {
			return g, true
		}
	}
	return g, false
}

// stop is told by the group, or by the shard, that the replica is to be ended.
func (h *holding) stop(err error) {
	if !replica.Final(err) {
		return
	}
	h.m.mu.Lock()
	if h.broken == nil {
		h.broken = err
	}
	h.m.mu.Unlock()
	h.m.wake()
}

// tend tells it of the map, and ends it if it is to be ended.
func (h *holding) tend(state *cluster.State) {
	h.m.mu.Lock()
	s, broken, sent := h.shard, h.broken, h.sent
	h.broken, h.sent = nil, nil
	h.m.mu.Unlock()
	switch {
	case broken != nil:
		h.close()
		h.fail(broken)
	case s == nil:
		h.tryAgain()
	case sent != nil:
		h.catchUp(sent)
		return
	default:
		s.Tend(state)
	}
	h.reported(sent.close())
}

// close ends the replica, if it runs, and what is on its way to it: whatever it begins with next removes segments that are not its own.
func (h *holding) close() {
	h.m.mu.Lock()
	g, s, coming := h.group, h.shard, h.coming
	h.group, h.shard, h.coming = nil, nil, nil
	h.m.mu.Unlock()
	h.reported(coming.close())
	if g != nil {
		g.Close()
		s.Close()
	}
}

// closeGroups ends all replicas of groups of topics. why says what keeps them from being begun again.
func (m *Member) closeGroups(why string) {
	for _, h := range m.held() {
		h.close()
		m.mu.Lock()
		h.why, h.lost = why, true
		m.mu.Unlock()
	}
}

// forgetGroups notes in what is saved that no replica of a group of topics is what it was.
func (s *Saved) forgetGroups(why string) {
	for _, start := range s.Groups {
		if start.Forgetful == "" {
			start.Forgetful = why
		}
	}
}

// StandAside has this node give the lead of groups of topics away for as long as it stands aside, also when it is elected again.
func (m *Member) StandAside(on bool) {
	m.aside.Store(on)
	m.wake()
}

// resignEvery is how often a node that stands aside gives leads away: others may stand aside as well, or be away.
const resignEvery = 3 * time.Second

// resignWithin is how long a node that stops waits for others to lead its groups of topics.
const resignWithin = 500 * time.Millisecond

// Resign hands the groups of topics that this node leads over to those that lack least, and returns when they lead, or it takes too long.
// Close does so, too.
func (m *Member) Resign() { m.resignTo(func(*holding, uint64, *replica.Status) bool { return true }) }

// resignTo is Resign to replicas that suit.
func (m *Member) resignTo(suits func(h *holding, id uint64, st *replica.Status) bool) {
	if m.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), resignWithin)
	defer cancel()
	var all sync.WaitGroup
	for _, h := range m.held() {
		m.mu.Lock()
		g := h.group
		m.mu.Unlock()
		if g != nil {
			all.Go(func() { handOver(ctx, g, func(id uint64, st *replica.Status) bool { return suits(h, id, st) }) })
		}
	}
	all.Wait()
}

// handOver returns when a replica leads no more, or none that suits is there, or the context ends. One that lacks what the log has no more cannot lead. Before
// the first answer, as a replica has that was elected just now, nobody can be told from who is away: it waits for one.
func handOver(ctx context.Context, g *replica.Group, suits func(id uint64, st *replica.Status) bool) {
	for told := false; ; {
		st, err := g.Status(ctx)
		if err != nil || st.Match == nil {
			return
		}
		to, others, answered := uint64(0), false, false
		for id, match := range st.Match {
			others = others || id != st.ID
			answered = answered || id != st.ID && st.Active[id] && match > 0
			if id != st.ID && st.Active[id] && match >= st.Base && suits(id, &st) && (to == 0 || match > st.Match[to]) {
				to = id
			}
		}
		switch {
		case told:
		case to != 0:
			told = g.HandOver(ctx, to) == nil
		case answered || !others:
			return // nobody is there
		}
		select {
		case <-time.After(tick / 10):
		case <-ctx.Done():
			return
		}
	}
}

// held returns all holdings, by their numbers.
func (m *Member) held() (list []*holding) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, number := range slices.Sorted(maps.Keys(m.holdings)) {
		list = append(list, m.holdings[number])
	}
	return list
}

// Send is replica.Transport's.
func (h *holding) Send(to uint64, lane replica.Lane, message []byte, leaves replica.When) {
	h.m.sendOf(h.number, h.id, h.routes[to], lane, message, leaves)
}

// stepGroup takes a message of another replica of a group of topics.
func (m *Member) stepGroup(folder string, lane peer.Lane, group uint32, payload []byte, last bool) {
	m.mu.Lock()
	h := m.holdings[group]
	var g *replica.Group
	if h != nil {
		g = h.group
	}
	m.mu.Unlock()
	if g == nil || len(payload) < 8 {
		return
	}
	from := binary.BigEndian.Uint64(payload)
	if h.routes[from] != folder { // nobody speaks for another one's replica
		return
	}
	m.stepOf(g, from, lane, payload[8:], last)
}

// Topic is what the map says of a replicated topic.
type Topic struct {
	Group    int
	Number   uint32 // in the group
	Deleting bool
}

// ErrNoMap is a member that does not know whether its map is that of now, or has lost it.
var ErrNoMap = errors.New("the map of the cluster is not known here just now")

// current is for how long a member must have known who leads the map for what is not in its own to be in none: a start knows the map as of its
// checkpoint, and the entries behind that, or that it has missed, come within a few ticks once there is a leader.
const current = 10 * tick

// Topic returns what the map says of a topic, ok false when it is not replicated: that is only known while it is known who leads the map, or a
// topic of this node alone would be made in the place of one that the map has since; and to a node of no cluster, while none of its peers has one. It waits for nothing, and fails with ErrNoMap.
func (m *Member) Topic(name string) (t Topic, ok bool, err error) { return m.topic(name, false) }

// topic is Topic; fresh says that the map which is known here was found to be that of now.
func (m *Member) topic(name string, fresh bool) (t Topic, ok bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.way == removed:
		return t, false, nil
	case m.saved.Cluster == "" && (m.met || !m.looked): // the cluster is there, as when this node's folder was emptied
		return t, false, fmt.Errorf("%w: this broker is not in its cluster yet: %s", ErrNoMap, m.why)
	case m.saved.Cluster == "":
		return t, false, nil
	case m.state == nil:
		return t, false, ErrNoMap
	}
	in, ok := m.state.Topics[name]
	if !ok && !fresh && !m.currentLocked(time.Now()) {
		return t, false, ErrNoMap
	}
	return Topic{in.Group, in.Number, in.Deleting}, ok, nil
}

// Sure is Topic for who is about to make a topic of this node alone: what is said of one that is not replicated is of the map as it is after the call
// began, wherever it is kept. A node that is cut off, and has not noticed, fails with ErrNoMap, after Options.Wait at most.
func (m *Member) Sure(name string) (t Topic, ok bool, err error) {
	t, ok, err = m.Topic(name)
	m.mu.Lock()
	alone := m.way == removed || m.saved.Cluster == ""
	m.mu.Unlock()
	if ok || err != nil || alone {
		return t, ok, err
	}
	if err := m.fresh.of(func() error { return m.catchUpNow() }); err != nil {
		return t, false, fmt.Errorf("%w: %w", ErrNoMap, err)
	}
	return m.topic(name, true)
}

// catchUpNow returns once the map that is known here is no older than when it was called: it has a command entered that is refused, as it founds what
// is there, and waits until that has come to this node, whose disk may be slow.
func (m *Member) catchUpNow() error {
	if err := m.request(m.ctx, request{Command: cluster.Command{Op: cluster.OpFound}, here: true}); !errors.Is(err, cluster.ErrRefused) {
		return err
	}
	return nil
}

// since shares what it does among those who want it done from when they come on. newSince makes it.
type since struct {
	begun atomic.Uint64
	turn  chan struct{} // empty while it is done, which takes long; who has taken from it owns what follows
	done  uint64        // which one was done last
	err   error         // what became of that
}

func newSince() *since {
	s := &since{turn: make(chan struct{}, 1)}
	s.turn <- struct{}{}
	return s
}

// of returns once it was done, beginning after the call.
func (s *since) of(do func() error) error {
	want := s.begun.Load() + 1
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	if s.done < want {
		s.done = s.begun.Add(1)
		s.err = do()
	}
	return s.err
}

// currentLocked reports whether the map that is known here is that of now, as far as a member can know by itself. It is called now and then.
func (m *Member) currentLocked(now time.Time) bool {
	if m.group == nil || m.group.Leader() == 0 {
		m.led = time.Time{}
		return false
	}
	if m.led.IsZero() {
		m.led = now
	}
	return now.Sub(m.led) >= current
}

// AtLeader reports whether clients are to be told of the leader of a topic alone.
func (m *Member) AtLeader(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state == nil {
		return false
	}
	t := m.state.Topics[name]
	return t.Served().AtLeader()
}

// DeleteTopic has a replicated topic deleted. Its errors are those of Do.
func (m *Member) DeleteTopic(ctx context.Context, name string) error {
	return m.Do(ctx, cluster.Command{Op: cluster.OpDelete, Topic: name})
}

// DeletedLately reports whether a replicated topic of that name was deleted within the last 30 s.
func (m *Member) DeletedLately(name string) bool { return m.deleted.Has(name) }
