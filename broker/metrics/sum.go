package metrics

import (
	"time"

	"brokerd/broker/topic"
	"brokerd/diskqueue/journal"
)

// flows are the counters of a topic, those of all its channels in one.
type flows struct {
	messages, bytes, refused                                    uint64
	duplicates, forgotten, acksLost, droppedEarly               uint64
	accepted, delivered, finished, requeued, timedOut, returned uint64
	discarded                                                   [journal.Reasons]uint64 // by journal.Reason
	topicDiscarded                                              [journal.Reasons]uint64 // of topics themselves, the same
	delivery, finish                                            topic.Delays
}

// levels are the gauges.
type levels struct {
	waiting, onDisk, inFlight, deferred, consumers int64
	topicWaiting, topicOnDisk, topicKeys           int64
	keptBytes, keptSince                           int64 // of the second, when it came that was kept first, Unix nanoseconds; 0: none is
	paused, topicPaused, unbalanced                int
	ahead                                          topic.Ahead // of deferred
	buried                                         int64       // of deferred
	aside, blocked                                 int64       // of waiting; keys
	replaying                                      int64       // of waiting
	oldest, topicOldest                            int64       // nanoseconds since 1970; 0 for none
}

// flowsOf returns what a topic itself counts.
func flowsOf(t *topic.Stats) flows {
	return flows{messages: t.MessageCount, bytes: t.MessageBytes, refused: t.Refused, duplicates: t.Duplicates, forgotten: t.DedupForgotten,
		acksLost: t.AcksLost, droppedEarly: t.Kept.Early, topicDiscarded: t.Counts.Discarded}
}

func (f *flows) addChannel(c *topic.ChannelStats) {
	f.accepted += c.MessageCount
	f.delivered += deliveries(c)
	f.finished += c.Counts.Finished
	for i, n := range c.Counts.Discarded {
		f.discarded[i] += n
	}
	f.requeued += c.RequeueCount
	f.timedOut += c.TimeoutCount
	f.returned += c.DisconnectRequeueCount
	addDelays(&f.delivery, &c.Delivered)
	addDelays(&f.finish, &c.Finished)
}

func (f *flows) add(o *flows) {
	f.messages += o.messages
	f.bytes += o.bytes
	f.refused += o.refused
	f.duplicates += o.duplicates
	f.forgotten += o.forgotten
	f.droppedEarly += o.droppedEarly
	f.acksLost += o.acksLost
	f.accepted += o.accepted
	f.delivered += o.delivered
	f.finished += o.finished
	for i, n := range o.discarded {
		f.discarded[i] += n
		f.topicDiscarded[i] += o.topicDiscarded[i]
	}
	f.requeued += o.requeued
	f.timedOut += o.timedOut
	f.returned += o.returned
	addDelays(&f.delivery, &o.delivery)
	addDelays(&f.finish, &o.finish)
}

func addDelays(to, d *topic.Delays) {
	for i := range d.Counts {
		to.Counts[i] += d.Counts[i]
	}
	to.Sum += d.Sum
}

func deliveries(c *topic.ChannelStats) uint64 { return c.ZoneLocal + c.RegionLocal + c.Global }

func (l *levels) addChannel(c *topic.ChannelStats) {
	l.waiting += c.Depth
	l.onDisk += c.BackendDepth
	l.inFlight += int64(c.InFlight)
	l.deferred += int64(c.Deferred)
	l.buried += int64(c.Buried)
	l.aside += int64(c.Aside)
	l.blocked += int64(c.Blocked)
	l.replaying += int64(c.Replaying)
	l.ahead.Minute += c.Ahead.Minute
	l.ahead.Hour += c.Ahead.Hour
	l.ahead.Day += c.Ahead.Day
	l.ahead.Later += c.Ahead.Later
	l.consumers += int64(c.Consumers)
	if c.Paused {
		l.paused++
	}
	if !c.Balanced {
		l.unbalanced++
	}
	if c.OldestAt > 0 && (l.oldest == 0 || c.OldestAt < l.oldest) {
		l.oldest = c.OldestAt
	}
}

// addTopicAge takes in how long messages have waited in the topic itself.
func (l *levels) addTopicAge(t *topic.Stats) {
	if t.OldestAt > 0 && (l.topicOldest == 0 || t.OldestAt < l.topicOldest) {
		l.topicOldest = t.OldestAt
	}
}

func (l *levels) addTopic(t *topic.Stats) {
	l.topicWaiting += t.Depth
	l.topicOnDisk += t.BackendDepth
	l.topicKeys += t.DedupKeys
	l.keptBytes += t.Kept.Bytes
	if at := t.Kept.Since; at > 0 && (l.keptSince == 0 || at < l.keptSince) {
		l.keptSince = at
	}
	l.addTopicAge(t)
	if t.Paused {
		l.topicPaused++
	}
	for i := range t.Channels {
		l.addChannel(&t.Channels[i])
	}
}

// part is one topic, or one of its channels, of the sum: what it counted when it was seen last.
type part struct {
	born uint64 // topic.Stats.Born
	last flows
	seen uint64 // round
}

// sum adds topics up so that no counter falls when one of them, or a channel of it, goes.
type sum struct {
	round uint64
	gone  flows // of what has gone
	parts map[partName]*part
}

type partName struct{ topic, channel string }

// of returns the counters and gauges of the topics that are told in the sum.
func (s *sum) of(topics []*topic.Stats) (flows, levels) {
	s.round++
	var now levels
	if s.parts == nil {
		s.parts = map[partName]*part{}
	}
	for _, t := range topics {
		now.addTopic(t)
		s.see(partName{topic: t.Name}, t.Born, flowsOf(t))
		for i := range t.Channels {
			var f flows
			f.addChannel(&t.Channels[i])
			s.see(partName{t.Name, t.Channels[i].Name}, t.Channels[i].Born, f)
		}
	}
	total := s.gone
	for name, p := range s.parts {
		if p.seen == s.round {
			total.add(&p.last)
			continue
		}
		s.gone.add(&p.last)
		total.add(&p.last)
		delete(s.parts, name)
	}
	return total, now
}

// see notes what a part counts now. One that was born since is another of the same name.
func (s *sum) see(name partName, born uint64, f flows) {
	p := s.parts[name]
	switch {
	case p == nil:
		p = &part{}
		s.parts[name] = p
	case p.born != born:
		s.gone.add(&p.last)
	}
	*p = part{born: born, last: f, seen: s.round}
}

// ageOf returns how long ago a message was published, in seconds, 0 for none.
func ageOf(at int64, now time.Time) float64 {
	if at == 0 {
		return 0
	}
	return max(0, now.Sub(time.Unix(0, at)).Seconds())
}
