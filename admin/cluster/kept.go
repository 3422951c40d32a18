package cluster

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"brokerd/protocol/httpapi"
)

// Kept is what outlives admind of a broker: who it is, and what was on it when it last answered.
type Kept struct {
	Address  string // that is asked
	Producer httpapi.Producer
	IsBroker bool // it is brokerd, not nsqd
	At       time.Time
	Topics   []httpapi.Topic // sorted by name, as their channels are; those on which something was
}

// Kept returns the brokers of the view that answered once, with the topics on which something waits, is in flight or is deferred.
func (v *View) Kept() []Kept {
	var all []Kept
	for _, n := range v.Nodes {
		if !n.Known {
			continue
		}
		k := Kept{Address: n.Address, Producer: n.Producer, IsBroker: n.IsBroker, At: n.At}
		for _, t := range n.Topics {
			if t.Left() > 0 {
				k.Topics = append(k.Topics, *t.Topic)
			}
		}
		all = append(all, k)
	}
	return all
}

// Left returns how many messages of a topic are not finished on a node: at the topic and on its channels.
func (t *NodeTopic) Left() int64 {
	left := t.Depth
	for i := range t.Channels {
		left += t.Channels[i].Left()
	}
	return left
}

// Left returns how many messages of a channel are not finished on a node.
func (c *NodeChannel) Left() int64 { return c.Depth + int64(c.InFlightCount) + int64(c.DeferredCount) }

// Left returns how many messages are not finished.
func (f *Figures) Left() int64 { return f.Depth + int64(f.InFlight) + int64(f.Deferred) }

// errEarlier is why the figures of a kept broker are not of now until it was asked.
var errEarlier = errors.New("not heard since admind was started")

// restore takes a kept broker in. Where brokers are given by a list, those that are no longer on it are not.
func (c *Cluster) restore(k Kept) {
	b := c.nodes[k.Address]
	if b == nil {
		if !c.ByLookups() {
			return
		}
		b = &broker{address: k.Address}
		c.nodes[k.Address] = b
	}
	// It counts as started at no known time: no rates come from the figures of an earlier life.
	b.answer = digest(nil, httpapi.Stats{Version: k.Producer.Version, Topics: k.Topics}, k.At)
	b.info, b.at, b.err = k.Producer, k.At, errEarlier
	if k.IsBroker {
		b.storage = new(httpapi.Storage)
	}
}

// maxGone is how many brokers are kept that no lookup names any more: they must not take the place of those that are there.
const maxGone = maxBrokers / 2

// boundGoneLocked forgets the brokers that were heard of the longest ago where too many are gone, as when each start has a new address.
func (c *Cluster) boundGoneLocked() {
	more := len(c.gone) - maxGone
	if more <= 0 {
		return
	}
	oldest := slices.SortedFunc(maps.Keys(c.gone), func(a, b *broker) int { return cmp.Or(a.at.Compare(b.at), strings.Compare(a.address, b.address)) })
	for _, b := range oldest[:more] {
		delete(c.nodes, b.address)
		delete(c.gone, b)
	}
	c.cfg.Log.Warn("more brokers are gone than are kept; those heard of the longest ago are forgotten: dismiss what is not coming back", "kept", maxGone, "forgotten", more)
}

// answers reports whether the broker's last answer was a good one.
func (b *broker) answers() bool { return b.answer != nil && b.err == nil && !b.pending }

// restsLocked reports whether a broker is left alone this round: nobody names it, and it did not answer a moment ago.
func (c *Cluster) restsLocked(b *broker, now time.Time) bool {
	_, gone := c.gone[b]
	return gone && b.err != nil && now.Sub(b.since) < goneEvery
}

// The errors of Dismiss.
var (
	ErrAnswers = errors.New("it answers")
	ErrListed  = errors.New("it is one of the brokers that admind was given")
)

// Dismiss takes a broker that does not answer, or that no lookup names any more, out of what is shown and kept: an operator
// says that it is not coming back. If it does, it is shown again. The name is its ID or the address that is asked. The error is
// ErrUnknownNode, ErrAnswers, or ErrListed where brokers are given by a list.
func (c *Cluster) Dismiss(name string) error {
	n := c.View().Node(name)
	switch {
	case n == nil:
		return ErrUnknownNode
	case !c.ByLookups():
		return ErrListed
	case !n.MayDismiss():
		return ErrAnswers
	}
	c.mu.Lock()
	b := c.nodes[n.Address]
	if b != nil {
		b.dismissed = true
	}
	c.mu.Unlock()
	if b == nil {
		return ErrUnknownNode
	}
	c.Kick()
	return nil
}
