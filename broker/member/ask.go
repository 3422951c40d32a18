package member

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"brokerd/broker/cluster"
	"brokerd/broker/peer"
)

// Questions between nodes that need not be members; both sides are JSON.
const (
	askSaid peer.Kind = 32 // who are you? A cluster.Said, answered with one
	askJoin peer.Kind = 33 // let me in: a joining, answered with a joined
)

// joining is what a node says that wants to be let in, or to come back.
type joining struct {
	cluster.Founder
	Wants   string // name of the cluster
	Replica uint64 // that it had last of the map; 0: it had none
	Lost    bool   // that cannot go on as what it was
	Index   uint64 // up to where it knows the map: who knows less cannot tell what became of it
}

// joined is the answer. One of its fields is set.
type joined struct {
	Error   string // why not: an operator must do something
	Wait    string // why not yet
	Removed bool   // the cluster has it no more
	Map     *whole // begin with this
}

// founder is what the node is in a cluster that it founds.
func (m *Member) founder() cluster.Founder {
	return cluster.Founder{Folder: m.o.Folder, Name: m.o.Node, Address: m.o.Address, Zone: m.o.Zone}
}

// says is what the node says to those who ask who it is.
func (m *Member) says() cluster.Said {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := cluster.Said{Founder: m.founder(), WasMember: m.saved.Cluster != "", Wants: m.o.Name, Peers: m.o.Peers, Sum: m.sum}
	if m.way == member {
		s.Cluster = m.saved.Cluster
	}
	return s
}

// ask does one step of a node that is not in the cluster: it founds one with its peers, or asks to be let in, or to come back.
func (m *Member) ask() {
	s := m.now()
	if s.Cluster != "" {
		m.join(m.addresses())
		return
	}
	self := m.says()
	d, err := cluster.Decide(self, m.askAll(self))
	m.mu.Lock()
	m.sum, m.looked, m.met = d.Sum, true, m.met || d.Join != ""
	m.mu.Unlock()
	switch {
	case err != nil:
		m.waits(asking, err.Error())
	case d.Join != "":
		m.join([]string{d.Join})
	case d.Found != nil:
		m.found(d.Found)
	default:
		m.waits(asking, d.Why)
	}
}

// waits notes why nothing happens, and logs it when that is news.
func (m *Member) waits(w way, why string) {
	m.set(w, why)
	if m.news("waits", why) {
		m.o.Log.Warn("the node is not in its cluster yet", "cluster", m.o.Name, "state", string(w), "why", why)
	}
}

// news reports whether a text about something is not the one before.
func (m *Member) news(about, text string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.said[about] == text {
		return false
	}
	m.said[about] = text
	return true
}

// askAll asks all peers who they are, at once. Those that do not answer, or are not who the link says, are not in the map.
func (m *Member) askAll(self cluster.Said) map[string]cluster.Said {
	question, err := json.Marshal(self)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(m.ctx, m.o.Wait)
	defer cancel()
	var all sync.WaitGroup
	var mu sync.Mutex
	answers := map[string]cluster.Said{}
	for _, address := range m.o.Peers {
		if address == m.o.Address {
			continue
		}
		all.Go(func() {
			from, b, err := m.links.Ask(ctx, address, askSaid, question)
			var said cluster.Said
			if err == nil {
				err = json.Unmarshal(b, &said)
			}
			if err == nil && said.Folder != from.Folder {
				err = fmt.Errorf("it says that its folder is %q, and the link %q", said.Folder, from.Folder)
			}
			if err != nil {
				if errors.Is(err, peer.ErrRefused) && m.news("asked "+address, err.Error()) {
					m.o.Log.Warn("a peer is not spoken with", "address", address, "error", err)
				}
				return
			}
			mu.Lock()
			answers[address] = said
			mu.Unlock()
		})
	}
	all.Wait()
	return answers
}

// found begins the cluster with the state that all its founders have computed.
func (m *Member) found(first *cluster.State) {
	w := &whole{Map: first}
	w.Point.Index, w.Point.Term = 1, 1
	w.Point.Members.Voters, w.Point.Members.Learners = first.MetaMembers()
	r, ok := first.MetaOf(m.o.Folder)
	if !ok {
		m.waits(asking, "the cluster that would be founded has no replica of the map on this node")
		return
	}
	if err := m.installNew(w, r.ID); err != nil {
		m.waits(asking, "what is founded cannot be written down: "+err.Error())
		return
	}
	m.o.Log.Info("a cluster is founded", "cluster", m.o.Name, "id", first.Cluster, "nodes", len(first.Nodes))
}

// addresses returns where to ask: of the map, and of the list.
func (m *Member) addresses() (list []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state != nil {
		for _, folder := range slices.Sorted(maps.Keys(m.state.Nodes)) {
			if n := m.state.Nodes[folder]; folder != m.o.Folder && !n.Candidate {
				list = append(list, n.Address)
			}
		}
	}
	for _, a := range m.o.Peers {
		if a != m.o.Address && !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	return list
}

// join asks those at some addresses, one after the other, to be let in, until one says what is to be done.
func (m *Member) join(addresses []string) {
	q := joining{Founder: m.founder(), Wants: m.o.Name}
	m.mu.Lock()
	if m.saved.Map != nil {
		q.Replica = m.saved.Map.Replica
	}
	q.Index = m.point.Index
	w := m.way
	q.Lost = w == forgetful
	m.mu.Unlock()
	question, err := json.Marshal(q)
	if err != nil {
		return
	}
	why := "no member of the cluster answers"
	for _, address := range addresses {
		ctx, cancel := context.WithTimeout(m.ctx, 2*m.o.Wait)
		_, b, err := m.links.Ask(ctx, address, askJoin, question)
		cancel()
		var a joined
		if err == nil {
			err = json.Unmarshal(b, &a)
		}
		switch {
		case err != nil:
			why = fmt.Sprintf("%s: %v", address, err)
		case a.Map != nil:
			m.enter(a.Map, q.Replica)
			return
		case a.Removed && w != asking && w != candidate:
			if err := m.leave("the cluster has this node no more"); err != nil {
				m.o.Log.Error("that the cluster has this node no more cannot be written down", "error", err)
			}
			return
		default:
			why = fmt.Sprintf("%s: %s%s", address, a.Error, a.Wait)
		}
	}
	switch w {
	case member: // it was only told by one that may know less
	case asking, candidate:
		m.waits(candidate, why)
	default:
		m.waits(w, why)
	}
}

// enter begins as a member with the map of who has let it in.
func (m *Member) enter(w *whole, had uint64) {
	s := m.now()
	r, ok := w.Map.MetaOf(m.o.Folder)
	if !ok || r.ID <= had || w.Map.Name != m.o.Name || s.Cluster != "" && s.Cluster != w.Map.Cluster {
		m.waits(m.at(), "the map of who lets this node in is not one that it can begin with")
		return
	}
	m.closeGroup()
	if err := m.installNew(w, r.ID); err != nil {
		m.waits(m.at(), "that this node is let in cannot be written down: "+err.Error())
		return
	}
	m.o.Log.Info("the node is in its cluster", "cluster", m.o.Name, "id", w.Map.Cluster, "replica", r.ID)
}
