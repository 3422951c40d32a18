package metrics

import (
	"slices"
	"sync"
	"time"

	"brokerd/broker/topic"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/wal"
	"brokerd/protocol/exposition"
	"brokerd/protocol/release"
)

// Config is what a broker's metrics are made of.
type Config struct {
	Snapshot  func() Snapshot // called at each scrape
	MaxTopics int             // topics with series of their own; the others are one sum
}

// New returns the broker's metrics.
func New(cfg Config) *exposition.Set {
	e := &exporter{cfg: cfg, f: newFamilies(), own: map[string]bool{}}
	return exposition.NewSet(e.f.all(), e.fill)
}

// exporter turns snapshots into values.
type exporter struct {
	cfg Config
	f   families

	mu   sync.Mutex      // held over a scrape: guards what follows
	own  map[string]bool // topics that have series of their own, until they go
	rest sum
}

func (e *exporter) fill(s *exposition.Scrape) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.cfg.Snapshot()
	own, others := e.split(now.Topics)
	e.node(s, &now, len(others))
	if now.Log != nil {
		e.log(s, now.Log)
	}
	if now.Cluster != nil {
		e.cluster(s, now.Cluster)
	}
	at := time.Now()
	for _, t := range own {
		e.topic(s, t, at)
	}
	if len(others) > 0 || e.rest.round > 0 {
		e.others(s, others, at)
	}
}

// split chooses which topics are told one by one: those that were, and others while there is room. A topic that is in the sum stays
// there, so that nothing is counted twice.
func (e *exporter) split(topics []topic.Stats) (own, others []*topic.Stats) {
	there := make(map[string]bool, len(e.own))
	for i := range topics {
		if name := topics[i].Name; e.own[name] {
			there[name] = true
		}
	}
	for i := range topics {
		t := &topics[i]
		_, summed := e.rest.parts[partName{topic: t.Name}]
		if !there[t.Name] && !summed && len(there) < e.cfg.MaxTopics {
			there[t.Name] = true
		}
		if there[t.Name] {
			own = append(own, t)
		} else {
			others = append(others, t)
		}
	}
	e.own = there
	return own, others
}

func (e *exporter) node(s *exposition.Scrape, n *Snapshot, inSum int) {
	f := &e.f.node
	b := release.This()
	s.Value(f.info, 1, n.Version, b.Version, b.Commit, b.Go)
	s.Value(f.start, seconds(n.Began))
	s.Bool(f.healthy, n.Healthy)
	s.Bool(f.ready, n.Ready)
	s.Bool(f.draining, n.Draining)
	channels := 0
	for i := range n.Topics {
		channels += len(n.Topics[i].Channels)
	}
	s.Value(f.topics, float64(len(n.Topics)))
	s.Value(f.channels, float64(channels))
	s.Value(f.topicsInSum, float64(inSum))
	s.Value(f.connections, float64(n.Connections))
	s.Value(f.accepted, float64(n.Accepted))
	s.Value(f.turnedAway, float64(n.TurnedAway.Clients), "tcp")
	s.Value(f.turnedAway, float64(n.TurnedAway.HTTP), "http")
	for code, count := range n.Refused {
		s.Value(f.refused, float64(count), code)
	}
	for _, l := range n.Lookups {
		s.Bool(f.lookup, l.Connected, l.Address)
	}
	s.Value(f.aside, float64(n.SetAside))
	s.Value(f.diskOut, n.Disk.Publishes.Seconds(), "publishes")
	s.Value(f.diskOut, n.Disk.Others.Seconds(), "others")
	if n.Disk.Total > 0 {
		s.Value(f.diskTotal, float64(n.Disk.Total))
		s.Value(f.diskFree, float64(n.Disk.Free))
		s.Value(f.diskMinFree, float64(n.Disk.MinFree))
	}
	if !n.Certificate.IsZero() {
		s.Value(f.certificate, seconds(n.Certificate))
		s.Value(f.certificateFrom, seconds(n.CertificateFrom))
	}
	s.Value(f.reloads, float64(n.Reloads.Good), "success")
	s.Value(f.reloads, float64(n.Reloads.Bad), "failure")
	s.Bool(f.reloadGood, n.Reloads.LastGood)
	s.Value(f.spansSent, float64(n.Traces.Sent))
	s.Value(f.spansDropped, float64(n.Traces.Dropped))
	s.Value(f.browses, float64(n.Browsed.Requests))
	s.Value(f.browsed, float64(n.Browsed.Bytes))
}

