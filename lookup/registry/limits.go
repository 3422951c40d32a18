package registry

import (
	"errors"
	"slices"
)

// Limits is how much may be registered. 0 is no limit.
type Limits struct {
	Peers         int // connections of brokers
	PeersOfHost   int // of these from one address
	RecordsOfPeer int // topics and channels of one connection, added up
	Records       int // the same of all
	Topics        int // that are known
	Channels      int // of one topic
	AllChannels   int // of all topics
}

// DefaultLimits is ten times what the largest clusters have that were seen, and fits into some hundred megabytes.
func DefaultLimits() Limits {
	return Limits{Peers: 10_000, PeersOfHost: 1000, RecordsOfPeer: 50_000, Records: 2_000_000, Topics: 200_000, Channels: 5000, AllChannels: 2_000_000}
}

// Refusals for want of room.
var (
	ErrTooManyPeers  = errors.New("too many brokers are registered here")
	ErrTooManyOfHost = errors.New("too many brokers are registered from this address")
	ErrTooManyOfPeer = errors.New("this broker has too many topics and channels registered")
	ErrFull          = errors.New("too many topics and channels are registered here")
)

func over(n, limit int) bool { return limit > 0 && n >= limit }

func (r *Registry) admitLocked(host string) error {
	switch {
	case over(len(r.peers), r.limits.Peers):
		return ErrTooManyPeers
	case over(r.hosts[host], r.limits.PeersOfHost):
		return ErrTooManyOfHost
	}
	r.hosts[host]++
	return nil
}

func (r *Registry) leftLocked(host string) {
	if r.hosts[host]--; r.hosts[host] <= 0 {
		delete(r.hosts, host)
	}
}

// roomLocked refuses what there is no room for. The peer is nil for what is asked over HTTP.
func (r *Registry) roomLocked(p *Peer, topicName, channelName string, now stamp) error {
	if r.lacksRoomLocked(topicName, channelName) {
		r.forgetLocked(now)
		if r.lacksRoomLocked(topicName, channelName) {
			return ErrFull
		}
	}
	t := r.topics[topicName]
	if p != nil {
		needs := 0
		if _, has := p.topics[t]; t == nil || !has {
			needs++
		}
		if channelName != "" {
			needs++
		}
		switch {
		case over(p.records+needs-1, r.limits.RecordsOfPeer) && !t.has(p, channelName):
			return ErrTooManyOfPeer
		case over(r.records+needs-1, r.limits.Records) && !t.has(p, channelName):
			return ErrFull
		}
	}
	if t != nil && channelName != "" && over(len(t.channels), r.limits.Channels) {
		if _, found := t.findChannel(channelName); !found {
			return ErrFull
		}
	}
	return nil
}

// lacksRoomLocked reports whether a topic or channel that is not known yet would be one too many of all.
func (r *Registry) lacksRoomLocked(topicName, channelName string) bool {
	t := r.topics[topicName]
	if t == nil && over(len(r.topics), r.limits.Topics) {
		return true
	}
	if channelName == "" || !over(r.keys, r.limits.AllChannels) {
		return false
	}
	if t == nil {
		return true
	}
	_, found := t.findChannel(channelName)
	return !found
}

// has reports whether the peer has the topic, and the channel unless it is empty, already.
func (t *topic) has(p *Peer, channelName string) bool {
	if t == nil {
		return false
	}
	if _, has := p.topics[t]; !has || channelName == "" {
		return has
	}
	i, found := t.findChannel(channelName)
	if !found {
		return false
	}
	_, found = t.channels[i].find(p)
	return found
}

// recordGone notes that one record of a peer was removed.
func (r *Registry) recordGone(p *Peer) { r.recordsGone(p, 1) }

func (r *Registry) recordsGone(p *Peer, n int) {
	p.records -= n
	r.records -= n
}

// dropLocked notes that all records of a key go.
func (r *Registry) dropLocked(records []record) {
	for _, rec := range records {
		r.recordGone(rec.peer)
	}
}

// orphan is a topic that no broker has since a moment.
type orphan struct {
	topic string
	since stamp
}

func (r *Registry) orphanLocked(t *topic, now stamp) {
	if r.forget <= 0 || t.orphan == now {
		return
	}
	t.orphan = now
	r.orphans = append(r.orphans, orphan{t.name, now})
	if len(r.orphans) > 2*len(r.topics)+fewOrphans { // a broker that registers and unregisters without end leaves one each time
		r.orphans = slices.DeleteFunc(r.orphans, func(o orphan) bool { return !r.orphanedLocked(o) })
	}
}

// fewOrphans is how many orphans are not worth looking through.
const fewOrphans = 1000

// orphanedLocked reports whether a topic is still without a broker, since then.
func (r *Registry) orphanedLocked(o orphan) bool {
	t := r.topics[o.topic]
	return t != nil && t.orphan == o.since && len(t.records) == 0 && !t.asked
}

// forgetLocked drops topics that no broker has had for long, and the oldest of these when there is no room for others.
func (r *Registry) forgetLocked(now stamp) {
	for len(r.orphans) > 0 {
		o := r.orphans[0]
		if r.orphanedLocked(o) {
			if now-o.since < r.forget && !over(len(r.topics), r.limits.Topics) && !over(r.keys, r.limits.AllChannels) {
				return
			}
			r.dropTopicLocked(r.topics[o.topic])
		}
		r.orphans = r.orphans[1:]
	}
}
