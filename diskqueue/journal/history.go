package journal

import (
	"encoding/binary"
	"encoding/json"
	"math"

	"brokerd/protocol"
)

// EventKind is what has happened to a message.
type EventKind uint8

// The kinds of events.
const (
	Published      EventKind = iota + 1
	Failed                   // its publish has failed: nobody was shown it
	Delivered                // to a consumer
	Postponed                // it comes again when it is due
	SetAside                 // it waits for the turn of its key
	Done                     // finished by a consumer
	Left                     // it has left otherwise, for a reason
	WentTo                   // it has left, for a reason, and is in another topic
	Rewound                  // it waits once more
	ChannelGone              // the channel was deleted
	CameBack                 // from a consumer that did not finish it; of topics that are traced
	ChannelEmptied           // everything that the channel had was discarded, and the log does not say whether the message was there still
)

// Event is one thing that happened to a message, by a record of the log.
type Event struct {
	At       Offset
	Kind     EventKind
	Time     int64    // about when, Unix nanoseconds: by the last Time record, or the newest message of any topic, before it; 0: not known
	Channel  uint32   // 0 for what is of the topic, or of its own backlog
	Attempt  int      // of Delivered: which it was of those that the log has
	Due      int64    // of Postponed, and of Published when it was deferred, Unix nanoseconds
	Why      Reason   // of Left and WentTo
	Return   Return   // of CameBack
	Consumer string   // whose doing it was, of topics that are traced; empty: nobody's, or not known
	ToTopic  uint32   // of WentTo, and
	ToPos    Position // where it is there
	FromPos  Position // of Published, of what came from another topic: where it was there, and
	FromID   uint32   // in which topic; 0: it did not
	Only     uint32   // of Published: the channel that gets it, or All or Own
	Size     int      // of Published: bytes of the body
	Stamp    int64    // of Published: when it came
	ID       protocol.MessageID
	Position Position
}

// History follows one message through records of the log. It needs either the position or the id; the other comes with its publish.
type History struct {
	Topic  uint32
	Pos    Position // 0: it is looked for by its id
	ID     protocol.MessageID
	Events []Event
	Since  int64             // the first time that the log says, Unix nanoseconds; 0: it says none
	Names  map[uint32]string // of channels of the topic that the log has made

	now       int64
	ticked    int // events that were there at the last Time record
	attempts  map[uint32]int
	publish   *Publish          // the head of its publish, nil while the log has not said it
	has       map[uint32]bool   // channels of which the log says whether the message is there, but for what the publish says
	by        map[uint32]uint64 // whose doing the next record of a channel is
	consumers map[uint64]string
}

// Apply takes in one record. What makes no sense is passed over.
func (h *History) Apply(at Offset, kind Kind, b []byte) {
	switch kind {
	case KindPublish:
		h.published(at, b, nil)
	case KindMoved:
		h.moved(at, b)
	case KindVoid:
		if len(b) >= 4 && h.about(b) && h.among(b[4:]) {
			h.add(at, Event{Kind: Failed})
			h.publish, h.has = &Publish{Only: nobody}, nil
		}
	case KindChange:
		h.change(at, b)
	case KindTime:
		if now, err := ParseTime(b); err == nil {
			h.tick(now)
		}
	case KindBy, KindConsumer, KindBack:
		if len(b) >= 8 && h.about(b) {
			h.traced(at, kind, binary.BigEndian.Uint32(b[4:]), b[8:])
		}
	case KindDelivered, KindFinished, KindDeferred, KindDiscarded, KindAside:
		if len(b) < 8 || !h.about(b) {
			return
		}
		channel := binary.BigEndian.Uint32(b[4:])
		if by := h.whose(channel); h.Pos > 0 {
			h.channel(at, kind, channel, by, b[8:])
		}
	}
}

func (h *History) about(b []byte) bool { return binary.BigEndian.Uint32(b) == h.Topic }

// among reports whether the message is in runs.
func (h *History) among(runs []byte) (found bool) {
	if h.Pos == 0 {
		return false
	}
	_ = eachRun(runs, 1<<40, func(r Range) { found = found || r.First <= h.Pos && h.Pos <= r.Last }) // as far as it makes sense
	return found
}

func (h *History) add(at Offset, e Event) {
	switch e.Kind {
	case Delivered, Postponed, SetAside, Rewound, CameBack:
		h.note(e.Channel, true)
	case Done, Left, WentTo, ChannelGone:
		h.note(e.Channel, false)
	}
	e.At, e.ID, e.Position = at, h.ID, h.Pos
	if e.Time == 0 {
		e.Time = h.now
	}
	h.Events = append(h.Events, e)
}

