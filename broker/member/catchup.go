package member

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"sync"
	"time"

	"brokerd/broker/peer"
	"brokerd/broker/replica"
	"brokerd/diskqueue/manifest"
)

// A replica of a group of topics that lacks entries which are kept nowhere any more is sent what a checkpoint would have, by who leads: in
// pieces, over the lane for what is large. It says of each how far it has got; what it has not said it has is kept, and sent again over the next link when one ends.

const (
	pieceHead  = 24
	mostPieces = 8 // that are kept
	// Of what is said of how far a replica is:
	unknownPiece = 0              // it knows nothing of the transfer
	refusedPiece = math.MaxUint64 // it takes no more of it
	// askAgain is for how long nothing was sent or said when the oldest piece is sent again, and away when it is given up.
	askAgain = 5 * time.Second
	away     = 30 * time.Second
	lookPace = 200 * time.Millisecond
	// keptBehind is for how long the log is kept for a replica that was sent all that there is.
	keptBehind = 10 * time.Second
)

// transfer is all that a group holds on its way to this node.
type transfer struct {
	id uint64

	mu   sync.Mutex    // guards what follows, and is held while a piece is written
	at   replica.Point // that it stands for
	next uint64        // offset of the next piece
	to   Receiver      // nil once somebody else has it, or it was given up
	over bool          // it was given up
}

// close gives it up.
func (t *transfer) close() error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	to := t.to
	t.over = true
	if t.to = nil; to == nil {
		return nil
	}
	return to.Close()
}

// push sends what the group holds to those of its replicas that lack older entries, if this node leads.
func (h *holding) push(ctx context.Context) {
	m := h.m
	m.mu.Lock()
	g, s := h.group, h.shard
	m.mu.Unlock()
	if g == nil {
		return
	}
	st, err := g.Status(ctx)
	if err != nil {
		return
	}
	h.tellLeast(&st)
	m.mu.Lock()
	if st.Match == nil {
		clear(h.pushed)
		clear(h.rests)
	}
	if st.Reign != 0 {
		h.stands.lead()
	}
	m.mu.Unlock()
	if st.Reign != 0 {
		m.tellStanding(h.number, st.ID, st.Applied.Index, st.Match, h.routes)
	}
	for id, match := range st.Match {
		if id == st.ID || !h.pushDue(id, st.Active[id] && match < st.Base, needed(&st, id)) {
			continue
		}
		m.serving.Go(func() {
			err := h.send(h.routes[id], s, st.Base, func() bool {
				st, err := g.Status(m.ctx)
				return err == nil && needed(&st, id)
			})
			m.report(fmt.Sprintf("topics of group %d to replica %d", h.number, id), err)
			link := m.links.Link(h.routes[id], peer.Bulk)
			m.mu.Lock()
			h.pushed[id], h.over[id] = time.Now().Add(h.restLocked(id, err)), link
			delete(h.sending, id)
			h.behind = time.Now().Add(keptBehind)
			m.mu.Unlock()
		})
	}
}

// tellLeast notes up to where all replicas of the group have its log, if this node leads, and tells the others: whichever of them leads next has then what
// one that is behind lacks.
func (h *holding) tellLeast(st *replica.Status) {
	if st.Match == nil {
		return
	}
	least := slices.Min(slices.Collect(maps.Values(st.Match)))
	if least == 0 {
		return // one has not said yet, as after an election: what was known before holds
	}
	h.m.mu.Lock()
	h.least = least
	h.m.mu.Unlock()
	for id := range st.Match {
		if folder := h.routes[id]; id != st.ID && folder != "" {
			_ = h.m.links.SendLater(folder, peer.Control, frameLeast, h.number, binary.BigEndian.AppendUint64(nil, least)) // the next one comes soon
		}
	}
}

