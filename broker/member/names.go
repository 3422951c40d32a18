package member

import (
	"context"
	"fmt"

	"brokerd/broker/cluster"
)

// What this node alone has of a name is to give way as soon as it knows that a replicated topic has that: see Options.Named.

// nameLocked tells of a name when another topic has it in one map than in another, or only one has it. A topic that is being deleted has none any more.
// m.mu is held, so that nobody finds the map before.
func (m *Member) nameLocked(name string, before, now *cluster.State) {
	if m.o.Named == nil {
		return
	}
	was, had := named(before, name)
	is, has := named(now, name)
	changed := was.Group != is.Group || was.Number != is.Number
	if had && (!has || changed) {
		m.o.Named(name, false)
	}
	if has && (!had || changed) {
		m.o.Named(name, true)
	}
}

func named(s *cluster.State, name string) (t cluster.Topic, ok bool) {
	if s == nil {
		return t, false
	}
	t, ok = s.Topics[name]
	if !ok || t.Deleting {
		return cluster.Topic{}, false
	}
	return t, true
}

// nameAllLocked is nameLocked of all names.
func (m *Member) nameAllLocked(before, now *cluster.State) {
	for _, s := range []*cluster.State{before, now} {
		if s == nil {
			continue
		}
		for name := range s.Topics {
			if _, again := named(before, name); s == before || !again {
				m.nameLocked(name, before, now)
			}
		}
	}
}

// CreateTopic makes a replicated topic. After nil this node knows it. It is served once a node leads its group; atLeader says that clients are told of
// that one alone. Its errors are those of Do.
func (m *Member) CreateTopic(ctx context.Context, name string, atLeader bool) error {
	err := m.Do(ctx, cluster.Command{Op: cluster.OpCreate, Topic: name, Level: cluster.Fsync, Options: cluster.ServedBy(atLeader)})
	if err != nil {
		return err
	}
	if _, ok, err := m.Topic(name); err != nil || !ok {
		return fmt.Errorf("%w: the topic was made, and this node does not know it yet, or it was deleted again", ErrUnknown)
	}
	return nil
}
