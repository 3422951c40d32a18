package member

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"brokerd/broker/cluster"
	"brokerd/broker/peer"
	"brokerd/broker/replica"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/manifest"
	"brokerd/diskqueue/wal"
)

// begin starts the replica of group 0 with what a log has of it. The map as of the history's checkpoint is known.
func (m *Member) begin(h *replica.History) error {
	w := &owner{m: m}
	g, err := replica.New(m.groupOptions(mapGroup, &m.tally), h, w, w)
	if err != nil {
		return fmt.Errorf("begin the replica of the map: %w", err)
	}
	m.mu.Lock()
	m.group, m.broken, m.way, m.why = g, nil, member, ""
	m.mu.Unlock()
	m.links.Become(m.hello())
	g.Start()
	return nil
}

// groupOptions returns how a group is kept, and by whom is counted what its replica does.
func (m *Member) groupOptions(number uint32, tally *replica.Tally) replica.Options {
	return replica.Options{Log: m.o.Journal, Level: wal.Synced, Clock: m.clock, ElectionTicks: int(m.o.Election / tick), QuietTicks: int(m.now().Vowed / tick), Budget: m.budget, TellLate: number != mapGroup,
		Tally: tally, Logger: m.o.Log.With("group", number)}
}

// closeGroup ends the replica, if there is one.
func (m *Member) closeGroup() *replica.Group {
	m.mu.Lock()
	g := m.group
	m.group = nil
	m.mu.Unlock()
	if g != nil {
		g.Close()
		m.mu.Lock()
		m.reign = 0
		m.mu.Unlock()
	}
	return g
}

// install writes down that the replica of group 0 begins with a map, under an id, and starts it. how is given where it began
// before, and writes down where it does now.
func (m *Member) install(w *whole, how func(was replica.Start) (replica.Start, *replica.History, error)) error {
	m.changing.Lock()
	defer m.changing.Unlock()
	m.mu.Lock()
	m.epoch++
	var was replica.Start
	if m.saved.Map != nil {
		was = *m.saved.Map
	}
	m.mu.Unlock()
	file, err := m.o.Store.WriteGroup(mapGroup, w.encode())
	if err != nil {
		return err
	}
	start, h, err := how(was)
	if err != nil {
		return err
	}
	err = m.save(func(s *Saved) {
		s.Name, s.Cluster, s.Left, s.Map = w.Map.Name, w.Map.Cluster, "", &start
		m.files[mapGroup] = file
	})
	if err != nil {
		return err
	}
	m.setMap(w)
	return m.begin(h)
}

// installNew is install under an id that this node has not had.
func (m *Member) installNew(w *whole, id uint64) error {
	return m.install(w, func(was replica.Start) (replica.Start, *replica.History, error) {
		start, err := replica.Begin(m.o.Journal, mapGroup, id, was.Generation+1, w.Point)
		if err != nil {
			return start, nil, err
		}
		return start, (&replica.Recovery{}).History(start, wal.Synced, &wal.Report{}), nil
	})
}

