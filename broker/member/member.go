package member

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/broker/cluster"
	"brokerd/broker/lately"
	"brokerd/broker/peer"
	"brokerd/broker/replica"
	"brokerd/diskqueue/manifest"
	"brokerd/diskqueue/wal"
)

// Member is a node of a cluster, or one that wants to be. New checks, Start begins, Close ends; each is called once.
type Member struct {
	o     Options
	links *peer.Node
	ctx   context.Context
	stop  context.CancelFunc
	loops sync.WaitGroup

	clock   *replica.Clock // of all groups
	serving sync.WaitGroup // commands of other nodes
	kick    chan struct{}  // there is something to be done
	asked   chan struct{}  // places for commands of other nodes

	budget *replica.Budget // of bytes that groups keep in memory together
	tally  replica.Tally   // of the replicas of group 0

	changing sync.Mutex // one change of where the replica of group 0 begins, or checkpoint of it, at a time

	mu      sync.Mutex
	saved   Saved
	files   map[uint32]manifest.GroupCheckpoint // by group, 0 that of the map
	unsaved bool                                // the manifest may lack something of saved
	epoch   int                                 // counts changes of where the replica begins
	way     way
	why     string // for people: why it is no member, or not yet
	sum     string // of the cluster that it would found
	looked  bool   // peers were asked whether they are in a cluster
	met     bool   // one of them was
	state   *cluster.State
	point   replica.Point // that state stands for
	group   *replica.Group
	led     time.Time // since when it is known who leads the map; zero: nobody is known
	broken  error     // why the group has stopped, until that is looked at
	reign   uint64
	routes  map[uint64]string // who has a replica of group 0, by its id
	dialled map[string]bool
	awaited map[uint64]chan error // results of commands that are waited for here, by their ids
	pending map[uint32]chan reply // of commands that another node was asked for
	stream  uint32
	told    *peer.Refusal // that has not been looked at
	sent    *whole        // the same
	sender  string        // of that
	final   func(*manifest.Manifest)
	said    map[string]string // what was logged last about something
	pushed  map[uint64]time.Time
	apart   map[string]bool // folders of members whose clocks differ; changed by run alone

	holdings map[uint32]*holding // by group

	stands standing // of the replica of group 0
	caught bool     // this node was ready once, see Ready

	rooms   []room     // that have kinds of frames of their own; set before Start
	deleted lately.Set // topics, as the map has said

	aside atomic.Bool // see StandAside
	tight tightness   // of disks
	fresh *since      // of the map

	began time.Time // set before run

	// Owned by run.
	resigned time.Time    // when leads were given away last, as this node stands aside
	cramped  time.Time    // since when its disk is short of room; zero: it is not
	gave     time.Time    // when leads were given away last for that
	again    func() error // has the replica of group 0 run that was closed; nil: it runs, or never will
	tried    time.Time
}

// way is where a node is on its way.
type way string

const (
	asking    way = "asking"
	candidate way = "candidate"
	member    way = "member"
	forgetful way = "forgetful"
	removed   way = "removed"
	stopped   way = "stopped"
)

// New returns a member of what a folder has. It fails when the folder is of another cluster.
func New(o Options) (*Member, error) {
	if err := o.normalize(); err != nil {
		return nil, err
	}
	groups, raw := o.Store.Kept()
	saved, err := parse(raw)
	if err != nil {
		return nil, err
	}
	if saved.Cluster != "" && saved.Left == "" && saved.Name != o.Name {
		return nil, fmt.Errorf("%w: it is a member of %q, and --cluster-name says %q", ErrName, saved.Name, o.Name)
	}
	m := &Member{o: o, saved: saved, files: map[uint32]manifest.GroupCheckpoint{}, fresh: newSince(), holdings: map[uint32]*holding{}, budget: replica.NewBudget(64 << 20),
		kick: make(chan struct{}, 1), asked: make(chan struct{}, 64), way: asking,
		routes: map[uint64]string{}, dialled: map[string]bool{}, awaited: map[uint64]chan error{}, pending: map[uint32]chan reply{},
		said: map[string]string{}, pushed: map[uint64]time.Time{}, apart: map[string]bool{}}
	m.clock = replica.NewClock(tick, func() {
		m.o.Stand()
		m.links.Beat() // there are links before there are groups
	})
	m.ctx, m.stop = context.WithCancel(context.Background())
	if saved.Left != "" { // an operator has started it anew, to be let in again
		m.saved = Saved{Name: o.Name, Life: saved.Life, Lives: saved.Lives}
	}
	m.saved.Name = o.Name
	for _, g := range groups {
		m.files[g.Number] = g.File
	}
	return m, nil
}

