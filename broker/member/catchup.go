package member

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"brokerd/broker/peer"
	"brokerd/broker/replica"
	"brokerd/diskqueue/manifest"
)

// A replica of a group of topics that lacks entries which are kept nowhere any more is sent what a checkpoint would have, by who leads: in
// pieces, over the lane for what is large.

const (
	pieceSize = 1 << 20
	pieceHead = 24
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
	}
	if st.Reign != 0 {
		h.stands.lead()
	}
	m.mu.Unlock()
	if st.Reign != 0 {
		m.tellStanding(h.number, st.ID, st.Applied.Index, st.Match, h.routes)
	}
	for id, match := range st.Match {
		if id == st.ID || !h.pushDue(id, st.Active[id] && match < st.Base) {
			continue
		}
		m.serving.Go(func() {
			needed := func() bool { return needs(m.ctx, g, id) }
			m.report(fmt.Sprintf("topics of group %d to replica %d", h.number, id), h.send(h.routes[id], s, st.Base, needed))
			m.mu.Lock()
			h.pushed[id] = time.Now().Add(pushPaces * m.o.Pace)
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
// so soon.
func (h *holding) pushDue(id uint64, lacks bool) bool {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	now := time.Now()
	due, seen := h.pushed[id]
	switch {
	case h.sending[id]:
	case !lacks:
		delete(h.pushed, id)
	case !seen:
		h.pushed[id] = now.Add(2 * h.m.o.Pace)
	case now.After(due):
		h.sending[id] = true
		return true
	}
	return false
}

// errBehind is what cannot be sent, as it does not reach to where the log begins.
var errBehind = errors.New("it does not reach to where the log begins")

// needs reports whether nothing can be committed without a replica: of the others that vote no majority answers.
func needs(ctx context.Context, g *replica.Group, id uint64) bool {
	st, err := g.Status(ctx)
	if err != nil {
		return false
	}
	others := 0
	for _, voter := range st.Applied.Members.Voters {
		if voter != id && st.Active[voter] {
			others++
		}
	}
	return others <= len(st.Applied.Members.Voters)/2
}

// send sends what a shard holds to a node, if it reaches to where the log begins. The size of all is said with the last piece. As long as needed says that
// everybody waits for that node it is not held back for the sake of others.
func (h *holding) send(folder string, s Shard, base uint64, needed func() bool) error {
	p := pieces{h: h, folder: folder, id: random(), needed: needed}
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

// pieces cuts what is sent.
type pieces struct {
	h      *holding
	folder string
	id     uint64
	off    uint64
	buf    []byte
	needed func() bool
}

func (p *pieces) add(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), pieceSize-len(p.buf))
		if p.buf, b = append(p.buf, b[:n]...), b[n:]; len(p.buf) == pieceSize && len(b) > 0 {
			if err := p.flush(false); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush sends what there is, unless that is nothing. Links take it when they can.
func (p *pieces) flush(last bool) error {
	m := p.h.m
	size := uint64(0)
	if last {
		size = p.off + uint64(len(p.buf))
	}
	head := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, p.id), size), p.off)
	send := m.links.SendPaced
	if p.needed() {
		send = m.links.SendFirst
	}
	if err := send(m.ctx.Done(), p.folder, peer.Bulk, pieceSize, framePiece, p.h.number, head, p.buf); err != nil {
		return err
	}
	p.off += uint64(len(p.buf))
	p.buf = p.buf[:0]
	return nil
}

// piece takes a piece of what a group of topics holds. It may wait for the disk.
func (m *Member) piece(folder string, group uint32, payload []byte) {
	if len(payload) <= pieceHead {
		return
	}
	id, size, off := binary.BigEndian.Uint64(payload), binary.BigEndian.Uint64(payload[8:]), binary.BigEndian.Uint64(payload[16:])
	part := payload[pieceHead:]
	m.mu.Lock()
	h := m.holdings[group]
	if h == nil || h.group == nil || !slices.Contains(slices.Collect(maps.Values(h.routes)), folder) {
		m.mu.Unlock()
		return
	}
	t, was := h.coming, (*transfer)(nil)
	if off == 0 {
		t, was = &transfer{id: id}, t
		h.coming = t
	}
	m.mu.Unlock()
	h.reported(was.close())
	if t == nil || t.id != id {
		return // a piece was lost: it is sent again
	}
	all, err := h.take(t, size, off, part)
	if err != nil {
		m.o.Log.Error("what a group of topics holds was sent whole and cannot be read", "group", group, "error", err)
		h.reported(t.close())
	}
	if !all {
		return
	}
	m.mu.Lock()
	was = nil
	if h.coming == t {
		was, h.coming, h.sent = h.sent, nil, t
	}
	m.mu.Unlock()
	h.reported(was.close())
	m.wake()
}

// take takes a piece of a transfer, and reports whether all of it has come.
func (h *holding) take(t *transfer, size, off uint64, part []byte) (all bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case off == 0 && t.to == nil && !t.over:
		if t.to, err = h.m.o.Receive(h.number); err != nil {
			return false, err
		}
	case t.to == nil:
		return false, nil // it was given up
	}
	if off != t.next || size > 0 && size != off+uint64(len(part)) {
		return false, errors.New("a piece is missing")
	}
	t.next += uint64(len(part))
	if off == 0 { // the point is small
		if t.at, part, err = unpack(part); err != nil {
			return false, err
		}
	}
	return size > 0, t.to.Write(part)
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