// leads reports whether a node leads the map, as the replica here knows it.
func (m *Member) leads(folder string) bool {
	m.mu.Lock()
	g := m.group
	m.mu.Unlock()
	if g == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(m.ctx, m.o.Wait)
	defer cancel()
	st, err := g.Status(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	return err == nil && st.Lead != 0 && m.routes[st.Lead] == folder
}

// catchUp begins behind a map that who leads has sent, as it has no older entries any more. From nobody else it is taken.
func (m *Member) catchUp(w *whole, from string) {
	if !m.leads(from) {
		m.o.Log.Warn("the map that was sent whole is not taken, as it is not of the node that leads", "folder", from)
		return
	}
	m.mu.Lock()
	behind := m.way == member && m.group != nil && m.point.Index < w.Point.Index && m.state.Cluster == w.Map.Cluster
	m.mu.Unlock()
	if !behind {
		return
	}
	g := m.closeGroup()
	if g == nil {
		return
	}
	err := m.install(w, func(was replica.Start) (replica.Start, *replica.History, error) { return g.Rebase(was, w.Point) })
	if err == nil {
		m.o.Log.Info("the map of the cluster was sent whole, as older changes are kept nowhere any more", "entry", w.Point.Index)
		return
	}
	if !errors.Is(err, replica.ErrNotBehind) { // else it has all that the map has, and was about to say so
		m.o.Log.Warn("the map that was sent whole is not taken", "error", err)
	}
	m.again = func() error {
		h, err := g.Again(*m.now().Map)
		if err == nil {
			err = m.begin(h)
		}
		return err
	}
	m.goOn()
}

// goOn has the replica of group 0, which was closed, run again as what it was. It is tried until the disk takes it.
func (m *Member) goOn() {
	m.mu.Lock()
	if m.group != nil {
		m.again = nil // it has come back otherwise
	}
	m.mu.Unlock()
	if m.again == nil || time.Since(m.tried) < m.o.Pace {
		return
	}
	m.tried = time.Now()
	err := m.again()
	m.report("to go on with the replica of the map", err)
	if err != nil && !replica.Final(err) {
		return
	}
	m.again = nil
	if err != nil {
		m.mu.Lock()
		m.broken = err
		m.mu.Unlock()
	}
}

// Checkpoint is storage.Groups'.
func (m *Member) Checkpoint() (change func(*manifest.Manifest), counts func(), err error) {
	if !m.changing.TryLock() { // it begins elsewhere; the next one has it
		return nil, nil, nil
	}
	defer m.changing.Unlock()
	m.mu.Lock()
	epoch, final := m.epoch, m.final
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), m.o.Wait)
	defer cancel()
	theMap, groups := m.checkpointMap(ctx), m.checkpointGroups(ctx)
	if theMap == nil && len(groups) == 0 {
		return final, nil, nil
	}
	var named []func()
	counts = func() {
		for _, f := range named {
			f()
		}
	}
	return func(man *manifest.Manifest) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.saved = m.saved.clone()
		if theMap != nil && m.epoch == epoch && m.saved.Map != nil && m.saved.Map.Forgetful == "" {
			m.saved.Map, m.files[mapGroup] = theMap.start, theMap.file
		}
		named = m.enterGroups(groups)
		m.saved.enter(man, m.files)
	}, counts, nil
}

// checkpointMap writes down the map, nil when there is nothing to change.
func (m *Member) checkpointMap(ctx context.Context) *kept {
	m.mu.Lock()
	g, w, start, file := m.group, &whole{m.point, m.state}, m.saved.Map, m.files[mapGroup]
	m.mu.Unlock()
	if g == nil || start == nil {
		return nil
	}
	next := *start
	if w.Point.Index > start.Applied.Index {
		written, err := m.o.Store.WriteGroup(mapGroup, w.encode())
		if m.report("a checkpoint of the map", err); err != nil {
			return nil
		}
		file = written
	}
	next.Applied, next.Back = w.Point, start.Applied
	err := g.Compact(ctx, next.Back, true)
	if err == nil {
		next.From, _, err = g.Remember(ctx) // the broker's own checkpoint syncs the log
	}
	if err != nil {
		return nil // it is ending; what the manifest says stays right
	}
	return &kept{start: &next, file: file}
}

// owner is what group 0 tells, and sends by.
type owner struct {
	m      *Member
	failed bool // a command was not understood: nothing more is applied
}

// Lead is replica.Owner's.
func (o *owner) Lead(term, _ uint64) {
	o.m.mu.Lock()
	o.m.reign = term
	o.m.mu.Unlock()
	o.m.o.Log.Info("this node leads the map of the cluster", "term", term)
	o.m.wake()
}

// Lost is replica.Owner's.
func (o *owner) Lost(uint64) {
	o.m.mu.Lock()
	o.m.reign = 0
	o.m.mu.Unlock()
}

// Stopped is replica.Owner's.
func (o *owner) Stopped(err error) {
	if !replica.Final(err) {
		return
	}
	o.m.mu.Lock()
	o.m.broken = err
	o.m.mu.Unlock()
	o.m.wake()
}

// Behind is replica.Owner's.
func (o *owner) Behind() bool { return false }

// Committed is replica.Owner's: it changes the map.
func (o *owner) Committed(c *replica.Committed) {
	m := o.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if o.failed {
		return
	}
	var touched []string
	state := *m.state // Apply makes a new one in its place
	if c.Data != nil {
		err := journal.EachRecord(c.Data, func(_ uint64, kind journal.Kind, payload []byte) error {
			if kind == journal.KindMap {
				command, err := cluster.ParseCommand(payload)
				if err != nil {
					return err // of a newer version: the map would not be what others have
				}
				result := state.Apply(command)
				if command.Topic != "" {
					touched = append(touched, command.Topic)
				}
				if result == nil && command.Op == cluster.OpDelete {
					m.deleted.Add(command.Topic)
				}
				m.applies(command.ID, result)
			}
			return nil
		})
		if err != nil {
			o.failed, m.broken = true, fmt.Errorf("entry %d of the map: %w", c.Index, err)
			m.wake()
			return
		}
	}
	for _, name := range touched {
		m.nameLocked(name, m.state, &state)
	}
	m.state, m.point = &state, c.At
	m.route()
	m.wake()
}

