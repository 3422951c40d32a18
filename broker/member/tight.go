package member

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"brokerd/broker/peer"
	"brokerd/broker/replica"
)

// A node whose disk has no room for more messages of groups tells the others: who leads a group takes none when there is none on most of its replicas.

// tightness is which nodes are short of room.
type tightness struct {
	linked atomic.Bool // others can be told
	own    atomic.Bool
	others atomic.Pointer[map[string]time.Time] // by folder, until when that is believed; replaced under Member.mu, never changed; nil: none
}

// is reports whether a node is short of room, as it has said.
func (t *tightness) is(folder, self string, now time.Time) bool {
	if folder == self {
		return t.own.Load()
	}
	others := t.others.Load()
	return others != nil && now.Before((*others)[folder])
}

// any reports whether some are.
func (t *tightness) any() bool { return t.own.Load() || t.others.Load() != nil }

// tightPaces is for how many looks it is believed that a node is short of room: it says so with each.
const tightPaces = 15

// ErrTight is a publish that a group does not take, as disks of its replicas are nearly full.
var ErrTight = errors.New("disks are nearly full")

// Tight is storage.Groups'.
func (m *Member) Tight(is bool) {
	if m.tight.own.Swap(is) != is {
		m.tellTight(is)
	}
}

// tellTight tells all that there is a link to.
func (m *Member) tellTight(is bool) {
	if !m.tight.linked.Load() {
		return
	}
	word := []byte{0}
	if is {
		word[0] = 1
	}
	for _, folder := range m.links.Linked() {
		_ = m.links.SendNow(folder, peer.Control, frameTight, 0, word) // it is told again while it holds
	}
}

// toldTight takes what another node says of that.
func (m *Member) toldTight(folder string, payload []byte) {
	if len(payload) != 1 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	others := map[string]time.Time{}
	if known := m.tight.others.Load(); known != nil {
		for other, until := range *known {
			if other != folder && now.Before(until) {
				others[other] = until
			}
		}
	}
	if payload[0] == 1 {
		others[folder] = now.Add(tightPaces * m.o.Pace)
	} else {
		m.mayTakeLocked(folder)
	}
	if len(others) == 0 {
		m.tight.others.Store(nil)
		return
	}
	m.tight.others.Store(&others)
}

// Short returns why a group that this node leads takes no publishes: there is no room for more on the disk of this node, or of most of its replicas; nil: it
// does. It waits for nothing.
func (m *Member) Short(group uint32) error {
	if !m.tight.any() {
		return nil
	}
	m.mu.Lock()
	h := m.holdings[group]
	m.mu.Unlock()
	if h == nil {
		return nil
	}
	n := 0
	for _, folder := range h.routes {
		if folder != m.o.Folder && m.tight.is(folder, m.o.Folder, time.Now()) {
			n++
		}
	}
	switch {
	case m.tight.own.Load():
		return fmt.Errorf("%w: the broker that leads the topic has no room for more messages", ErrTight)
	case 2*n <= len(h.routes):
		return nil
	}
	return fmt.Errorf("%w: %d of the %d replicas of the topic have no room for more messages", ErrTight, n, len(h.routes))
}

// MayBeShort reports whether who leads a group may take no publishes just now: some of its replicas are short of room. It waits for nothing.
func (m *Member) MayBeShort(group uint32) bool {
	return m.tight.any() && slices.ContainsFunc(m.Replicas(group), func(folder string) bool { return m.tight.is(folder, m.o.Folder, time.Now()) })
}

const (
	// tightFor is for how long the disk of a node is short of room before it gives leads away: a checkpoint may give it room again.
	tightFor = 3 * time.Second
	// giveEvery is how often it tries at most: what it gave may have come back to it.
	giveEvery = 10 * time.Second
	// mostLacking is how many entries who is given a lead for that may lack: nothing is taken or delivered until it has them.
	mostLacking = 1024
)

// giveLeads hands the groups that this node leads over to replicas that have room, when it has had none for a while: who leads without room refuses what
// the others could take, and a replica that only follows may be the one that falls behind.
func (m *Member) giveLeads() {
	now := time.Now()
	if !m.tight.own.Load() {
		m.cramped = time.Time{}
		return
	}
	if m.cramped.IsZero() {
		m.cramped = now
	}
	if now.Sub(m.cramped) < tightFor || now.Sub(m.gave) < giveEvery {
		return
	}
	m.gave = now
	m.serving.Go(func() { m.resignTo(m.takesMore) })
}

// takesMore reports whether a group would take publishes if another of its replicas led.
func (m *Member) takesMore(h *holding, id uint64, st *replica.Status) bool {
	now, short := time.Now(), 0
	for _, folder := range h.routes {
		if m.tight.is(folder, m.o.Folder, now) {
			short++
		}
	}
	m.mu.Lock()
	sending := h.sending[id]
	m.mu.Unlock()
	return !sending && st.Last-min(st.Match[id], st.Last) <= mostLacking && !m.tight.is(h.routes[id], m.o.Folder, now) && 2*short <= len(h.routes)
}

// Held is storage.Groups'.
func (m *Member) Held() (bytes int64) {
	for _, h := range m.held() {
		m.mu.Lock()
		s := h.shard
		m.mu.Unlock()
		if s != nil {
			held, _ := s.Bytes()
			bytes += held
		}
	}
	return bytes
}