// Start takes connections of peers from a listener and begins. It fails when the listener may not be used; it closes that in the end. While the start
// cannot be written down, as the disk is full, the node is nothing in its cluster, and begins when it can be: its own topics are served.
func (m *Member) Start(l net.Listener) (err error) {
	m.links, err = peer.New(peer.Options{Self: m.hello(), TLS: m.o.TLS, Secret: m.o.Secret, Dialer: m.o.Dialer, Judge: m.judge, Refused: m.refused, Received: m.received,
		Asked: m.answer, Ended: m.ended, BulkRate: m.o.BulkRate, Skew: m.o.Skew, Log: m.o.Log})
	if err != nil {
		l.Close()
		return err
	}
	life := m.now().Life.Next(random())
	begins := func(s *Saved) { s.Life, s.Vowed = life, max(s.Vowed, m.o.Election) }
	if err := m.save(begins); err != nil {
		m.o.Log.Error("this start cannot be written down: the node is in no cluster until it can be", "error", err)
		m.set(stopped, "this start cannot be written down: "+err.Error())
		m.loops.Go(func() { m.later(l, begins) })
		return nil
	}
	return m.open(l)
}

// later begins once the start is written down.
func (m *Member) later(l net.Listener, begins func(*Saved)) {
	for {
		select {
		case <-m.ctx.Done():
			l.Close()
			return
		case <-time.After(m.o.Pace):
		}
		if m.save(begins) != nil {
			continue
		}
		m.set(asking, "")
		if err := m.open(l); err != nil {
			m.o.Log.Error("the node cannot begin in its cluster, until the broker is started again", "error", err)
			m.set(stopped, err.Error())
		}
		return
	}
}

// open goes on with what the folder has, and begins to serve peers.
func (m *Member) open(l net.Listener) error {
	m.links.Become(m.hello())
	if m.now().Map != nil {
		if err := m.resume(); err != nil {
			l.Close()
			m.links.Close()
			return err
		}
	}
	if err := m.links.Serve(l); err != nil {
		m.closeGroup()
		m.links.Close()
		return err
	}
	m.tight.linked.Store(true)
	m.began = time.Now()
	m.loops.Go(m.run)
	return nil
}

// Close ends all. Groups of topics that this node leads are handed over first, if that is soon done; the map is not. Checkpoint goes on to say
// what it said last.
func (m *Member) Close() {
	m.Resign()
	final, _, _ := m.Checkpoint()
	m.stop()
	m.mu.Lock()
	m.final = final
	m.mu.Unlock()
	if m.links == nil {
		return
	}
	m.loops.Wait()
	m.closeGroups("the broker is stopping")
	m.closeGroup()
	m.links.Close()
	m.serving.Wait()
	m.giveUpTransfers()
}

func random() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])
}

// now returns what the node must not forget.
func (m *Member) now() Saved {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.saved.clone()
}

// save changes it, synced. After an error the change may count or not; it is written with the next one.
func (m *Member) save(change func(*Saved)) error {
	err := m.o.Store.Keep(func(man *manifest.Manifest) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.saved = m.saved.clone()
		change(&m.saved)
		m.saved.enter(man, m.files)
		m.unsaved = true
	})
	if err == nil {
		m.mu.Lock()
		m.unsaved = false
		m.mu.Unlock()
	}
	return err
}

// hello is what the node says of itself.
func (m *Member) hello() peer.Hello {
	s := m.now()
	h := peer.Hello{Folder: m.o.Folder, Name: m.o.Node, Cluster: s.Cluster, Lineage: s.Life.Lineage, Starts: s.Life.Starts, Nonce: s.Life.Nonce, Past: s.Life.Past}
	if s.Left != "" {
		h.Cluster = ""
	}
	return h
}

// resume goes on with the replica that the folder has.
func (m *Member) resume() error {
	s := m.now()
	start := *s.Map
	groups, _ := m.o.Store.Kept()
	w, err := m.load()
	if err == nil && w.Point.Index != start.Applied.Index {
		err = fmt.Errorf("the map stands for entry %d, and the manifest says %d", w.Point.Index, start.Applied.Index)
	}
	if err != nil {
		m.o.Log.Error("the map of the cluster cannot be read here: it is taken from another member", "error", err)
	} else {
		m.setMap(w)
	}
	kept, named := groupIn(groups, mapGroup)
	start.Missing = err != nil || !named || kept.Lost
	h := m.o.Recovery.History(start, wal.Synced, m.o.Report)
	switch err := h.Check(); {
	case errors.Is(err, replica.ErrRemoved):
		return m.leave(err.Error())
	case err != nil:
		return m.forget(err)
	}
	return m.begin(h)
}

// load reads the map that the manifest names.
func (m *Member) load() (*whole, error) {
	m.mu.Lock()
	file := m.files[mapGroup]
	m.mu.Unlock()
	b, err := m.o.Store.ReadGroup(mapGroup, file)
	if err != nil {
		return nil, err
	}
	return decodeWhole(b)
}

// setMap takes a whole map for what is known.
func (m *Member) setMap(w *whole) {
	m.mu.Lock()
	m.nameAllLocked(m.state, w.Map)
	m.state, m.point = w.Map, w.Point
	m.route()
	m.mu.Unlock()
}

