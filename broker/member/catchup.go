package member

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"brokerd/broker/peer"
	"brokerd/broker/replica"
)

// A replica of a group of topics that lacks entries which are kept nowhere any more is sent what a checkpoint would have, by who leads: in
// pieces, over the lane for what is large.

const (
	pieceSize    = 1 << 20
	pieceHead    = 24
	mostTransfer = 1 << 30 // bytes
	pieceWait    = 20 * time.Millisecond
)

// transfer is such a checkpoint on its way to this node.
type transfer struct {
	id      uint64
	size    uint64
	content []byte
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
			m.report(fmt.Sprintf("topics of group %d to replica %d", h.number, id), h.send(h.routes[id], s, st.Base))
			m.mu.Lock()
			h.pushed[id] = time.Now().Add(pushPaces * m.o.Pace)
			delete(h.sending, id)
			m.mu.Unlock()
		})
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

// send sends what a shard holds to a node, if it reaches to where the log begins.
func (h *holding) send(folder string, s Shard, base uint64) error {
	m := h.m
	content, at, err := s.Content()
	if err != nil || at.Index < base {
		return err
	}
	b := append(packHead(at), content...)
	head := binary.BigEndian.AppendUint64(nil, random())
	head = binary.BigEndian.AppendUint64(head, uint64(len(b)))
	for off := 0; off < len(b); off += pieceSize {
		part := b[off:min(off+pieceSize, len(b))]
		for {
			err := m.links.Send(folder, peer.Bulk, framePiece, h.number, binary.BigEndian.AppendUint64(slices.Clip(head), uint64(off)), part)
			if err == nil {
				break
			}
			if !errors.Is(err, peer.ErrFull) {
				return err
			}
			select {
			case <-time.After(pieceWait):
			case <-m.ctx.Done():
				return nil
			}
		}
	}
	m.o.Log.Info("what a group of topics holds was sent whole to a replica that lacks older entries", "group", h.number, "bytes", len(b), "entry", at.Index)
	return nil
}

// piece takes a piece of what a group of topics holds.
func (m *Member) piece(folder string, group uint32, payload []byte) {
	if len(payload) <= pieceHead {
		return
	}
	id, size, off := binary.BigEndian.Uint64(payload), binary.BigEndian.Uint64(payload[8:]), binary.BigEndian.Uint64(payload[16:])
	part := payload[pieceHead:]
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.holdings[group]
	if h == nil || h.group == nil || size > mostTransfer || !slices.Contains(slices.Collect(maps.Values(h.routes)), folder) {
		return
	}
	if off == 0 {
		h.coming = &transfer{id: id, size: size}
	}
	t := h.coming
	if t == nil || t.id != id || t.size != size || off != uint64(len(t.content)) || off+uint64(len(part)) > size {
		h.coming = nil // a piece was lost: it is sent again
		return
	}
	if t.content = append(t.content, part...); uint64(len(t.content)) == size {
		h.coming, h.sent = nil, t.content
		m.wake()
	}
}

// catchUp begins behind what was sent.
func (h *holding) catchUp(sent []byte) {
	m := h.m
	at, content, err := unpack(sent)
	m.mu.Lock()
	g, s, start := h.group, h.shard, m.saved.Groups[h.number]
	m.mu.Unlock()
	if g == nil || start == nil || err == nil && at.Index <= s.Point().Index {
		return
	}
	var made Shard
	if err == nil {
		made, err = m.o.Shard(h.number, content, at, h.stop)
	}
	if err != nil {
		m.o.Log.Error("what a group of topics holds was sent whole and cannot be read", "group", h.number, "error", err)
		return
	}
	h.close()
	h.try(func() error { return h.move(g, s, *start, at, made, sent) })
}

// move has the replica, whose group is closed, begin behind what was sent; or, when that is not needed, or cannot be written, go on as it was.
func (h *holding) move(g *replica.Group, was Shard, start replica.Start, at replica.Point, made Shard, sent []byte) error {
	m := h.m
	m.changing.Lock()
	defer m.changing.Unlock()
	file, err := m.o.Store.WriteGroup(h.number, sent)
	var next replica.Start
	var history *replica.History
	if err == nil {
		next, history, err = g.Rebase(start, at)
	}
	if err == nil {
		m.o.Log.Info("what a group of topics holds was sent whole, as older entries are kept nowhere any more", "group", h.number, "entry", at.Index)
		return h.enter(next, file, made, history)
	}
	if !errors.Is(err, replica.ErrNotBehind) { // else it has got there by itself
		m.o.Log.Warn("what a group of topics holds was sent whole, and is not taken", "group", h.number, "error", err)
	}
	h.again = func() error { return h.goOn(g, was, start) }
	return h.again()
}

// goOn has the replica, whose group is closed, run again as what it was.
func (h *holding) goOn(g *replica.Group, was Shard, start replica.Start) error {
	content, at, err := was.Content()
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
	return err
}