// toldLeast takes what who leads a group says of that.
func (m *Member) toldLeast(folder string, group uint32, payload []byte) {
	if len(payload) != 8 || m.Leader(group) != folder {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if h := m.holdings[group]; h != nil { // it may have ended
		h.least = binary.BigEndian.Uint64(payload)
	}
}

// pushDue reports whether it is time to send a replica all that there is. One that only has not said yet what it has, as after an election, says
// so soon; with needed nobody waits for longer than that takes.
func (h *holding) pushDue(id uint64, lacks, needed bool) bool {
	link := h.m.links.Link(h.routes[id], peer.Bulk)
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	now := time.Now()
	if h.rests[id] > 0 && link != 0 && link != h.over[id] { // it may have been started again, with more room
		delete(h.rests, id)
		h.pushed[id] = now.Add(leastRest * h.m.o.Pace)
	}
	due, seen := h.pushed[id]
	switch {
	case h.sending[id]:
	case !lacks:
		delete(h.pushed, id)
		delete(h.rests, id)
	case !seen && needed:
		h.pushed[id] = now.Add(h.m.o.Pace / 2)
	case !seen:
		h.pushed[id] = now.Add(leastRest * h.m.o.Pace)
	case now.After(due), needed && due.Sub(now) > pushPaces*h.m.o.Pace:
		h.sending[id] = true
		return true
	}
	return false
}

// After how many looks a replica is sent all that there is again, at the earliest, and at the latest.
const (
	leastRest = 2
	mostRest  = 300
)

// restLocked returns after what time a replica is sent all that there is again if it still lacks that: each time twice as long, as its disk may take nothing; soon when
// it was only away. Member.mu is held.
func (h *holding) restLocked(id uint64, err error) time.Duration {
	if errors.Is(err, errAway) {
		return leastRest * h.m.o.Pace
	}
	h.rests[id] = min(max(2*h.rests[id], pushPaces*h.m.o.Pace), mostRest*h.m.o.Pace)
	return h.rests[id]
}

// mayTakeLocked has all be sent again at once to a node that has room on its disk again. Member.mu is held.
func (m *Member) mayTakeLocked(folder string) {
	for _, h := range m.holdings {
		for id := range h.rests {
			if h.routes[id] == folder {
				delete(h.rests, id)
				h.pushed[id] = time.Now()
			}
		}
	}
}

var (
	// errBehind is what cannot be sent, as it does not reach to where the log begins.
	errBehind = errors.New("it does not reach to where the log begins")
	// errAway is a replica that says nothing, or knows nothing of what has come of a transfer, as after a start.
	errAway = errors.New("the replica has gone while it was sent all that there is")
	// errRefused is one that cannot take it.
	errRefused = errors.New("the replica could not take all that there is: its log says why")
)

// needed reports whether nothing can be committed without a replica: of the others that vote no majority answers.
func needed(st *replica.Status, id uint64) bool {
	others := 0
	for _, voter := range st.Applied.Members.Voters {
		if voter != id && st.Active[voter] {
			others++
		}
	}
	return others <= len(st.Applied.Members.Voters)/2
}

// send sends what a shard holds to a node, if it reaches to where the log begins, and returns once that has it. The size of all is said with the last piece. As long as
// needed says that everybody waits for that node it is not held back for the sake of others.
func (h *holding) send(folder string, s Shard, base uint64, needed func() bool) error {
	p := &pieces{h: h, folder: folder, id: random(), needed: needed, news: make(chan struct{}, 1)}
	h.m.mu.Lock()
	h.leaving[p.id] = p
	h.m.mu.Unlock()
	defer func() {
		h.m.mu.Lock()
		delete(h.leaving, p.id)
		h.m.mu.Unlock()
	}()
	err := s.Send(func(at replica.Point, part []byte) error {
		if at.Index < base {
			return errBehind
		}
		if p.off == 0 && len(p.buf) == 0 {
			p.buf = append(p.buf, packHead(at)...)
		}
		return p.add(part)
	})
	if err == nil {
		err = p.flush(true)
	}
	switch {
	case errors.Is(err, errBehind), errors.Is(err, peer.ErrGivenUp):
		return nil
	case err == nil:
		h.m.o.Log.Info("what a group of topics holds was sent whole to a replica that lacks older entries", "group", h.number, "bytes", p.off)
	}
	return err
}

// pieces cuts what is sent, and keeps what the other node has not said that it has.
type pieces struct {
	h      *holding
	folder string
	id     uint64
	off    uint64 // of what comes next
	buf    []byte // that
	needed func() bool
	kept   []piece // oldest first
	link   uint64  // over which they were sent; 0: over none
	moved  time.Time
	asked  time.Time

	news chan struct{} // the other one has said something

	mu    sync.Mutex
	taken uint64 // up to where it has it, as it has said
	ended error  // why it takes no more
}

// piece is one of them.
type piece struct {
	off, size uint64 // size is of all, 0 but for the last one
	b         []byte
}

func (p *pieces) add(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), p.h.m.o.Piece-len(p.buf))
		if p.buf, b = append(p.buf, b[:n]...), b[n:]; len(p.buf) == p.h.m.o.Piece && len(b) > 0 {
			if err := p.flush(false); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush sends what there is. It waits while too much is kept, and for the last one until nothing is.
func (p *pieces) flush(last bool) error {
	most, next := mostPieces, piece{off: p.off, b: p.buf}
	p.off += uint64(len(p.buf))
	if last {
		most, next.size = 0, p.off
	}
	p.kept, p.buf = append(p.kept, next), nil
	err := p.leave(len(p.kept) - 1)
	for p.moved = time.Now(); err == nil; err = p.leave(len(p.kept)) {
		if err = p.drop(); err != nil || len(p.kept) <= most {
			return err
		}
		if err = p.wait(); err != nil {
			return err
		}
	}
	return err
}

// leave sends what is kept from one piece on, and all of it when it went over a link that has ended since.
func (p *pieces) leave(from int) error {
	for ; ; from++ {
		if link := p.h.m.links.Link(p.folder, peer.Bulk); link != p.link {
			p.link, from = link, 0
		}
		if p.link == 0 || from >= len(p.kept) {
			return nil // else over the next one
		}
		if err := p.put(p.kept[from]); err != nil || p.link == 0 {
			return err
		}
	}
}

// put sends a piece, unless the link ends. Links take it when they can.
func (p *pieces) put(c piece) error {
	m := p.h.m
	head := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, p.id), c.size), c.off)
	send := m.links.SendPaced
	if p.needed() {
		send = m.links.SendFirst
	}
	err := send(m.ctx.Done(), p.folder, peer.Bulk, m.o.Piece, framePiece, p.h.number, head, c.b)
	if errors.Is(err, peer.ErrNoLink) || errors.Is(err, net.ErrClosed) {
		p.link, err = 0, nil // it is sent over the next one
	}
	return err
}

