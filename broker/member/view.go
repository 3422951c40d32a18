package member

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"brokerd/broker/cluster"
	"brokerd/broker/replica"
	"brokerd/protocol/httpapi"
)

// View returns what this node knows of the cluster.
func (m *Member) View(ctx context.Context) httpapi.Cluster {
	m.mu.Lock()
	g, state, point, saved := m.group, m.state, m.point, m.saved
	v := httpapi.Cluster{Name: m.o.Name, ID: saved.Cluster, State: string(m.way), Why: m.why, Folder: m.o.Folder, Address: m.o.Address,
		Preview: true, Open: m.o.TLS == nil && len(m.o.Secret) == 0, Index: point.Index, Nodes: []httpapi.ClusterNode{}, Groups: []httpapi.ClusterGroup{}}
	m.mu.Unlock()
	var st replica.Status
	if g != nil {
		st, _ = g.Status(ctx) // of one that is ending nothing is known
	}
	v.Term = st.Term
	if st.Err != nil && v.Why == "" {
		v.Why = st.Err.Error()
	}
	if state == nil {
		return v
	}
	linked := map[string]bool{}
	for _, folder := range m.links.Peers() {
		linked[folder] = true
	}
	for _, folder := range slices.Sorted(maps.Keys(state.Nodes)) {
		v.Nodes = append(v.Nodes, m.viewOf(folder, state, &st, linked[folder]))
	}
	apart := m.clocksApart()
	for i := range v.Nodes {
		v.Nodes[i].ClockApart = slices.Contains(apart, v.Nodes[i].Folder)
	}
	slices.SortStableFunc(v.Nodes, func(a, b httpapi.ClusterNode) int { return number(a) - number(b) })
	for _, n := range v.Nodes {
		if n.Leads {
			v.Leader = n.Folder
		}
	}
	if v.Why == "" && v.State == string(member) && v.Leader == "" {
		v.Why = unled(v.Nodes)
	}
	var waits map[string]string
	if m.o.Waits != nil {
		waits = m.o.Waits()
	}
	for _, gr := range state.Groups {
		v.Groups = append(v.Groups, m.groupOf(ctx, state, &gr, waits))
	}
	return v
}

// unled says what is known of why nobody is known to lead the map.
func unled(nodes []httpapi.ClusterNode) string {
	members, linked := 0, 0
	for _, n := range nodes {
		switch {
		case n.State != "member" || n.Self:
		case n.Linked:
			linked++
			fallthrough
		default:
			members++
		}
	}
	if linked == 0 && members > 0 {
		return fmt.Sprintf("nobody is known to lead the map: there is no link to any of the other %d members, and the log says why", members)
	}
	return fmt.Sprintf("nobody is known to lead the map: there are links to %d of the other %d members", linked, members)
}

// number sorts candidates behind members.
func number(n httpapi.ClusterNode) int {
	if n.Number == nil {
		return cluster.MaxNumber + 1
	}
	return *n.Number
}

