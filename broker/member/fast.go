package member

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"brokerd/broker/peer"
	"brokerd/broker/replica"
)

// A leader whose process has died is found before its silence is long enough: the kernel of its host ends the links, and says that nobody
// listens there any more. That proves less than it seems, as a process may have closed its port, or something on the way refuses in its place: then
// two deliver for some hundred milliseconds; publishes are safe all the same.

// Times of looking whether a process is dead.
const (
	probes     = 5
	probeEvery = 10 * time.Millisecond // its port may be closed a moment after its links
	probeWait  = 200 * time.Millisecond

	// Who misses a leader stands for election when the others miss it too, and one behind the other: two that do at once get a vote each, and
	// nobody leads until one of them is silent for long enough.
	firstAfter = 10 * time.Millisecond
	nextAfter  = 80 * time.Millisecond
	mostJitter = 15 * time.Millisecond
)

// ended looks at once whether the process of a node is dead to which the link for what is urgent has ended.
func (m *Member) ended(folder string, lane peer.Lane) {
	if lane != peer.Control || !m.o.Fast {
		return
	}
	m.mu.Lock()
	address := ""
	if m.state != nil {
		address = m.state.Nodes[folder].Address
	}
	m.mu.Unlock()
	if address != "" {
		m.serving.Go(func() { m.probe(folder, address) })
	}
}

// probe has a node given up for dead when its host says that it is.
func (m *Member) probe(folder, address string) {
	for range probes {
		switch {
		case m.links.Link(folder, peer.Control) != 0:
			return // it is back
		case m.links.Refuses(m.ctx, address, probeWait):
			m.dead(folder)
			return
		}
		select {
		case <-time.After(probeEvery):
		case <-m.ctx.Done():
			return
		}
	}
}

// orphan is a group whose leader is dead, and when this node stands for election.
type orphan struct {
	group *replica.Group
	after time.Duration
}

// dead has the groups that a node leads elect another one.
func (m *Member) dead(folder string) {
	var orphans []orphan
	add := func(g *replica.Group, number uint32, routes map[uint64]string) {
		if g == nil || routes[g.Leader()] != folder {
			return
		}
		after := firstAfter + time.Duration(turn(m.o.Folder, folder, number, routes))*nextAfter + rand.N(mostJitter)
		orphans = append(orphans, orphan{g, after})
	}
	m.mu.Lock()
	voters := map[uint64]string{}
	if m.state != nil {
		for _, r := range m.state.Meta {
			if !r.Learner {
				voters[r.ID] = r.Folder
			}
		}
	}
	add(m.group, mapGroup, voters)
	for _, h := range m.holdings {
		add(h.group, h.number, h.routes)
	}
	m.mu.Unlock()
	if len(orphans) == 0 {
		return
	}
	m.o.Log.Warn("the process of a broker that leads is dead: another one is elected", "folder", folder, "groups", len(orphans))
	for _, o := range orphans {
		_ = o.group.ForgetLeader(m.ctx) // it fails when the group is ending
	}
	slices.SortFunc(orphans, func(a, b orphan) int { return cmp.Compare(a.after, b.after) })
	began := time.Now()
	for _, o := range orphans {
		select {
		case <-time.After(o.after - time.Since(began)):
		case <-m.ctx.Done():
			return
		}
		_ = o.group.Campaign(m.ctx) // it does nothing when one leads by now
	}
}

// turn returns how many replicas of a group stand for election before that of a node, after another one has died: each group begins with another.
func turn(self, dead string, group uint32, replicas map[uint64]string) int {
	others := slices.DeleteFunc(slices.Sorted(maps.Values(replicas)), func(folder string) bool { return folder == dead })
	if len(others) == 0 {
		return 0
	}
	return (max(0, slices.Index(others, self)) + int(group)) % len(others)
}
