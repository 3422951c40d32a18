package broker

import (
	"context"
	"errors"

	"brokerd/broker/forward"
	"brokerd/broker/httpd"
	"brokerd/broker/member"
	"brokerd/broker/registrar"
	"brokerd/broker/session"
	"brokerd/broker/shard"
	"brokerd/broker/topic"
)

// newForward makes what carries out publishes to replicated topics, when the broker is in a cluster.
func (s *Server) newForward() {
	s.forward = forward.New(forward.Options{Cluster: others{s.member, s.registry}, Topics: s.registry, Wait: s.opts.ClusterWait, Log: s.log})
	s.member.Handle(forward.FirstKind, forward.LastKind, s.forward.Received)
}

// newYielder makes what has topics of this broker alone give way to replicated ones.
func (s *Server) newYielder() {
	s.yielder = newYielder(s.registry, func(ctx context.Context, name, channel string) error {
		act, err := httpd.ActOfChannel(name, channel)
		if err != nil {
			return err
		}
		answer, _, err := s.forward.Act(ctx, name, act)
		switch {
		case errors.Is(err, forward.ErrHere): // it has the channels of what was in its way
			return topic.ErrExiting
		case err != nil:
			return err
		}
		return httpd.Acted(answer)
	}, s.yieldKick, s.log)
}

// yields is told that there is a topic which is to give way.
func (s *Server) yields() {
	select {
	case s.yieldKick <- struct{}{}:
	default:
	}
}

// others is the cluster as publishes see it.
type others struct {
	*member.Member
	topics *topic.Registry
}

// Find is forward.Cluster's.
func (o others) Find(name string) (forward.Topic, bool, error) {
	in, ok, err := o.Topic(name)
	t := forward.Topic{Group: uint32(in.Group), Number: in.Number, Deleting: in.Deleting}
	if !ok || err != nil {
		return t, ok, err
	}
	if live := o.topics.Lookup(name); live != nil && live.Replicated() {
		t.Known, t.Policy = true, live.Policy()
	} else if s, follows := o.Shard(t.Group).(*shard.Shard); follows {
		t.Known, t.Policy = true, s.Policy(t.Number)
	}
	return t, true, nil
}

// forwardTo returns what sessions publish to replicated topics by, nil when the broker is in no cluster.
func (s *Server) forwardTo() session.Forwarder {
	if s.forward == nil {
		return nil
	}
	return s.forward
}

// forwards is the same as HTTP sees it.
type forwards struct{ *forward.Forwarder }

// Act is httpd.Forward's.
func (f forwards) Act(ctx context.Context, topic string, act []byte) (answer []byte, unsure bool, err error) {
	answer, unsure, err = f.Forwarder.Act(ctx, topic, act)
	if errors.Is(err, forward.ErrHere) {
		err = httpd.ErrActHere
	}
	return answer, unsure, err
}

// httpForward returns that, nil when the broker is in no cluster.
func (s *Server) httpForward() httpd.Forward {
	if s.forward == nil {
		return nil
	}
	return forwards{s.forward}
}

// withFollowed adds the replicated topics of which this broker has a replica and which another one leads: clients may use any of them.
func (s *Server) withFollowed(list []registrar.Topic) []registrar.Topic {
	for _, in := range s.member.Shards() {
		sh, ok := in.(*shard.Shard)
		if !ok || !sh.Reaches() {
			continue
		}
		for _, t := range sh.List() {
			if s.registry.Lookup(t.Name) != nil || s.member.AtLeader(t.Name) {
				continue
			}
			r := registrar.Topic{Name: t.Name}
			for _, c := range t.Channels {
				r.Channels = append(r.Channels, c.Name)
			}
			list = append(list, r)
		}
	}
	return list
}