// viewOf returns a node as it is shown.
func (m *Member) viewOf(folder string, state *cluster.State, st *replica.Status, linked bool) httpapi.ClusterNode {
	n := state.Nodes[folder]
	out := httpapi.ClusterNode{Folder: folder, Name: n.Name, Address: n.Address, Zone: n.Zone, State: "member", Draining: n.Draining, Replicas: state.Holds(folder),
		Self: folder == m.o.Folder, Linked: linked || folder == m.o.Folder, Short: m.tight.is(folder, m.o.Folder, time.Now())}
	if n.Candidate {
		out.State = "candidate"
		return out
	}
	out.Number = &n.Number
	r, ok := state.MetaOf(folder)
	if !ok {
		return out
	}
	out.Replica, out.Leads = r.ID, st.Lead == r.ID
	out.Votes = slices.Contains(st.Applied.Members.Voters, r.ID)
	if match, known := st.Match[r.ID]; known {
		lag := st.Last - min(match, st.Last)
		out.Lag = &lag
	}
	if d := m.links.Distance(folder); d.Known {
		trip, offset := millis(d.RoundTrip), millis(d.Offset)
		out.RoundTrip, out.ClockOffset = &trip, &offset
	}
	return out
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// groupOf returns a group of the map as it is shown.
func (m *Member) groupOf(ctx context.Context, state *cluster.State, g *cluster.Group, waits map[string]string) httpapi.ClusterGroup {
	out := httpapi.ClusterGroup{Number: g.Number, Level: g.Level, Preferred: g.Preferred}
	for _, r := range g.Replicas {
		out.Nodes = append(out.Nodes, r.Folder)
	}
	if g.Move != nil {
		out.MovesTo = g.Move.New.Folder
	}
	if g.Begun() {
		m.viewHolding(ctx, state, &out, waits)
	}
	return out
}

// viewHolding adds what this node knows of a group that has topics. waits are those of Options.
func (m *Member) viewHolding(ctx context.Context, state *cluster.State, out *httpapi.ClusterGroup, waits map[string]string) {
	var waiting map[string]string
	m.mu.Lock()
	h := m.holdings[uint32(out.Number)]
	var g *replica.Group
	var s Shard
	if h != nil {
		g, s, out.Why = h.group, h.shard, h.why
	}
	m.mu.Unlock()
	if g != nil {
		waiting, _ = s.Waiting()
		st, _ := g.Status(ctx) // of one that is ending nothing is known
		if st.Err != nil && out.Why == "" {
			out.Why = st.Err.Error()
		}
		out.Leader, out.Term, out.Index = h.routes[st.Lead], st.Term, st.Applied.Index
		for _, match := range st.Match {
			if lag := st.Last - min(match, st.Last); out.Lag == nil || lag > *out.Lag {
				out.Lag = &lag
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(state.Topics)) {
		if t := state.Topics[name]; t.Group == out.Number {
			out.Topics = append(out.Topics, httpapi.ClusterTopic{Name: name, Deleting: t.Deleting, Waiting: cmp.Or(waiting[name], waits[name]), Serve: t.Served().Serve})
		}
	}
}

// Well returns nil when this node is a member, knows who leads the map and each group of topics that it has a replica of, and those run, and nothing of its
// own is in the way of a replicated topic.
func (m *Member) Well(ctx context.Context) error {
	v := m.View(ctx)
	switch {
	case v.State != string(member):
		return fmt.Errorf("cluster %s: this broker is %s: %s", v.Name, v.State, v.Why)
	case v.Leader == "":
		return fmt.Errorf("cluster %s: %s", v.Name, v.Why)
	}
	for _, g := range v.Groups {
		for _, t := range g.Topics {
			if t.Waiting != "" {
				return fmt.Errorf("cluster %s: replicated topic %s waits here: %s", v.Name, t.Name, t.Waiting)
			}
		}
		switch mine := slices.Contains(g.Nodes, v.Folder); {
		case !mine || len(g.Topics) == 0:
		case g.Why != "":
			return fmt.Errorf("cluster %s: group %d does not run here: %s", v.Name, g.Number, g.Why)
		case g.Leader == "":
			return fmt.Errorf("cluster %s: nobody is known to lead group %d", v.Name, g.Number)
		}
	}
	return nil
}

// Figures are what the member is measured by.
type Figures struct {
	State      string
	Leads      bool
	Term       uint64
	Index      uint64
	Members    int // of the map, candidates not counted
	Candidates int
	Linked     int           // members that this node has all links to
	ClockApart time.Duration // by how much the clock of a member differs at least, of the one whose differs most
	Groups     []GroupFigures
	Commits    replica.Times // of all groups
}

// GroupFigures are those of a group of which this node has a replica; number 0 is that of the map.
type GroupFigures struct {
	Number        uint32
	Runs, Leads   bool
	Term, Applied uint64
	Lag           uint64 // of who leads: entries that the replica lacks that lacks most
	Active        int    // the same: replicas that answer
	Uncommitted   int    // the same: bytes
	Elections     uint64
}

// Figures returns them.
func (m *Member) Figures(ctx context.Context) Figures {
	v := m.View(ctx)
	f := Figures{State: v.State, Term: v.Term, Index: v.Index}
	for _, n := range v.Nodes {
		switch {
		case n.State == "candidate":
			f.Candidates++
			continue
		case n.Linked && !n.Self:
			f.Linked++
		}
		f.Members++
		if d, known := m.offset(n.Folder); known && !n.Self {
			f.ClockApart = max(f.ClockApart, d.Abs())
		}
		f.Leads = f.Leads || n.Leads && n.Self
	}
	m.mu.Lock()
	g := m.group
	m.mu.Unlock()
	f.add(ctx, mapGroup, g, &m.tally)
	for _, h := range m.held() {
		m.mu.Lock()
		g := h.group
		m.mu.Unlock()
		f.add(ctx, h.number, g, &h.tally)
	}
	return f
}

// add adds a group; g is nil when its replica does not run.
func (f *Figures) add(ctx context.Context, number uint32, g *replica.Group, tally *replica.Tally) {
	counts := tally.Counts()
	out := GroupFigures{Number: number, Elections: counts.Elections}
	f.Commits.Add(counts.Commits)
	if g != nil {
		st, err := g.Status(ctx)
		out.Runs = err == nil && st.Err == nil
		out.Leads, out.Term, out.Applied = st.Reign != 0, st.Term, st.Applied.Index
		out.Uncommitted = st.Uncommitted
		for id, match := range st.Match {
			out.Lag = max(out.Lag, st.Last-min(match, st.Last))
			if st.Active[id] {
				out.Active++
			}
		}
	}
	f.Groups = append(f.Groups, out)
}

// Add lets a candidate in.
func (m *Member) Add(ctx context.Context, node string) error {
	return m.on(node, func(folder string) error {
		return m.Do(ctx, cluster.Command{Op: cluster.OpAdmit, Folder: folder, Time: time.Now().Unix()})
	})
}

// Replace lets a candidate in, in the place of another node, which is removed once it has nothing any more.
func (m *Member) Replace(ctx context.Context, old, with string) error {
	return m.on(old, func(old string) error {
		return m.on(with, func(folder string) error {
			return m.Do(ctx, cluster.Command{Op: cluster.OpAdmit, Folder: folder, Old: old, Time: time.Now().Unix()})
		})
	})
}

// Drain has a node get no more replicas and give away those that it has, or takes that back.
func (m *Member) Drain(ctx context.Context, node string, on bool) error {
	return m.on(node, func(folder string) error {
		return m.Do(ctx, cluster.Command{Op: cluster.OpDrain, Folder: folder, On: on})
	})
}

// Remove removes a candidate, or a member that has no replicas.
func (m *Member) Remove(ctx context.Context, node string) error {
	return m.on(node, func(folder string) error {
		return m.Do(ctx, cluster.Command{Op: cluster.OpRemove, Folder: folder, Time: time.Now().Unix()})
	})
}

// LeadTo has another node lead the map.
func (m *Member) LeadTo(ctx context.Context, node string) error {
	return m.on(node, func(folder string) error { return m.Transfer(ctx, folder) })
}

// on does something with the node that a text means.
func (m *Member) on(text string, do func(folder string) error) error {
	m.mu.Lock()
	state := m.state
	m.mu.Unlock()
	if state == nil {
		return fmt.Errorf("%w: this node is not in a cluster", ErrNotDone)
	}
	folder, err := state.Find(text)
	if err != nil {
		return err
	}
	return do(folder)
}
