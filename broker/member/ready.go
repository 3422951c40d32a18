package member

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"brokerd/broker/peer"
)

// mostBehind is how old what a replica has may be, in what its leader had, for its node to count as one of those that keep a group.
const mostBehind = 10 * time.Second

// standing is how far a replica is behind who leads its group. That tells the others now and then where it is; a replica has caught up once it
// got there within mostBehind. It is guarded by Member.mu.
type standing struct {
	mark   uint64    // where the leader was, which is not reached yet; 0: there is none
	told   time.Time // when it said so
	caught bool      // it had caught up, at some time since the node's start
}

// reach notes that all up to an entry was applied.
func (s *standing) reach(applied uint64, now time.Time) {
	if s.mark != 0 && applied >= s.mark {
		s.caught = s.caught || now.Sub(s.told) < mostBehind
		s.mark = 0
	}
}

// tell notes where the leader is.
func (s *standing) tell(at uint64, now time.Time) {
	if s.mark == 0 {
		s.mark, s.told = at, now
	}
}

// lead notes that this replica leads: it has all that there is.
func (s *standing) lead() { s.mark, s.caught = 0, true }

// late says what is wrong with it, nil when nothing is: since a start it must have caught up once.
func (s *standing) late(since bool, now time.Time) error {
	switch {
	case since && !s.caught:
		return errors.New("has not caught up since this start")
	case s.mark != 0 && now.Sub(s.told) >= mostBehind:
		return fmt.Errorf("is behind: what who leads it had %v ago is not here yet", now.Sub(s.told).Round(time.Second))
	}
	return nil
}

// tellStanding tells the other replicas of a group, which this node leads, where it is.
func (m *Member) tellStanding(group uint32, self, applied uint64, match map[uint64]uint64, routes map[uint64]string) {
	at := binary.BigEndian.AppendUint64(nil, applied)
	for id := range match {
		if folder := routes[id]; id != self && folder != "" {
			_ = m.links.SendLater(folder, peer.Control, frameStanding, group, at) // the next one comes soon
		}
	}
}

// toldStanding takes what who leads a group says of where it is.
func (m *Member) toldStanding(folder string, group uint32, payload []byte) {
	if len(payload) != 8 {
		return
	}
	at := binary.BigEndian.Uint64(payload)
	if group == mapGroup {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.group != nil && m.routes[m.group.Leader()] == folder {
			now := time.Now()
			m.stands.reach(m.point.Index, now)
			m.stands.tell(at, now)
		}
		return
	}
	if m.Leader(group) != folder {
		return
	}
	m.mu.Lock()
	h := m.holdings[group]
	m.mu.Unlock()
	if h == nil {
		return // it has ended meanwhile
	}
	h.reach()
	m.mu.Lock()
	defer m.mu.Unlock()
	h.stands.tell(at, time.Now())
}

// reach notes what the replica has applied.
func (h *holding) reach() {
	h.m.mu.Lock()
	s := h.shard
	h.m.mu.Unlock()
	if s == nil {
		return
	}
	applied := s.Point().Index // a shard may tell the member something under its own lock
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	h.stands.reach(applied, time.Now())
}

// Ready returns nil when this node does its part for the cluster, so that another one may be taken away: since its start it has caught up with the
// map and with each group that it has a replica of, those run, and are not far behind since. That nobody leads does not count once it had caught up:
// it is no fault of this node, whose own topics are served on. Nor does a replica that is lost for good, as it never catches up. A node
// that finds no cluster among its peers is ready: those may be waiting to be started as members, one behind the other.
func (m *Member) Ready() error {
	for _, h := range m.held() {
		h.reach()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	switch {
	case m.way == removed, m.way == asking && m.looked && !m.met && m.saved.Cluster == "":
		return nil
	case m.way != member || m.state == nil:
		return fmt.Errorf("cluster %s: this broker is %s: %s", m.o.Name, m.way, cmp.Or(m.why, "it has not heard of its peers yet"))
	}
	m.stands.reach(m.point.Index, now)
	if err := m.stands.late(!m.caught, now); err != nil {
		return fmt.Errorf("cluster %s: the map of the cluster %w", m.o.Name, err)
	}
	for i := range m.state.Groups {
		g := &m.state.Groups[i]
		if _, mine := g.ReplicaOn(m.o.Folder); !mine || !g.Begun() {
			continue
		}
		if err := m.holdings[uint32(g.Number)].late(!m.caught, now); err != nil {
			return fmt.Errorf("cluster %s: this broker's replica of group %d %w", m.o.Name, g.Number, err)
		}
	}
	m.caught = true
	return nil
}

// late says what is wrong with the replica, nil when nothing is. Member.mu is held. A group may have just begun, so that there is no h yet.
func (h *holding) late(since bool, now time.Time) error {
	switch {
	case h == nil && since:
		return errors.New("has not begun yet")
	case h == nil || h.lost:
		return nil
	case h.why != "":
		return fmt.Errorf("does not run: %s", h.why)
	}
	return h.stands.late(since, now)
}