// drop drops what the other node has.
func (p *pieces) drop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.kept) > 0 && p.kept[0].off+uint64(len(p.kept[0].b)) <= p.taken {
		if p.buf == nil {
			p.buf = p.kept[0].b[:0]
		}
		p.kept, p.moved = p.kept[1:], time.Now()
	}
	return p.ended
}

// wait returns once there may be something to do.
func (p *pieces) wait() error {
	look := time.NewTimer(lookPace)
	defer look.Stop()
	select {
	case <-p.h.m.ctx.Done():
		return peer.ErrGivenUp
	case <-p.news:
		return nil
	case <-look.C:
	}
	now := time.Now()
	if now.Sub(p.moved) >= away {
		return errAway
	}
	if now.Sub(p.moved) < askAgain || now.Sub(p.asked) < askAgain {
		return nil
	}
	p.asked = now
	return p.put(p.kept[0]) // what the other has said may be lost
}

// told takes what the other node says of how far it is.
func (p *pieces) told(next uint64) {
	p.mu.Lock()
	switch {
	case next == refusedPiece:
		p.ended = errRefused
	case next == unknownPiece:
		p.ended = errAway
	default:
		p.taken = max(p.taken, next)
	}
	p.mu.Unlock()
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// toldTaken takes what a node says of how far a transfer to it is.
func (m *Member) toldTaken(folder string, group uint32, payload []byte) {
	if len(payload) != 16 {
		return
	}
	var p *pieces
	m.mu.Lock()
	if h := m.holdings[group]; h != nil {
		p = h.leaving[binary.BigEndian.Uint64(payload)]
	}
	m.mu.Unlock()
	if p != nil && p.folder == folder {
		p.told(binary.BigEndian.Uint64(payload[8:]))
	}
}

// piece takes a piece of what a group of topics holds, and says how far that is. It may wait for the disk.
func (m *Member) piece(folder string, group uint32, payload []byte) {
	if len(payload) <= pieceHead {
		return
	}
	id, next := binary.BigEndian.Uint64(payload), m.takePiece(folder, group, payload)
	said := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, id), next)
	_ = m.links.Send(folder, peer.Control, frameTaken, group, said) // else the piece comes again
}

// takePiece takes a piece, and returns up to where this node has the transfer, unknownPiece or refusedPiece.
func (m *Member) takePiece(folder string, group uint32, payload []byte) (next uint64) {
	id, size, off := binary.BigEndian.Uint64(payload), binary.BigEndian.Uint64(payload[8:]), binary.BigEndian.Uint64(payload[16:])
	m.mu.Lock()
	h := m.holdings[group]
	if h == nil || !slices.Contains(slices.Collect(maps.Values(h.routes)), folder) {
		m.mu.Unlock()
		return unknownPiece
	}
	t, was := h.coming, (*transfer)(nil)
	switch {
	case h.came.id == id:
		next = h.came.size
		m.mu.Unlock()
		return next
	case h.group == nil:
		m.mu.Unlock()
		return unknownPiece
	case off == 0 && (t == nil || t.id != id):
		t, was = &transfer{id: id}, t
		h.coming = t
	}
	m.mu.Unlock()
	h.reported(was.close())
	if t == nil || t.id != id {
		return unknownPiece
	}
	next, all, err := h.take(t, size, off, payload[pieceHead:])
	if err != nil {
		m.o.Log.Error("what a group of topics holds was sent whole and cannot be taken", "group", group, "error", err)
		h.reported(t.close())
	}
	if !all {
		return next
	}
	m.mu.Lock()
	was = nil
	if h.coming == t {
		was, h.coming, h.sent = h.sent, nil, t
		h.came.id, h.came.size = id, size
	}
	m.mu.Unlock()
	h.reported(was.close())
	m.wake()
	return next
}

