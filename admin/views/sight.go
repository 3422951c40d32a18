package views

import (
	"slices"

	"brokerd/admin/attention"
)

// Sight is what somebody sees of the cluster: some topics only, as if there were no others. The zero value sees all.
type Sight struct {
	Name  string // tells sights apart: those of one name see the same
	Topic func(name string) bool
}

// Sees reports whether a topic is seen.
func (g Sight) Sees(topic string) bool { return g.Topic == nil || g.Topic(topic) }

// All reports whether nothing is hidden.
func (g Sight) All() bool { return g.Topic == nil }

// seen returns what is seen of a State.
func (m *Maker) seen(s *State, sight Sight) *State {
	if sight.All() {
		return s
	}
	m.mu.Lock()
	part := m.parts[sight.Name]
	m.mu.Unlock()
	if part != nil && part.Seq == s.Seq {
		return part
	}
	v := s.View.Only(sight.Topic)
	part = stateOf(v, attention.Of(v, past{m.history}, s.Items), s.dismissable)
	part.sight = sight
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := m.state.Load(); now == nil || now.Seq == s.Seq {
		m.parts[sight.Name] = part
	}
	return part
}

// consumers returns what is seen of a list.
func (g Sight) consumers(all *Consumers) *Consumers {
	if g.All() || all == nil {
		return all
	}
	seen := *all
	seen.Clients = slices.DeleteFunc(slices.Clone(all.Clients), func(c Client) bool { return !g.Sees(c.Topic) })
	seen.More = 0 // of which topics, nobody knows
	return &seen
}
