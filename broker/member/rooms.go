package member

import (
	"maps"
	"slices"

	"brokerd/broker/peer"
)

// What other rooms of the broker say to those of other members goes over the lane for clients. Each room has kinds of frames of its own, see
// package peer.

// room is who is told frames of some kinds.
type room struct {
	first, last peer.Kind
	received    func(folder string, kind peer.Kind, stream uint32, payload []byte)
}

// Handle has frames of kinds from first to last that members send told to received: those of one member in order, by a goroutine that waits
// meanwhile for nothing else of that member. The payload is its own to keep. It is called before Start.
func (m *Member) Handle(first, last peer.Kind, received func(folder string, kind peer.Kind, stream uint32, payload []byte)) {
	m.rooms = append(m.rooms, room{first, last, received})
}

// hand gives a frame to the room that has its kind, if one does.
func (m *Member) hand(folder string, lane peer.Lane, kind peer.Kind, stream uint32, payload []byte) {
	if lane != peer.Clients {
		return
	}
	for _, r := range m.rooms {
		if r.first <= kind && kind <= r.last {
			r.received(folder, kind, stream, payload)
			return
		}
	}
}

// Send gives a frame to another member, and waits for nothing. It returns peer.ErrNoLink, peer.ErrFull or peer.ErrFrame; after nil the frame
// may still be lost with the link.
func (m *Member) Send(folder string, kind peer.Kind, stream uint32, payload ...[]byte) error {
	if m.links == nil {
		return peer.ErrNoLink
	}
	return m.links.Send(folder, peer.Clients, kind, stream, payload...)
}

// mostWaiting is how many bytes may wait to be sent to a member for more that are paced.
const mostWaiting = 1 << 20

// SendPaced is Send once little enough waits to be sent there. It also returns net.ErrClosed when the link ends meanwhile, and peer.ErrGivenUp once
// done is closed.
func (m *Member) SendPaced(done <-chan struct{}, folder string, kind peer.Kind, stream uint32, payload ...[]byte) error {
	if m.links == nil {
		return peer.ErrNoLink
	}
	return m.links.SendPaced(done, folder, peer.Clients, mostWaiting, kind, stream, payload...)
}

// Pace returns once little enough waits to be sent to a member. Its errors are those of SendPaced.
func (m *Member) Pace(done <-chan struct{}, folder string) error {
	if m.links == nil {
		return peer.ErrNoLink
	}
	return m.links.Pace(done, folder, peer.Clients, mostWaiting)
}

// Link returns the number of the link that Send would use now, 0 when there is none. What was sent over another one may be lost.
func (m *Member) Link(folder string) uint64 {
	if m.links == nil {
		return 0
	}
	return m.links.Link(folder, peer.Clients)
}

// Self returns the id of this node's folder.
func (m *Member) Self() string { return m.o.Folder }

// Leader returns the folder of the node that leads a group, as far as this node knows: a node without a replica of it knows nothing. It waits
// for nothing.
func (m *Member) Leader(group uint32) (folder string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.holdings[group]
	if h == nil || h.group == nil {
		return ""
	}
	return h.routes[h.group.Leader()]
}

// Shards returns what this node's replicas of groups of topics are that run.
func (m *Member) Shards() (list []Shard) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, number := range slices.Sorted(maps.Keys(m.holdings)) {
		if h := m.holdings[number]; h.group != nil {
			list = append(list, h.shard)
		}
	}
	return list
}

// Shard returns this node's replica of a group of topics, nil when there is none that runs.
func (m *Member) Shard(group uint32) Shard {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h := m.holdings[group]; h != nil && h.group != nil {
		return h.shard
	}
	return nil
}

// Follows reports whether this node has a replica of a group that runs, so that it would know who leads.
func (m *Member) Follows(group uint32) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.holdings[group]
	return h != nil && h.group != nil
}

// Replicas returns the folders of the nodes that have a replica of a group.
func (m *Member) Replicas(group uint32) (folders []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state == nil || group == 0 || int(group) > len(m.state.Groups) {
		return nil
	}
	for _, r := range m.state.Groups[group-1].Replicas {
		folders = append(folders, r.Folder)
	}
	return folders
}