// take takes a piece of a transfer, and returns up to where that has come, or refusedPiece, and whether it is all. One that was there, or that comes before those that
// are missing, changes nothing.
func (h *holding) take(t *transfer, size, off uint64, part []byte) (next uint64, all bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.over:
		return refusedPiece, false, nil
	case off != t.next:
		return t.next, false, nil
	case size > 0 && size != off+uint64(len(part)):
		return refusedPiece, false, fmt.Errorf("it is to have %d bytes, and ends at %d", size, off+uint64(len(part)))
	case off == 0:
		if t.to, err = h.m.o.Receive(h.number); err != nil {
			return refusedPiece, false, err
		}
	}
	end := off + uint64(len(part))
	if off == 0 { // the point is small
		if t.at, part, err = unpack(part); err != nil {
			return refusedPiece, false, err
		}
	}
	if err := t.to.Write(part); err != nil {
		return refusedPiece, false, err
	}
	t.next = end
	return end, size > 0, nil
}

// reported logs that something could not be removed: the next start sees to it.
func (h *holding) reported(err error) {
	if err != nil {
		h.m.o.Log.Warn("what is not needed of a group of topics cannot be removed", "group", h.number, "error", err)
	}
}

// giveUpTransfers gives up what is on its way to this node.
func (m *Member) giveUpTransfers() {
	for _, h := range m.held() {
		m.mu.Lock()
		coming, sent := h.coming, h.sent
		h.coming, h.sent = nil, nil
		m.mu.Unlock()
		h.reported(errors.Join(coming.close(), sent.close()))
	}
}

// catchUp begins behind what was sent.
func (h *holding) catchUp(t *transfer) {
	m := h.m
	m.mu.Lock()
	g, s, start := h.group, h.shard, m.saved.Groups[h.number]
	m.mu.Unlock()
	t.mu.Lock()
	to, at := t.to, t.at
	t.mu.Unlock()
	if g == nil || start == nil || to == nil || at.Index <= s.Point().Index {
		h.reported(t.close())
		return
	}
	made, err := to.Shard(at, h.stop)
	if err != nil {
		m.o.Log.Error("what a group of topics holds was sent whole and cannot be read", "group", h.number, "error", err)
		return
	}
	h.close()
	h.try(func() error { return h.move(g, s, *start, at, made) })
}

// move has the replica, whose group is closed, begin behind what was sent; or, when that is not needed, or cannot be written, go on as it was.
func (h *holding) move(g *replica.Group, was Shard, start replica.Start, at replica.Point, made Shard) error {
	m := h.m
	m.changing.Lock()
	defer m.changing.Unlock()
	var file manifest.GroupCheckpoint
	content, _, counts, err := made.Content()
	if err == nil {
		file, err = m.o.Store.WriteGroup(h.number, packHead(at), content)
	}
	var next replica.Start
	var history *replica.History
	if err == nil {
		next, history, err = g.Rebase(start, at)
	}
	if err == nil {
		m.o.Log.Info("what a group of topics holds was sent whole, as older entries are kept nowhere any more", "group", h.number, "entry", at.Index)
		return h.enter(next, file, made, func() { counts(); h.reported(was.Discard()) }, history)
	}
	if !errors.Is(err, replica.ErrNotBehind) { // else it has got there by itself
		m.o.Log.Warn("what a group of topics holds was sent whole, and is not taken", "group", h.number, "error", err)
	}
	h.reported(made.Discard())
	h.again = func() error { return h.goOn(g, was, start) }
	return h.again()
}

// goOn has the replica, whose group is closed, run again as what it was.
func (h *holding) goOn(g *replica.Group, was Shard, start replica.Start) error {
	content, at, _, err := was.Content()
	var made Shard
	if err == nil {
		made, err = h.m.o.Shard(h.number, content, at, h.stop)
	}
	var history *replica.History
	if err == nil {
		history, err = g.Again(start)
	}
	if err == nil {
		err = h.begin(made, history)
	}
	if err != nil && made != nil {
		made.Close()
	}
	return err
}