// bounded returns how many there are of times in all, and up to each bound.
func bounded(times *wal.SyncTimes) (all uint64, upTo map[float64]uint64) {
	upTo = make(map[float64]uint64, len(wal.SyncBounds))
	for i, bound := range wal.SyncBounds {
		all += times[i]
		upTo[bound.Seconds()] = all
	}
	return all + times[len(wal.SyncBounds)], upTo
}

func (e *exporter) log(s *exposition.Scrape, l *Log) {
	f := &e.f.log
	s.Value(f.records, float64(l.Records))
	s.Value(f.lost, float64(l.Lost))
	s.Value(f.bytes, float64(l.Bytes))
	s.Value(f.writes, float64(l.Writes))
	s.Value(f.syncs, float64(l.Syncs))
	syncs, upTo := bounded(&l.SyncTimes)
	s.Histogram(f.syncTime, syncs, l.SyncTime.Seconds(), upTo)
	s.Value(f.fileBytes, float64(l.FileBytes))
	s.Value(f.unsynced, float64(l.Unsynced))
	s.Value(f.checkpoints, float64(l.Checkpoints), "success")
	s.Value(f.checkpoints, float64(l.CheckpointsFailed), "failure")
	if !l.CheckpointAt.IsZero() {
		s.Value(f.checkpointAt, seconds(l.CheckpointAt))
	}
	s.Value(f.checkpointTime, l.CheckpointTime.Seconds())
	s.Value(f.compactions, float64(l.Compactions), "success")
	s.Value(f.compactions, float64(l.CompactionsFailed), "failure")
	s.Value(f.compacted, float64(l.Compacted))
	s.Value(f.compactionTime, l.CompactionTime.Seconds())
	s.Value(f.recoveryTime, l.RecoveryTime.Seconds())
	s.Value(f.recovered, float64(l.RecoveredRecords))
	s.Value(f.damaged, float64(l.DamagedPlaces))
	s.Value(f.blocks, float64(l.SegmentNodes))
}

// topic tells a topic and each of its channels.
func (e *exporter) topic(s *exposition.Scrape, t *topic.Stats, at time.Time) {
	var own levels
	own.topicWaiting, own.topicOnDisk, own.topicKeys = t.Depth, t.BackendDepth, t.DedupKeys
	own.keptBytes, own.keptSince = t.Kept.Bytes, t.Kept.Since
	own.addTopicAge(t)
	if t.Paused {
		own.topicPaused = 1
	}
	counts := flowsOf(t)
	e.topicValues(s, &counts, &own, t.OldestAt > 0 || t.Depth == 0, at, t.Name)
	for i := range t.Channels {
		c := &t.Channels[i]
		var f flows
		f.addChannel(c)
		var l levels
		l.addChannel(c)
		known := c.OldestAt > 0 || c.Depth == 0
		e.channelValues(s, &f, &l, known, at, t.Name, c.Name)
	}
}

// others tells the topics of the sum.
func (e *exporter) others(s *exposition.Scrape, topics []*topic.Stats, at time.Time) {
	f, l := e.rest.of(topics)
	e.topicValues(s, &f, &l, true, at, "")
	e.channelValues(s, &f, &l, true, at, "", "")
}

