package member

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"brokerd/broker/cluster"
	"brokerd/broker/peer"
	"brokerd/broker/replica"
)

// pushPaces is after how many looks a member that lacks older entries is sent the map again.
const pushPaces = 10

// dial keeps links to the members that the map has, and to nobody else. While there is none to one of them it may be elsewhere than the map says, and so
// may all be, or this node: then the list of peers may say where.
func (m *Member) dial() {
	wanted, linked, apart := map[string]bool{}, m.links.Peers(), false
	m.mu.Lock()
	if m.state != nil && m.way != removed {
		for folder, n := range m.state.Nodes {
			if folder != m.o.Folder && !n.Candidate {
				wanted[n.Address], apart = true, apart || !slices.Contains(linked, folder)
			}
		}
	}
	for _, address := range m.o.Peers {
		wanted[address] = wanted[address] || apart
	}
	wanted[m.o.Address] = false
	maps.DeleteFunc(wanted, func(_ string, is bool) bool { return !is })
	before := m.dialled
	m.dialled = wanted
	state := m.state
	m.mu.Unlock()
	for _, address := range slices.Sorted(maps.Keys(wanted)) {
		if !before[address] {
			m.links.Dial(address)
		}
	}
	for address := range before {
		if !wanted[address] {
			m.links.Forget(address)
		}
	}
	if state == nil {
		return
	}
	for _, folder := range m.links.Linked() {
		if n, known := state.Nodes[folder]; !known || n.Candidate {
			m.links.Cut(folder)
		}
	}
}

// tend does what a member has to do: it tells the others where it is now, and, if it leads, brings the members of group 0 to
// what the map says, proposes what follows from the map, and sends the map to those that are behind.
func (m *Member) tend() {
	ctx, cancel := context.WithTimeout(m.ctx, m.o.Wait)
	defer cancel()
	m.mu.Lock()
	g, state := m.group, m.state
	m.mu.Unlock()
	if g == nil {
		return
	}
	m.introduce(ctx, state)
	st, err := g.Status(ctx)
	if err != nil {
		return
	}
	m.push(&st) // also while nothing can be committed yet: that may need the one who is behind
	if st.Reign == 0 {
		return
	}
	m.mu.Lock()
	m.stands.lead()
	routes := maps.Clone(m.routes)
	m.mu.Unlock()
	m.tellStanding(mapGroup, st.ID, st.Applied.Index, st.Match, routes)
	members := st.Applied.Members
	if len(members.Outgoing) > 0 {
		return // a change is under way
	}
	m.mu.Lock()
	state = m.state
	m.mu.Unlock()
	if step, ok := state.NextMeta(members.Voters, members.Learners, st.ID); ok {
		m.report("members", m.changeMembers(ctx, g, &st, step))
	} else if c, ok := state.NextDuty(time.Now().Unix()); ok {
		applied, forget := m.whenApplied(&c)
		m.report("duty", m.propose(ctx, c, applied))
		forget()
		m.wake() // there may be more
	}
}

// introduce tells the others this node's name, address and zone when the map has other ones.
func (m *Member) introduce(ctx context.Context, state *cluster.State) {
	n, known := state.Nodes[m.o.Folder]
	if !known || n.Candidate || n.Name == m.o.Node && n.Address == m.o.Address && n.Zone == m.o.Zone {
		return
	}
	m.report("introduce", m.Do(ctx, cluster.Command{Op: cluster.OpJoin, Folder: m.o.Folder, Node: &cluster.Node{Name: m.o.Node, Address: m.o.Address, Zone: m.o.Zone}}))
}

// report logs what went wrong with something, when it is news; what is tried again soon and usually works then is not.
func (m *Member) report(what string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	usual := errors.Is(err, errElsewhere) || errors.Is(err, replica.ErrBehind) || errors.Is(err, replica.ErrBusy) || errors.Is(err, replica.ErrNotLeader)
	if m.news(what, text) && err != nil && !usual {
		m.o.Log.Warn("what the map of the cluster asks for cannot be done now", "what", what, "error", err)
	}
}

// changeMembers does one step of the members of group 0.
func (m *Member) changeMembers(ctx context.Context, g *replica.Group, st *replica.Status, s cluster.MetaStep) (err error) {
	switch {
	case s.HandOver:
		for _, id := range st.Applied.Members.Voters {
			if id != st.ID && st.Active[id] {
				return g.HandOver(ctx, id)
			}
		}
		return errors.New("nobody is there to lead in place of this node")
	case s.Replace != 0:
		err = g.Replace(ctx, s.Replace, s.Add)
	case s.Add != 0:
		err = g.Add(ctx, s.Add)
	case s.Promote != 0:
		err = g.Promote(ctx, s.Promote)
	case s.Remove != 0:
		err = g.Remove(ctx, s.Remove)
	case s.Demote != 0:
		err = g.Demote(ctx, s.Demote)
	}
	if err == nil {
		m.o.Log.Info("the members that keep the map have changed", "step", fmt.Sprintf("%+v", s))
		m.wake()
	}
	return err
}

// push sends the map to those that lack entries which are kept nowhere any more.
func (m *Member) push(st *replica.Status) {
	for id, match := range st.Match {
		if id == st.ID || !st.Active[id] || match >= st.Base {
			continue
		}
		m.mu.Lock()
		folder, w := m.routes[id], &whole{m.point, m.state}
		late := time.Since(m.pushed[id]) >= pushPaces*m.o.Pace
		if late {
			m.pushed[id] = time.Now()
		}
		m.mu.Unlock()
		if folder != "" && late {
			m.report("map to "+folder, m.links.Send(folder, peer.Bulk, frameMap, 0, w.encode()))
		}
	}
}
