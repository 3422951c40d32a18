package member

import (
	"math/rand/v2"
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
	mostJitter = 100 * time.Millisecond // before who misses a leader stands for election
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

// dead has the groups that a node leads elect another one.
func (m *Member) dead(folder string) {
	var orphans []*replica.Group
	m.mu.Lock()
	if m.group != nil && m.routes[m.group.Leader()] == folder {
		orphans = append(orphans, m.group)
	}
	for _, h := range m.holdings {
		if h.group != nil && h.routes[h.group.Leader()] == folder {
			orphans = append(orphans, h.group)
		}
	}
	m.mu.Unlock()
	if len(orphans) == 0 {
		return
	}
	m.o.Log.Warn("the process of a broker that leads is dead: another one is elected", "folder", folder, "groups", len(orphans))
	for _, g := range orphans {
		_ = g.ForgetLeader(m.ctx) // it fails when the group is ending
	}
	select {
	case <-time.After(rand.N(mostJitter)):
	case <-m.ctx.Done():
		return
	}
	for _, g := range orphans {
		_ = g.Campaign(m.ctx)
	}
}