func (e *exporter) topicValues(s *exposition.Scrape, f *flows, l *levels, known bool, at time.Time, labels ...string) {
	m := &e.f.topic
	s.Value(m.messages, float64(f.messages), labels...)
	s.Value(m.bytes, float64(f.bytes), labels...)
	s.Value(m.refused, float64(f.refused), labels...)
	s.Value(m.duplicates, float64(f.duplicates), labels...)
	s.Value(m.keys, float64(l.topicKeys), labels...)
	s.Value(m.forgotten, float64(f.forgotten), labels...)
	s.Value(m.acksLost, float64(f.acksLost), labels...)
	s.Value(m.kept, float64(l.keptBytes), labels...)
	s.Value(m.keptAge, ageOf(l.keptSince, at), labels...)
	s.Value(m.droppedEarly, float64(f.droppedEarly), labels...)
	byReason(s, m.discarded, &f.topicDiscarded, labels)
	s.Value(m.waiting, float64(l.topicWaiting), labels...)
	s.Value(m.onDisk, float64(l.topicOnDisk), labels...)
	if known {
		s.Value(m.oldest, ageOf(l.topicOldest, at), labels...)
	}
	s.Value(m.paused, float64(l.topicPaused), labels...)
}

// byReason tells messages that were discarded, for each reason for which some were.
func byReason(s *exposition.Scrape, to *exposition.Family, counts *[journal.Reasons]uint64, labels []string) {
	for reason, n := range counts {
		if n > 0 {
			s.Value(to, float64(n), append(slices.Clone(labels), journal.Reason(reason).String())...)
		}
	}
}

// channelValues tells one channel, or the sum of many. known says whether it is known how long a message has waited.
func (e *exporter) channelValues(s *exposition.Scrape, f *flows, l *levels, known bool, at time.Time, labels ...string) {
	m := &e.f.channel
	s.Value(m.accepted, float64(f.accepted), labels...)
	s.Value(m.delivered, float64(f.delivered), labels...)
	s.Value(m.finished, float64(f.finished), labels...)
	byReason(s, m.discarded, &f.discarded, labels)
	s.Value(m.unbalanced, float64(l.unbalanced), labels...)
	s.Value(m.requeued, float64(f.requeued), labels...)
	s.Value(m.timedOut, float64(f.timedOut), labels...)
	s.Value(m.returned, float64(f.returned), labels...)
	s.Value(m.waiting, float64(l.waiting), labels...)
	s.Value(m.onDisk, float64(l.onDisk), labels...)
	s.Value(m.inFlight, float64(l.inFlight), labels...)
	s.Value(m.deferred, float64(l.deferred), labels...)
	if l.ahead != (topic.Ahead{}) {
		for due, n := range map[string]int{"minute": l.ahead.Minute, "hour": l.ahead.Hour, "day": l.ahead.Day, "later": l.ahead.Later} {
			s.Value(m.byDue, float64(n), append(slices.Clone(labels), due)...)
		}
	}
	s.Value(m.buried, float64(l.buried), labels...)
	s.Value(m.aside, float64(l.aside), labels...)
	s.Value(m.blocked, float64(l.blocked), labels...)
	if l.replaying > 0 {
		s.Value(m.replaying, float64(l.replaying), labels...)
	}
	s.Value(m.consumers, float64(l.consumers), labels...)
	s.Value(m.paused, float64(l.paused), labels...)
	if known {
		s.Value(m.oldest, ageOf(l.oldest, at), labels...)
	}
	delaysOf(s, m.delivery, &f.delivery, labels)
	delaysOf(s, m.finish, &f.finish, labels)
}

// delaysOf tells a histogram, which is absent until it has something in it: most channels of a large broker are idle.
func delaysOf(s *exposition.Scrape, f *exposition.Family, d *topic.Delays, labels []string) {
	if d.Count() == 0 {
		return
	}
	upTo := make(map[float64]uint64, len(topic.DelayBounds))
	seen := uint64(0)
	for i, bound := range topic.DelayBounds {
		seen += d.Counts[i]
		upTo[bound.Seconds()] = seen
	}
	s.Histogram(f, d.Count(), d.Sum.Seconds(), upTo, labels...)
}

// seconds returns a time in seconds since 1970.
func seconds(t time.Time) float64 { return float64(t.UnixNano()) / float64(time.Second) }

// Bounds returns the bounds of the histograms, for their documentation.
func Bounds() []string {
	texts := make([]string, len(topic.DelayBounds))
	for i, b := range topic.DelayBounds {
		texts[i] = b.String()
	}
	return texts
}