// published looks for the message in a publish; from is the record that it is a part of, nil for none.
func (h *History) published(at Offset, b []byte, from *Moved) {
	if len(b) < publishSize {
		return
	}
	topic, first, count := binary.BigEndian.Uint32(b), Position(binary.BigEndian.Uint64(b[10:])), Position(binary.BigEndian.Uint32(b[18:]))
	mine := topic == h.Topic && (h.Pos == 0 || first <= h.Pos && h.Pos < first+count)
	p, frames, err := ParsePublish(b)
	if err != nil {
		return
	}
	if stamp := protocol.FirstMessage(frames).Timestamp(); stamp > 0 {
		h.now = max(h.now, stamp)
		if h.Since == 0 {
			h.Since = stamp
		}
	}
	if !mine {
		return
	}
	pos := p.First
	eachFrame(frames, func(m protocol.MessageFrame) {
		if h.Pos == pos || h.Pos == 0 && m.MustID() == h.ID {
			h.Pos, h.ID = pos, m.MustID()
			h.Events, h.ticked, h.attempts = nil, 0, nil // what came before was not of it
			h.publish, h.has = &p, map[uint32]bool{}
			e := Event{Kind: Published, Due: p.Due, Only: p.Only, Size: len(m) - protocol.MessageOverhead, Stamp: m.Timestamp(), Time: m.Timestamp()}
			if from != nil {
				e.FromID, e.FromPos = from.Topic, nth(from.Runs, int(pos-p.First))
			}
			h.add(at, e)
		}
		pos++
	})
}

// nth returns the position with that index in runs, 0 when there are not so many.
func nth(runs []byte, i int) (pos Position) {
	_ = eachRun(runs, maxRuns, func(r Range) {
		if i >= 0 && i < r.Len() {
			pos = r.First + Position(i)
		}
		i -= r.Len()
	})
	return pos
}

func (h *History) moved(at Offset, b []byte) {
	m, p, _, err := ParseMoved(b)
	if err != nil {
		return
	}
	if m.Topic == h.Topic && h.among(m.Runs) {
		e := Event{Kind: WentTo, Channel: m.Channel, Why: m.Why, ToTopic: p.Topic}
		for i := range p.Count {
			if nth(m.Runs, i) == h.Pos {
				e.ToPos = p.First + Position(i)
			}
		}
		h.add(at, e)
	}
	h.published(at, b[movedSize+len(m.Runs):], &m)
}

func (h *History) change(at Offset, b []byte) {
	var c Change
	if json.Unmarshal(b, &c) != nil || c.Topic != h.Topic {
		return
	}
	if c.Op == OpCreateChannel {
		if h.Names == nil {
			h.Names = map[uint32]string{}
		}
		h.Names[c.Channel] = c.Name
	}
	if h.Pos == 0 {
		return
	}
	switch c.Op {
	case OpCreateChannel:
		if h.note(c.Channel, false); h.among(c.Runs) {
			h.add(at, Event{Kind: Rewound, Channel: c.Channel})
		}
	case OpInherit:
		h.inherit()
	case OpRewind:
		if h.among(c.Runs) {
			h.add(at, Event{Kind: Rewound, Channel: c.Channel})
			delete(h.attempts, c.Channel)
		}
	case OpEmpty:
		if here, sure := h.holds(c.Channel); here {
			h.add(at, Event{Kind: Left, Channel: c.Channel, Why: Emptied})
		} else if !sure {
			h.add(at, Event{Kind: ChannelEmptied, Channel: c.Channel})
		}
	case OpDeleteChannel:
		if here, sure := h.holds(c.Channel); here || !sure {
			h.add(at, Event{Kind: ChannelGone, Channel: c.Channel})
		}
	}
}

// nobody is the channel of a publish that has failed.
const nobody = math.MaxUint32 - 1

// note notes whether the message is in a channel now.
func (h *History) note(channel uint32, here bool) {
	if h.has == nil {
		h.has = map[uint32]bool{}
	}
	h.has[channel] = here
}

// holds reports whether the message is in a channel, 0 for the topic's own backlog, and whether the log says so.
func (h *History) holds(channel uint32) (here, sure bool) {
	if here, sure = h.has[channel]; sure || h.publish == nil {
		return here, sure || channel == 0 // an own backlog is rare, and what it has is moved soon
	}
	switch h.publish.Only {
	case All:
		return channel != 0, true
	case Own:
		return channel == 0, true
	}
	return channel == h.publish.Only, true
}

// inherit notes that the topic's own backlog moves to all channels.
func (h *History) inherit() {
	switch here, sure := h.holds(0); {
	case here && sure && h.publish != nil:
		h.publish.Only, h.has = All, nil
	case !sure:
		h.has = nil
	}
}

// channel takes in what has become of messages of a channel; by is whose doing it was.
func (h *History) channel(at Offset, kind Kind, channel uint32, by string, b []byte) {
	e := Event{Channel: channel, Consumer: by}
	switch kind {
	case KindDelivered:
		if len(b) < 8 || !h.among(b[8:]) {
			return
		}
		if h.attempts == nil {
			h.attempts = map[uint32]int{}
		}
		h.attempts[channel]++
		e.Kind, e.Attempt = Delivered, h.attempts[channel]
	case KindDeferred:
		_ = eachDeferral(b, func(pos Position, due int64) {
			if pos == h.Pos {
				e.Kind, e.Due = Postponed, due
			}
		})
		if e.Kind == 0 {
			return
		}
	case KindDiscarded:
		if len(b) < 1 || !h.among(b[1:]) {
			return
		}
		e.Kind, e.Why = Left, Reason(b[0])
	default:
		if !h.among(b) {
			return
		}
		if e.Kind = Done; kind == KindAside {
			e.Kind = SetAside
		}
	}
	h.add(at, e)
}
