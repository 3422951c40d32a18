package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"brokerd/broker/topic"
	"brokerd/protocol"
)

// ErrNotTraced is a message that neither the folder nor its log has.
var ErrNotTraced = errors.New("no such message")

// Trace reads the data folder of a stopped broker, changes nothing, and writes where one message of a topic is, that is named by its id or its
// position, and what the log has still of what happened to it. It fails with ErrNotTraced when neither says anything of it. What is read is
// counted, unless read is nil.
func Trace(dir, topicName, message string, out io.Writer, read *Reading) error {
	return offline(dir, func() error {
		c := newChecker(dir, out, read)
		if err := c.read(); err != nil {
			return err
		}
		t := c.stopped.Registry.Lookup(topicName)
		if t == nil {
			return fmt.Errorf("%w: the folder has no topic %q in its log", ErrNotTraced, topicName)
		}
		return c.trace(t, message)
	})
}

func (c *checker) trace(t *topic.Topic, message string) error {
	ctx := context.Background()
	id, byID := protocol.ParseMessageID([]byte(message))
	pos := topic.Position(0)
	var err error
	if byID {
		pos, err = t.FindMessage(id)
	} else if n, wrong := strconv.ParseUint(message, 10, 64); wrong != nil || n == 0 {
		return fmt.Errorf("a message is named by its id, 16 lower-case hex digits, or by its position, a number from 1 on, not by %q", message)
	} else {
		pos = topic.Position(n)
	}
	var l topic.Located
	if err == nil {
		l, err = t.Locate(ctx, pos, topic.Look{Body: -1, Scan: searchedOffline})
	}
	missing := errors.Is(err, topic.ErrNoMessage) || errors.Is(err, topic.ErrNotDeferred)
	if err != nil && !missing {
		return err
	}
	h, err := t.History(ctx, pos, id)
	switch {
	case err != nil:
		return err
	case missing && h.Pos == 0:
		return fmt.Errorf("%w: neither the topic nor the log has it", ErrNotTraced)
	case missing:
		c.say("position %d: it is not there any more", h.Pos)
	default:
		c.located(&l)
	}
	c.happened(&h)
	return nil
}

// searchedOffline is how many bytes of a dead letter topic are looked through.
const searchedOffline = 1 << 40

func (c *checker) located(l *topic.Located) {
	kept := ""
	if l.Kept {
		kept = ", kept"
	}
	c.say("position %d, id %s, %s, %d bytes%s", l.Pos, l.ID, time.Unix(0, l.Time).UTC().Format(time.RFC3339Nano), l.Size, kept)
	for _, p := range l.Properties {
		c.say("  %s: %q", p.Name, p.Value)
	}
	c.say("body %q", l.Body)
	for i := range l.Channels {
		on := &l.Channels[i]
		name := on.Channel
		if name == "" {
			name = "(the topic itself)"
		}
		text := strings.ReplaceAll(string(on.State), "_", " ")
		if on.Attempts > 0 {
			text += fmt.Sprintf(", delivered %d times", on.Attempts)
		}
		if !on.Due.IsZero() {
			text += ", due " + on.Due.UTC().Format(time.RFC3339)
		}
		if on.State == topic.DeadLetter {
			text += fmt.Sprintf(", in %s, position %d", on.LetterTopic, on.Letter)
		}
		c.say("%s: %s", name, text)
	}
}

func (c *checker) happened(h *topic.History) {
	if !h.Since.IsZero() {
		c.say("history, of a log that goes back to %s:", h.Since.UTC().Format(time.RFC3339))
	}
	for i := range h.Events {
		e := &h.Events[i]
		text := "  "
		if !e.Time.IsZero() {
			text += e.Time.UTC().Format("2006-01-02T15:04:05.000Z  ")
		}
		text += strings.ReplaceAll(e.What, "_", " ")
		if e.Channel != "" {
			text += " on " + e.Channel
		}
		if e.Client != "" {
			text += ", " + e.Client
		}
		if e.Attempt > 0 {
			text += fmt.Sprintf(", attempt %d", e.Attempt)
		}
		if !e.Due.IsZero() {
			text += " until " + e.Due.UTC().Format(time.RFC3339)
		}
		if e.Reason != "" {
			text += ": " + e.Reason
		}
		if e.Topic != "" {
			text += fmt.Sprintf(", %s position %d", e.Topic, e.Position)
		}
		c.say("%s", text)
	}
}