// run walks the node's way until Close.
func (m *Member) run() {
	for {
		pause := m.o.Pace
		if m.tight.own.Load() {
			m.tellTight(true)
		}
		switch m.look(); m.at() {
		case member:
			m.keepVow()
			m.goOn()
			m.tend()
			m.tendGroups()
			m.watchClocks()
			pause -= time.Duration(time.Now().UnixNano()) % pause // as shards do: a node that rests is woken once
		case asking, candidate, forgetful:
			m.ask()
			pause /= 2
		}
		m.dial()
		t := time.NewTimer(pause)
		select {
		case <-m.ctx.Done():
			t.Stop()
			return
		case <-m.kick:
		case <-t.C:
		}
		t.Stop()
	}
}

// keepVow forgets the longer election timeout of an earlier start once no leader relies on it any more.
func (m *Member) keepVow() {
	m.mu.Lock()
	vowed := m.saved.Vowed
	m.mu.Unlock()
	if vowed > m.o.Election && time.Since(m.began) > vowed {
		m.report("the election timeout", m.save(func(s *Saved) { s.Vowed = m.o.Election }))
	}
}

// look looks at what has happened to the group, and at what others have told the node of itself.
func (m *Member) look() {
	m.mu.Lock()
	broken, told, sent, sender, at := m.broken, m.told, m.sent, m.sender, m.way
	m.currentLocked(time.Now())
	m.broken, m.told, m.sent = nil, nil, nil
	m.mu.Unlock()
	if sent != nil && broken == nil && told == nil {
		m.catchUp(sent, sender)
		return
	}
	err := error(nil)
	switch {
	case told != nil && told.Old && at != removed:
		err = m.renew(told)
	case told != nil && told.Removed && at == member:
		m.ask()
	case broken == nil || at != member:
	case errors.Is(broken, replica.ErrForgetful), errors.Is(broken, replica.ErrDrift), errors.Is(broken, replica.ErrRemoved):
		err = m.forget(broken)
	default:
		m.closeGroup()
		m.set(stopped, broken.Error())
		m.o.Log.Error("the replica of the map has stopped, until the broker is started again", "error", broken)
	}
	if err != nil { // it is found again
		m.o.Log.Error("what has happened to the membership cannot be written down", "error", err)
		m.mu.Lock()
		m.broken, m.told = broken, told
		m.mu.Unlock()
	}
}

// forget notes for good that the replica of group 0 may lack what it had acknowledged, and ends it.
func (m *Member) forget(why error) error {
	m.o.Log.Warn("the replica of the map is not what it was: it asks to come back under another id", "why", why)
	m.closeGroup()
	err := m.save(func(s *Saved) {
		if s.Map != nil && s.Map.Forgetful == "" {
			s.Map.Forgetful = why.Error()
		}
	})
	m.set(forgetful, why.Error())
	return err
}

// renew gives up what the folder was, as a later start of it was seen: it is an old copy, or a second process has one.
func (m *Member) renew(r *peer.Refusal) error {
	m.o.Log.Error("this data folder is an old copy, or another process has one: it gives up its votes and comes back as another replica", "said", r.Reason)
	m.closeGroups(r.Reason)
	m.closeGroup()
	err := m.save(func(s *Saved) {
		s.forgetGroups("the folder is an old copy")
		s.Life = replica.Life{Lineage: max(s.Life.Lineage, r.Lineage) + 1}.Next(random())
		if s.Map != nil && s.Map.Forgetful == "" {
			s.Map.Forgetful = "the folder is an old copy"
		}
	})
	if s := m.now(); s.Map != nil {
		m.set(forgetful, r.Reason)
	}
	m.links.Become(m.hello())
	return err
}

// leave notes that the cluster has the node no more.
func (m *Member) leave(why string) error {
	m.o.Log.Warn("the node is no member of the cluster any more", "cluster", m.o.Name, "why", why, "hint", comeBack)
	m.closeGroups(why)
	m.closeGroup()
	s := m.now()
	var err error
	if s.Map != nil {
		err = replica.Leave(m.o.Journal, mapGroup, s.Map.Replica)
	}
	err = errors.Join(err, m.save(func(s *Saved) { s.Left, s.Map, s.Groups = why, nil, nil }))
	m.set(removed, why+"; "+comeBack)
	m.mu.Lock()
	m.nameAllLocked(m.state, nil)
	m.mu.Unlock()
	m.links.Become(m.hello())
	return err
}

// comeBack says what somebody can do whose node was removed, and is started again on what it had: on the volume of a pod that comes back, say.
const comeBack = "started again it waits until an operator lets it in, with brokerctl cluster add"

func (m *Member) set(w way, why string) {
	m.mu.Lock()
	m.way, m.why = w, why
	m.mu.Unlock()
}

func (m *Member) at() way {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.way
}

// wake has run look at once.
func (m *Member) wake() {
	select {
	case m.kick <- struct{}{}:
	default:
	}
}
