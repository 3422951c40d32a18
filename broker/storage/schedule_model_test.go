package storage

import (
	"errors"
	"time"

	"brokerd/broker/topic"
	"brokerd/protocol"
)

// schedules is what a node knows of messages that are not to be delivered yet, or not any more.
type schedules struct {
	byID map[protocol.MessageID]*message // each that was published, whether it was taken or not
}

// mortal gives some batches a time to live, and returns it.
func (n *node) mortal(b *topic.Batch) time.Duration {
	if n.rng.IntN(4) == 0 {
		b.TTL = time.Duration(1+n.rng.IntN(60)) * time.Second
	}
	return b.TTL
}

// receive notes which ids the messages of a publish have got: none when it was refused.
func (n *node) receive(r topic.Receipt, list []*message) {
	if r.Position == 0 {
		return
	}
	if n.schedules.byID == nil {
		n.schedules.byID = map[protocol.MessageID]*message{}
	}
	for i, m := range list {
		n.schedules.byID[r.ID+protocol.MessageID(i)] = m
	}
}

// over reports whether a message's time to live is over: it need not come any more, and must not.
func (m *message) over() bool { return !m.until.IsZero() && !wall().Before(m.until) }

// reschedule cancels or releases something that is deferred, by what is listed, which must be what is known.
func (n *node) reschedule() {
	t := n.randomTopic()
	channels := append(t.Channels(), t.Own())
	c := channels[n.rng.IntN(len(channels))]
	var list []topic.Scheduled
	for from := (topic.DueMark{}); ; {
		some, next, err := c.Deferred(n.t.Context(), from, 1+n.rng.IntN(5))
		if err != nil {
			if !n.faults && !n.crash.done() {
				n.fail("listing what %s/%s has deferred: %v", t.Name(), c.Name(), err)
			}
			return
		}
		if list = append(list, some...); next == (topic.DueMark{}) {
			break
		}
		from = next
	}
	for i, s := range list {
		if i > 0 && s.Due.Before(list[i-1].Due) {
			n.fail("%s/%s lists %v behind %v", t.Name(), c.Name(), s, list[i-1])
		}
		n.listedRight(t.Name(), c.Name(), s)
	}
	if len(list) == 0 {
		return
	}
	s := list[n.rng.IntN(len(list))]
	act, what := (*topic.Topic).Cancel, "cancel"
	if n.rng.IntN(2) == 0 {
		act, what = (*topic.Topic).Release, "release"
	}
	only := c
	if n.rng.IntN(3) == 0 {
		only = nil
	}
	lo := n.begin()
	from, err := act(t, s.Position, only)
	at := n.end(lo)
	n.note("%s position %d of %s, on %s alone %v: %q %v", what, s.Position, t.Name(), c.Name(), only != nil, from, err)
	switch {
	case errors.Is(err, topic.ErrNotDeferred):
		n.fail("%s of what is listed: %v", what, err)
	case err != nil && !n.faults && !n.crash.done():
		n.fail("%s: %v", what, err)
	case err == nil:
		n.safe(at.hi+1, t.Durability() == topic.Fsync)
	}
	m := n.schedules.byID[s.ID]
	if m == nil { // it has come back from a dead letter topic, as another message
		if m = n.messages[n.named[s.ID]]; m == nil {
			n.doubtRedriven(t.Name())
			return
		}
	}
	for _, name := range from {
		key := t.Name() + "/" + name + "/" + m.body
		p := n.promises[key]
		switch {
		case p == nil && m.loose:
			p = &promise{m: m, delayed: true, deliveries: make([]said, int(s.Attempts))}
			n.promises[key] = p
		case p == nil:
			n.fail("%s had %.12q, which nobody published to it", name, m.body)
		}
		if what == "cancel" {
			p.gone, p.cancelled, m.anywhere = at, at, false
			m.cancelled = m.cancelled || only == nil || name == ""
			continue
		}
		for _, other := range n.promises {
			if other == p || m.loose && other.m == m { // nobody knows which channels the topic's own backlog has moved to
				other.base, other.due, other.delayed = n.after(0), n.after(0), true
			}
		}
	}
}

// doubtRedriven says that one of the messages that have come back to a topic is due, or was cancelled, and nobody knows which.
func (n *node) doubtRedriven(name string) {
	for _, p := range n.promises {
		if p.redriven && p.m.topic == name {
			p.due, p.base, p.strict, p.m.anywhere = time.Time{}, time.Time{}, false, false
		}
	}
}

// listedRight fails when something is listed that is gone, or as due earlier than it may come.
func (n *node) listedRight(name, channel string, s topic.Scheduled) {
	m := n.schedules.byID[s.ID]
	if m == nil { // it has come back from a dead letter topic, as another message
		return
	}
	if m.topic != name || s.Size != len(m.body) {
		n.fail("%s/%s lists %+v, which is %v", name, channel, s, m)
	}
	p := n.promises[name+"/"+channel+"/"+m.body]
	switch {
	case p == nil && !m.loose && n.messages[name+"/"+m.body] == m:
		n.fail("%s/%s lists %.12q, which nobody published to it", name, channel, m.body)
	case p == nil:
	case p.gone.yes() && !(channel == "" && p.moved.yes()):
		n.fail("%s/%s lists %.12q, which was finished or dropped at %d", name, channel, m.body, p.gone.lo)
	case s.Due.Add(time.Millisecond).Before(p.due):
		n.fail("%s/%s lists %.12q as due %v early", name, channel, m.body, p.due.Sub(s.Due))
	}
}