// route notes who has which replica of group 0, and tells the number of this node. Those of before stay: they may have to be told that they are no more.
func (m *Member) route() {
	for _, r := range m.state.Meta {
		m.routes[r.ID] = r.Folder
	}
	if n, known := m.state.Nodes[m.o.Folder]; known && !n.Candidate && m.o.Number != nil {
		m.o.Number(n.Number)
	}
}

// Kinds of frames between members.
const (
	frameGroup    peer.Kind = 16 // of group 0: the sender's replica, u64, and a message of the engine
	frameCommand  peer.Kind = 17 // a command of the map, JSON; the stream tells which answer is to it
	frameReply    peer.Kind = 18 // its answer, a reply
	frameMap      peer.Kind = 19 // the map and the point that it stands for, a whole
	framePiece    peer.Kind = 20 // of a checkpoint of a group of topics: transfer, size of all, offset, u64 each, bytes; the stream is the group
	frameStanding peer.Kind = 21 // up to where who leads a group has applied it, u64; the stream is the group
	frameLeast    peer.Kind = 22 // of the same: up to where all its replicas are known to have it
	frameTaken    peer.Kind = 23 // how far a transfer has come: transfer, offset of the next piece, u64 each; the stream is the group
	frameTight    peer.Kind = 24 // whether the sender's disk is short of room for more messages of groups, one byte: 1, it is; 0, it is not
)

// Send is replica.Transport's.
func (o *owner) Send(to uint64, lane replica.Lane, message []byte, leaves replica.When) {
	o.m.mu.Lock()
	folder, self := o.m.routes[to], o.m.saved.Map
	o.m.mu.Unlock()
	if folder != "" && self != nil {
		o.m.sendOf(mapGroup, self.Replica, folder, lane, message, leaves)
	}
}

// sendOf sends a message of a group's engine, by a replica of this node. Links may lose it.
func (m *Member) sendOf(group uint32, self uint64, folder string, lane replica.Lane, message []byte, leaves replica.When) {
	over, send := peer.Control, m.links.Send
	if lane == replica.Bulk {
		over = peer.Log
	}
	switch leaves {
	case replica.Now:
		send = m.links.SendNow
	case replica.Later:
		send = m.links.SendLater
	}
	var id [8]byte
	binary.BigEndian.PutUint64(id[:], self)
	_ = send(folder, over, frameGroup, group, id[:], message)
}

// received takes what comes over a link.
func (m *Member) received(folder string, lane peer.Lane, kind peer.Kind, stream uint32, payload []byte, last bool) {
	switch kind {
	case frameGroup:
		if stream != mapGroup {
			m.stepGroup(folder, lane, stream, payload, last)
			return
		}
		m.step(folder, lane, payload, last)
	case frameCommand:
		m.serve(folder, stream, payload)
	case frameReply:
		m.replied(stream, payload)
	case framePiece:
		m.piece(folder, stream, payload)
	case frameTaken:
		m.toldTaken(folder, stream, payload)
	case frameStanding:
		m.toldStanding(folder, stream, payload)
	case frameLeast:
		m.toldLeast(folder, stream, payload)
	case frameTight:
		m.toldTight(folder, payload)
	case frameMap:
		w, err := decodeWhole(payload)
		if err != nil {
			m.o.Log.Error("the map that was sent whole cannot be read", "error", err)
			return
		}
		m.mu.Lock()
		m.sent, m.sender = w, folder
		m.mu.Unlock()
		m.wake()
	default:
		m.hand(folder, lane, kind, stream, payload)
	}
}

func (m *Member) step(folder string, lane peer.Lane, payload []byte, last bool) {
	if len(payload) < 8 {
		return
	}
	m.mu.Lock()
	g, from := m.group, binary.BigEndian.Uint64(payload)
	whose, known := m.routes[from]
	if !known {
		m.routes[from], whose = folder, folder
	}
	m.mu.Unlock()
	if g == nil || whose != folder { // nobody speaks for another one's replica
		return
	}
	m.stepOf(g, from, lane, payload[8:], last)
}

// stepOf gives a message of a group's engine to the replica here.
func (m *Member) stepOf(g *replica.Group, from uint64, lane peer.Lane, message []byte, last bool) {
	step, over := g.Step, replica.Control
	if lane == peer.Log {
		over = replica.Bulk
		if last && len(message) <= mostWritten {
			step = g.StepLast
		}
	}
	_ = step(m.ctx, from, over, message) // it ends only when it is over
}

// mostWritten is the largest message whose entries are written by the goroutine that has read it. While a larger one is, more is to be read.
const mostWritten = 16 << 10
