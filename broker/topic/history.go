package topic

import (
	"context"
	"errors"
	"fmt"
	"time"

	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// ErrNoHistory is that nothing can be told of what has happened to messages: there is no log.
var ErrNoHistory = errors.New("the broker keeps no log of this topic")

// Happened is one thing that happened to a message.
type Happened struct {
	What    string    // published, failed, delivered, requeued, timed_out, disconnected, deferred, set_aside, finished, discarded, dead_lettered, redriven, rewound, channel_deleted or channel_emptied
	Time    time.Time // about, to the second while the log is busy; zero: not known
	Channel string    // empty for what is of the whole topic
	Attempt int       // of delivered: which it was of those that the log has
	Due     time.Time // of deferred, and of published when it was
	Reason  string    // of discarded
	Client  string    // whose doing it was, where the topic had the option trace: of delivered, finished, deferred, and what came back

	// Of dead_lettered and redriven: where it went; of published: where it came from.
	Topic    string
	Position Position
}

// History is what the log has still of what happened to one message.
type History struct {
	Pos    Position // 0: the log has no publish of that id
	ID     protocol.MessageID
	Stamp  int64 // when it came, Unix nanoseconds, and
	Size   int   // of its body; both are known where the log has its publish
	Events []Happened
	Since  time.Time // the log goes back to about then; zero: it has no messages
}

// History reads the log, as far as it is there, for what happened to a message that is named by its position or, where that is 0, by its id. It
// waits for the disk. It fails with ErrNoPositions, ErrNoHistory, the error of the context, or as the log cannot be read.
func (t *Topic) History(ctx context.Context, pos Position, id protocol.MessageID) (out History, err error) {
	if t.d == nil {
		return out, ErrNoPositions
	}
	if t.registry.cfg.Scan == nil || t.led != nil { // of a group's records the log is not looked through yet
		return out, ErrNoHistory
	}
	h := journal.History{Topic: t.d.id, Pos: pos, ID: id}
	last := t.d.shown() // what is published meanwhile may still be withdrawn
	err = t.registry.cfg.Scan(ctx, func(at journal.Offset, kind journal.Kind, data []byte) error {
		h.Apply(at, kind, data)
		return nil
	})
	if err != nil {
		return out, fmt.Errorf("reading the log: %w", err)
	}
	if h.Since > 0 {
		out.Since = time.Unix(0, h.Since)
	}
	if h.Pos == 0 || h.Pos > last {
		return out, nil
	}
	names := h.Names
	if names == nil {
		names = map[uint32]string{}
	}
	for _, c := range t.Channels() {
		names[c.id] = c.name
	}
	topics := map[uint32]string{}
	for _, other := range t.registry.Topics() {
		if other.d != nil && other.led == nil {
			topics[other.d.id] = other.name
		}
	}
	out.Pos, out.ID = h.Pos, h.ID
	for i := range h.Events {
		e := &h.Events[i]
		if e.Kind == journal.Published {
			out.Stamp, out.Size = e.Stamp, e.Size
		}
		out.Events = append(out.Events, happened(e, names, topics))
	}
	return out, nil
}

var eventNames = map[journal.EventKind]string{journal.Published: "published", journal.Failed: "failed", journal.Delivered: "delivered", journal.Postponed: "deferred",
	journal.SetAside: "set_aside", journal.Done: "finished", journal.Left: "discarded", journal.WentTo: "dead_lettered", journal.Rewound: "rewound",
	journal.ChannelGone: "channel_deleted", journal.ChannelEmptied: "channel_emptied"}

var returnNames = map[journal.Return]string{journal.Requeued: "requeued", journal.TimedOut: "timed_out", journal.Disconnected: "disconnected"}

func happened(e *journal.Event, channels, topics map[uint32]string) Happened {
	out := Happened{What: eventNames[e.Kind], Attempt: e.Attempt, Client: e.Consumer}
	if e.Time > 0 {
		out.Time = time.Unix(0, e.Time)
	}
	if e.Due > 0 {
		out.Due = time.Unix(0, e.Due)
	}
	if id := e.Channel; id != 0 && id != journal.Everywhere {
		out.Channel = nameOr(channels, id)
	}
	switch {
	case e.Kind == journal.CameBack:
		out.What = returnNames[e.Return]
	case e.Kind == journal.Left:
		out.Reason = e.Why.String()
	case e.Kind == journal.WentTo:
		if e.Why == journal.Redriven {
			out.What = "redriven"
		}
		out.Topic, out.Position = nameOr(topics, e.ToTopic), e.ToPos
	case e.FromID != 0:
		out.Topic, out.Position = nameOr(topics, e.FromID), e.FromPos
	}
	return out
}

// nameOr returns a name, or what stands for one that was deleted.
func nameOr(names map[uint32]string, id uint32) string {
	if name := names[id]; name != "" {
		return name
	}
	return fmt.Sprintf("(deleted, number %d)", id)
}
