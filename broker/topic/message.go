package topic

import (
	"context"
	"errors"
	"slices"
	"time"

	"brokerd/broker/channel"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
)

// Where one message is: what is left of it, and what every channel has of it.

// State is what a channel has of a message.
type State = channel.State

// The states of what a channel has, or is done with.
const (
	Waiting  = channel.Waiting
	InFlight = channel.InFlight
	Deferred = channel.Deferred
	Dying    = channel.Dying
	Finished = channel.Finished
)

// States of what a channel is done with, or never had.
const (
	DeadLetter State = "dead_letter" // it is in a dead letter topic
	NotForIt   State = "not_for_it"  // it was for another channel only
	Unknown    State = "unknown"     // the channel came later, and nobody knows whether it ever had it
)

// OnChannel is what a channel has of one message.
type OnChannel struct {
	Channel string // empty for the topic's own backlog
	channel.Found

	// Of a dead letter: where it is.
	LetterTopic string
	Letter      Position
	LetterID    protocol.MessageID
}

// held reports whether the channel has the message still.
func (o *OnChannel) held() bool {
	return o.State == Waiting || o.State == InFlight || o.State == Deferred || o.State == Dying
}

// Located is one message, and where it is.
type Located struct {
	Message
	Kept     bool        // the topic keeps it, whoever has finished it
	OnDisk   bool        // its body is in segments only
	Channels []OnChannel // all of the topic, sorted by name; the topic's own backlog first, if it has it
	Unsure   bool        // not all of a dead letter topic was looked through
}

// ErrNoMessage is that a message is not there: it never was, or everybody is done with it and the topic does not keep it.
var ErrNoMessage = errors.New("no such message is there")

// Locate returns a message by its position, and where it is. o says how much of the body is wanted, and how much of dead letter topics is
// looked through. Nothing changes. It fails with ErrNoMessage, ErrNoPositions, the error of the context, or as the disk cannot be read.
func (t *Topic) Locate(ctx context.Context, pos Position, o Look) (l Located, err error) {
	if t.d == nil {
		return l, ErrNoPositions
	}
	seen, err := t.Browse(ctx, Look{From: pos, Limit: 1, Body: o.Body})
	if err != nil {
		return l, err
	}
	if len(seen.Messages) == 0 || seen.Messages[0].Pos != pos {
		return l, ErrNoMessage
	}
	l.Message = seen.Messages[0]
	floor := t.d.retain.from()
	l.Kept = floor > 0 && pos >= floor
	if s := t.d.table.holder(pos); s == nil || !s.node.InMemory() {
		l.OnDisk = true
	}
	only, limited := t.audience(&l.Message)
	unclear := !limited && t.isUnshared(pos)
	for _, c := range t.all() {
		on := c.on(pos)
		switch {
		case on.held():
		case c == t.own:
			continue
		case limited && c.name != only:
			on.State = NotForIt
		case unclear, pos < c.beginning():
			on.State = Unknown
		default:
			unsure, err := c.findLetter(ctx, &l.Message, o, &on)
			if err != nil {
				return l, err
			}
			l.Unsure = l.Unsure || unsure
		}
		l.Channels = append(l.Channels, on)
	}
	return l, nil
}

// audience returns for which channel alone a message is; limited is false when it is for all. What was sent back from a dead letter topic says
// so itself.
func (t *Topic) audience(m *Message) (only string, limited bool) {
	if t.IsDeadLetterTopic() {
		return "", false
	}
	topic := ""
	for _, p := range m.Properties {
		switch p.Name {
		case letterTopic:
			topic = p.Value
		case letterChannel:
			only = p.Value
		}
	}
	return only, topic == t.name && only != ""
}

// isUnshared reports whether a message that is kept is not for all channels.
func (t *Topic) isUnshared(pos Position) bool {
	t.pub.Lock()
	defer t.pub.Unlock()
	return journal.Holds(t.d.retain.unshared, pos)
}

// beginning returns from which position on it is certain that the channel had what was for all channels.
func (c *Channel) beginning() Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.began
}

// locate looks for a message on the channel.
func (c *Channel) locate(pos Position) channel.Located {
	c.enterNow()
	defer c.exit()
	return c.machine.Locate(pos)
}

// on returns what the channel has of a message.
func (c *Channel) on(pos Position) OnChannel {
	l := c.locate(pos)
	return OnChannel{Channel: c.name, Found: l.Found()} // outside the lock, as there may be many
}

// findLetter looks whether a message that the channel is done with is a dead letter of it, and says so; unsure is that not all was looked
// through.
func (c *Channel) findLetter(ctx context.Context, m *Message, o Look, on *OnChannel) (unsure bool, err error) {
	name := c.lettersGoTo()
	from := c.topic.registry.Lookup(name)
	if from == nil || from == c.topic || from.d == nil || !from.IsDeadLetterTopic() {
		return false, nil
	}
	start, _, err := from.findPlace(Place{kind: atTime, at: m.Time}, 1)
	if err != nil {
		return false, err
	}
	id := m.ID.String()
	for _, p := range m.Properties {
		if p.Name == letterID { // it was one before
			id = p.Value
		}
	}
	look := Look{From: start, Limit: lettersAtOnce, Scan: o.Scan, Until: o.Until}
	for {
		seen, err := from.Browse(ctx, look)
		if err != nil {
			return false, err
		}
		for i := range seen.Messages {
			if l := &seen.Messages[i]; c.isLetterOf(l.Properties, id) {
				on.State, on.LetterTopic, on.Letter, on.LetterID = DeadLetter, name, l.Pos, l.ID
				return false, nil
			}
		}
		switch {
		case seen.End:
			return false, nil
		case len(seen.Messages) < look.Limit:
			return true, nil // it has looked through enough
		case !o.Until.IsZero() && time.Now().After(o.Until):
			return true, nil
		}
		look.From = seen.Next
	}
}

// lettersAtOnce is how many dead letters are looked at together.
const lettersAtOnce = 1000

// isLetterOf reports whether a dead letter with these properties was the channel's message that had that id at first.
func (c *Channel) isLetterOf(list []journal.Property, id string) bool {
	has := func(name, value string) bool {
		return slices.Contains(list, journal.Property{Name: name, Value: value})
	}
	return has(letterChannel, c.name) && has(letterTopic, c.topic.name) && has(letterID, id)
}
