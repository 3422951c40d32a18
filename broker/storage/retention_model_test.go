package storage

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"time"

	"brokerd/broker/topic"
)

var crashKeepAll = flag.Bool("crash-keep-all", false, "topics of TestCrash keep all messages from the start on")

// retention changes what a topic keeps of what is finished, and looks for what need not be kept any more.
func (n *node) retention() {
	t := n.randomTopic()
	value := []string{`{"retain_bytes":4000}`, `{"retain_bytes":"1GiB"}`, `{"retain_time":"20s"}`, `{"retain_time":"1h"}`,
		`{"retain_time":"20s","retain_bytes":3000}`, `{"retain_time":"0s","retain_bytes":0}`}[n.rng.IntN(6)]
	if *crashKeepAll {
		value = `{"retain_time":"24h"}`
	}
	var changes map[string]json.RawMessage
	if err := json.Unmarshal([]byte(value), &changes); err != nil {
		panic(err)
	}
	err := t.SetOptions(changes)
	n.note("%s keeps %s, from %d on: %v", t.Name(), value, t.Kept().From, err)
	if err != nil && !n.faults && !n.crash.done() {
		n.fail("keeping messages of %s: %v", t.Name(), err)
	}
	if n.rng.IntN(3) == 0 {
		n.r.Retain()
		n.note("%s is looked at, and keeps %+v", t.Name(), t.Kept())
	}
}

// checkKept fails when a topic does not show all that it keeps: every message that was answered, at or above its floor, finished or not.
func (n *node) checkKept() {
	if n.accept {
		return
	}
	for _, t := range n.r.Topics() {
		from := max(t.Kept().From, n.early[t.Name()])
		if t.Kept().From == 0 || isDeadLetters(t.Name()) {
			continue
		}
		seen := map[string]bool{}
		for next := topic.Position(1); ; {
			l, err := t.Browse(context.Background(), topic.Look{From: next, Limit: 1000, Body: -1})
			if err != nil {
				if n.faults || n.crash.done() {
					return
				}
				n.fail("looking at what %s keeps: %v", t.Name(), err)
			}
			for i := range l.Messages {
				seen[string(l.Messages[i].Body)] = true
			}
			if next = l.Next; l.End {
				break
			}
		}
		for _, m := range n.messages {
			if m.topic == t.Name() && m.sure && m.pos >= from && !m.over() && !seen[m.body] {
				n.fail("%s keeps messages from %d on, and %.12q, at %d, is not there", t.Name(), from, m.body, m.pos)
			}
		}
	}
}

// droppedEarly notes what went before its time, as the disk was full: the log may not say so.
func (n *node) droppedEarly() {
	for _, t := range n.r.Topics() {
		if k := t.Kept(); k.Early > 0 {
			n.early[t.Name()] = max(n.early[t.Name()], k.From)
		}
	}
}

// forgetPositions says that the positions of a topic's messages mean nothing any more: it was deleted.
func (n *node) forgetPositions(name string) {
	delete(n.early, name)
	for _, m := range n.messages {
		if m.topic == name {
			m.pos = 0
		}
	}
}

// positions notes where messages are that were just published.
func (n *node) positions(r topic.Receipt, list []*message, err error) {
	if err != nil {
		return
	}
	if r.Count != len(list) {
		n.fail("a publish of %d messages is said to be of %d", len(list), r.Count)
	}
	for i, m := range list {
		m.pos = r.Position + topic.Position(i)
	}
}

// rewind has a channel read again, or pass over what it has, or makes one at a place.
func (n *node) rewind() {
	t := n.randomTopic()
	list := t.Channels()
	if len(list) == 0 || t.Name() == orderedTopic { // of an ordered one TestRewindOfAnOrderedChannel has the order
		return
	}
	c := list[n.rng.IntN(len(list))]
	from, shown := t.Kept().From, t.Shown()
	pos := 1 + topic.Position(n.rng.Uint64N(uint64(shown)+2))
	if from > 0 && from <= shown && n.rng.IntN(2) == 0 {
		pos = from + topic.Position(n.rng.Uint64N(uint64(shown-from)+1))
	}
	place, err := topic.ParsePlace(fmt.Sprint("pos:", pos), time.Now())
	if err != nil {
		panic(err)
	}
	lo := n.begin()
	if n.rng.IntN(4) == 0 {
		m, err := c.Skip(place, true, false)
		at := n.end(lo)
		n.note("skip %s/%s before %d: %+v, %v", t.Name(), c.Name(), pos, m, err)
		n.checkChange(err)
		if err == nil {
			n.skipped(t.Name(), c.Name(), m.From, at)
		}
		return
	}
	m, err := c.Rewind(place, false)
	at := n.end(lo)
	n.note("rewind %s/%s to %d of %d to %d: %+v, %v", t.Name(), c.Name(), pos, from, shown, m, err)
	if !errors.Is(err, topic.ErrKeepsNothing) {
		n.checkChange(err)
	}
	if err == nil {
		n.rewoundTo(t.Name(), c.Name(), m.From, at)
	}
}

func (n *node) checkChange(err error) {
	if err != nil && !n.faults && !n.crash.done() {
		n.fail("rewinding or skipping: %v", err)
	}
	n.checkSums()
}

// skipped says that a channel has passed over its messages before a position.
func (n *node) skipped(t, channel string, before topic.Position, at said) {
	for _, m := range n.messages {
		if m.loose && m.topic == t && m.pos < before {
			m.anywhere = false
		}
	}
	for _, p := range n.of(t, channel) {
		switch {
		case p.gone.yes():
		case p.redriven: // under which position is not known
			p.strict = false
		case p.m.pos >= before:
		case p.m.pos > 0 && !p.m.loose:
			p.gone = at
		default:
			p.strict = false
		}
	}
}

// rewoundTo says that messages from a position on come once more to a channel.
func (n *node) rewoundTo(t, channel string, from topic.Position, at said) {
	for _, m := range n.messages {
		if m.topic != t || m.pos < from || m.pos == 0 {
			continue
		}
		own := n.promises[t+"//"+m.body]
		waits := own != nil && !own.moved.yes() && !own.gone.yes() && !m.loose
		if waits && own.strict {
			continue // it comes when the topic is not paused any more
		}
		key := t + "/" + channel + "/" + m.body
		p := n.promises[key]
		if p == nil {
			p = &promise{m: m, redriven: true}
			if !m.loose {
				p.gone = settled
			}
			n.promises[key] = p
		}
		old := *p
		p.before, p.rewound, p.rewinds, p.redriven, p.delayed = &old, at, true, true, true
		if p.gone.yes() || !p.strict { // else it may be deferred, and stays so
			p.gone, p.finished, p.due = said{}, false, time.Time{}
			p.base = p.due
		}
		p.strict = m.sure && !m.loose && !waits
	}
}

// forgetRewind takes back what a crash may have taken of a rewind.
func (n *node) forgetRewind(p *promise) {
	if !p.rewound.yes() {
		return
	}
	switch n.fate(p.rewound) {
	case lost:
		p.gone, p.finished, p.strict, p.due, p.base = p.before.gone, p.before.finished, p.before.strict, p.before.due, p.before.base
	case unknown:
		p.gone, p.strict, p.m.anywhere = said{}, false, false
	}
	p.rewound, p.before = said{}, nil
}
