package session

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"time"

	"brokerd/broker/topic"
	"brokerd/protocol"
	"brokerd/protocol/httpapi"
)

// Relays has consumers of replicated topics be where they have connected, whichever broker leads.
type Relays interface {
	// Consumer returns a subscription of the owner of o, who is what about says, that is nowhere yet.
	Consumer(topicName, channel string, o topic.SubscribeOptions, about httpapi.Client) Relayed
}

// Relayed is a subscription to a replicated topic, which follows the lead. While this broker leads, what there is to take is taken from Local.
type Relayed interface {
	// Begin subscribes and waits until that is done, or fails.
	Begin() error
	Local() *topic.Subscription
	Moved(s *topic.Subscription)
	Take(d *topic.Delivery) int
	// Failed returns answers that have failed, but not at once as Apply has it.
	Failed() []topic.Answer
	Apply(answers []topic.Answer, later *topic.Wakes)
	subscription
}

// subscription is what a session does with either kind now and then.
type subscription interface {
	SetReady(n int)
	HasCredit() bool
	Stats() topic.SubscriptionStats
	Close() error
}

// relayed is a Relayed with what it is of.
type relayed struct {
	Relayed
	topic, channel string
}

// consuming returns the subscription, nil when there is none.
func (s *Session) consuming() subscription {
	if sub := s.sub.Load(); sub != nil {
		return sub
	}
	if r := s.relay.Load(); r != nil {
		return r
	}
	return nil
}

// consumes returns what is consumed.
func (s *Session) consumes() (name, channel string, ok bool) {
	if sub := s.sub.Load(); sub != nil {
		return sub.Channel().Topic().Name(), sub.Channel().Name(), true
	}
	if r := s.relay.Load(); r != nil {
		return r.topic, r.channel, true
	}
	return "", "", false
}

// taking returns the subscription to take from, nil while another broker leads the topic.
func (s *Session) taking() *topic.Subscription {
	if sub := s.sub.Load(); sub != nil {
		return sub
	}
	if r := s.relay.Load(); r != nil {
		return r.Local()
	}
	return nil // it is about to be there
}

// replicated reports whether a topic is to be consumed by a Relayed. One of this broker alone that is in the way of a replicated one is consumed as long as it
// holds messages.
func (s *Session) replicated(t *topic.Topic, err error) bool {
	return s.cfg.Relays != nil && (errors.Is(err, topic.ErrElsewhere) || err == nil && (t.Replicated() || t.GivesWay()))
}

// follow subscribes to a replicated topic.
func (s *Session) follow(name, channel string, o topic.SubscribeOptions) error {
	about := s.Stats()
	about.State = stateSubscribed
	r := &relayed{Relayed: s.cfg.Relays.Consumer(name, channel, o, about), topic: name, channel: channel}
	s.relay.Store(r)
	return s.informed(r.Begin)
}

// Moved is topic.Mover's: who follows the lead stays.
func (s *Session) Moved(sub *topic.Subscription) {
	if r := s.relay.Load(); r != nil {
		r.Moved(sub)
	}
}

// drainRelayed is drain while another broker leads the topic.
func (s *Session) drainRelayed(d *topic.Delivery) error {
	r := s.relay.Load()
	if r == nil {
		return nil
	}
	for len(d.Runs) > 0 || r.Take(d) > 0 {
		err := s.out.deliver(d)
		d.Clear()
		if err != nil {
			return err
		}
		if !s.out.buffered() {
			runtime.Gosched()
		}
	}
	if s.batching.delay > 0 && r.HasCredit() {
		return s.out.flushResponses()
	}
	return s.out.flush()
}

// tellFailed tells the client of answers that have failed at the broker that leads.
func (s *Session) tellFailed() error {
	r := s.relay.Load()
	if r == nil {
		return nil
	}
	for _, a := range r.Failed() {
		if err := s.refuseLate(r, &a); err != nil {
			return err
		}
	}
	return nil
}

// refuseLate tells of one. It is not the reader who does.
func (s *Session) refuseLate(r *relayed, a *topic.Answer) error {
	refusal := refusalOf(a.Verb, a.ID.String(), a.Err.Error())
	if s.cfg.refusals != nil {
		if say, dropped := s.cfg.refusals.count(remoteIP(s.conn), refusal.Code, 1, time.Now()); say {
			line := []any{"client", s.settings.clientID, "remote", s.conn.RemoteAddr(), "code", string(refusal.Code), "reason", refusal.Desc, "topic", r.topic, "channel", r.channel}
			if dropped > 0 {
				line = append(line, "not_logged", dropped)
			}
			s.cfg.refusals.log.Log(context.Background(), slog.LevelInfo, "command refused", line...)
		}
	}
	return s.out.frame(protocol.FrameError, refusal.Error())
}
