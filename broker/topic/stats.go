package topic

import (
	"brokerd/broker/channel"
	"brokerd/diskqueue/journal"
)

// What is counted of channels.
type (
	Ahead      = channel.Ahead
	BlockedKey = channel.BlockedKey
	Delays     = channel.Delays
)

// DelayBounds are the upper bounds of all classes of [Delays] but the last, which has none.
var DelayBounds = channel.DelayBounds

// Stats is a topic's counters at one moment.
type Stats struct {
	Name         string
	Born         uint64 // tells topics of the same name apart
	Paused       bool
	Depth        int64 // messages that wait in the topic itself or are deferred there, on disk or not
	BackendDepth int64 // those on disk
	MessageCount uint64
	MessageBytes uint64
	Refused      uint64 // messages that were refused because of a bound, since the start
	Duplicates   uint64 // messages that were not stored, as their deduplication keys had been accepted before, since the start
	DedupKeys    int64  // deduplication keys that are remembered
	// DedupForgotten is keys that were forgotten before their time, as there were too many, and AcksLost messages that were answered at once
	// and that the disk then refused, both since the start.
	DedupForgotten, AcksLost uint64

	Counts journal.Counts // of what waits, or has waited, in the topic itself and has come to no channel; as Counts of a channel

	Kept     Kept           // messages that are kept, finished or not
	OldestAt int64          // of those that wait, when the message was published that waits for longest, nanoseconds since 1970; 0: none, or not known
	Ahead    Ahead          // of those that are deferred in the topic itself
	Channels []ChannelStats // sorted by name
}

// ChannelStats is a channel's counters at one moment.
type ChannelStats struct {
	Name         string
	Born         uint64 // tells channels of the same name apart
	Paused       bool
	Depth        int64 // messages that wait, on disk or not; neither in flight nor deferred
	BackendDepth int64 // those on disk
	InFlight     int
	Deferred     int
	Aside        int          // of Depth: they wait for the turn of their key
	Buried       int          // of those: they wait for a dead letter topic
	Ahead        Ahead        // of those
	Refusal      string       // why their topic does not take those that wait for it; empty: it does, or none wait
	Blocked      int          // keys of which one message has been out for over ten seconds while others wait for their turn
	BlockedKeys  []BlockedKey // those that have stood for longest, ten at most
	DeadLetter   string       // the topic that the channel's dead letters go to; empty: it has no limit of deliveries, or discards
	Redrive      *Redrive     // of dead letters that go back to the channel, the last one; nil: none ever did
	Consumers    int

	MessageCount           uint64 // that came from the topic
	RequeueCount           uint64 // by REQ
	TimeoutCount           uint64
	DisconnectRequeueCount uint64 // that came back as their consumer left

	ZoneLocal, RegionLocal, Global uint64 // deliveries by the consumer's locality

	OldestAt int64 // when the message was published that waits for longest, nanoseconds since 1970; 0: none, or not known

	Delivered, Finished Delays // from publish to the first delivery, and to FIN

	// Counts is since the channel was made, at level memory since the start. Its sum is Balanced unless something is wrong.
	Counts    journal.Counts
	Replaying int // messages that wait and came by a rewind, or were there when it was
	Held      int // messages that wait, are in flight or deferred, all at the same moment as Counts
	Balanced  bool
}

// Stats returns the topic's and its channels' counters. It never waits for a disk.
func (t *Topic) Stats() Stats {
	own := t.own.Stats()
	s := Stats{Name: t.name, Born: t.own.born, Paused: t.Paused(), Depth: own.Depth + int64(own.Deferred), BackendDepth: own.BackendDepth,
		OldestAt: own.OldestAt, Ahead: own.Ahead, MessageCount: t.messages.Load(), MessageBytes: t.bytes.Load(), Refused: t.refused.Load(),
		Duplicates: t.duplicates.Load(), DedupKeys: t.remembered.Load(), DedupForgotten: t.forgotten.Load(), AcksLost: t.unkept.Load(), Kept: t.Kept(),
		Counts: own.Counts}
	for _, c := range t.Channels() {
		s.Channels = append(s.Channels, c.Stats())
	}
	return s
}

// Stats returns the channel's counters. It never waits for a disk.
func (c *Channel) Stats() ChannelStats {
	s := c.stats()
	if !s.Balanced && !c.lostSum.Swap(true) {
		c.topic.registry.log.Error("what became of a channel's messages does not add up", "topic", c.topic.name, "channel", c.name,
			"accepted", s.Counts.Accepted, "left", s.Counts.Gone(), "there", s.Held)
	}
	return s
}

func (c *Channel) stats() ChannelStats {
	backend := c.diskDepth()
	c.enterNow()
	defer c.exit()
	n := c.machine.Stats()
	s := ChannelStats{
		Name: c.name, Born: c.born, Paused: c.Paused(),
		Depth: backend + int64(n.Waiting), BackendDepth: backend,
		InFlight: n.InFlight, Deferred: n.Deferred, Buried: n.Buried, Ahead: n.Ahead, Consumers: len(c.machine.Consumers()),
		MessageCount: n.Came, RequeueCount: n.Requeued, TimeoutCount: n.TimedOut, DisconnectRequeueCount: n.Disconnected,
		Counts: n.Counts, Held: n.Held, Balanced: n.Counts.Gone()+uint64(n.Held) == n.Counts.Accepted, Replaying: n.Replaying,
		ZoneLocal: n.ZoneLocal, RegionLocal: n.RegionLocal, Global: n.Elsewhere, OldestAt: n.OldestAt,
		Aside: n.Aside, BlockedKeys: n.BlockedKeys, Blocked: n.Blocked, Refusal: n.Refusal, Delivered: n.Delivered, Finished: n.Finished,
	}
	if p := c.machine.Policy(); buries(p) && !c.machine.At.Final {
		s.DeadLetter = p.DeadLetter
	}
	if c.redrive != nil {
		r := c.redrive.Redrive
		s.Redrive = &r
	}
	return s
}

// inFlight returns how many messages are out with consumers.
func (c *Channel) inFlight() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.machine.InFlight()
}
