package storage

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"brokerd/broker/topic"
)

var crashKeepAll = flag.Bool("crash-keep-all", false, "topics of TestCrash keep all messages from the start on")

// retention changes what a topic keeps of what is finished, or its level, and looks for what need not be kept any more.
func (n *node) retention() {
	t := n.randomTopic()
	value := []string{`{"retain_bytes":4000}`, `{"retain_bytes":"1GiB"}`, `{"retain_time":"20s"}`, `{"retain_time":"1h"}`,
		`{"retain_time":"20s","retain_bytes":3000}`, `{"retain_time":"0s","retain_bytes":0}`, `{"durability":"disk"}`, `{"durability":"fsync"}`}[n.rng.IntN(8)]
	if *crashKeepAll || *crashHard {
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
			if m.topic == t.Name() && m.sure && m.pos >= from && !m.over() && !m.cancelled && !seen[m.body] {
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
	if name := "c" + fmt.Sprint(n.rng.IntN(2)); t.LookupChannel(name) == nil {
		n.createAt(t, name)
		return
	}
	c := list[n.rng.IntN(len(list))]
	from, shown := t.Kept().From, t.Shown()
	pos := 1 + topic.Position(n.rng.Uint64N(uint64(shown)+2))
	if from > 0 && from <= shown && n.rng.IntN(2) == 0 {
		pos = from + topic.Position(n.rng.Uint64N(uint64(shown-from)+1))
	}
	place := n.place(fmt.Sprint("pos:", pos))
	lo := n.begin()
	if n.rng.IntN(4) == 0 {
		all := n.rng.IntN(3) > 0
		m, err := c.Skip(place, all, false)
		at := n.end(lo)
		n.note("skip %s/%s before %d, all of it %v: %+v, %v", t.Name(), c.Name(), pos, all, m, err)
		n.checkChange(err)
		switch {
		case err == nil:
			n.skipped(t.Name(), c.Name(), m.From, all, at)
		case m.Messages > 0: // it is done, and the log has not taken it: a start may bring them back
			n.perhapsSkipped(t.Name(), c.Name(), m.From)
		}
		return
	}
	m, err := c.Rewind(place, false)
	at := n.end(lo)
	n.note("rewind %s/%s to %v of %d to %d: %+v, %v", t.Name(), c.Name(), place, from, shown, m, err)
	if !errors.Is(err, topic.ErrKeepsNothing) {
		n.checkChange(err)
	}
	if err == nil || m.Messages > 0 && !errors.Is(err, topic.ErrTooMany) { // else it is done, and the log has not taken it
		n.rewoundTo(t.Name(), c.Name(), m.From, at, false)
	}
}

// place reads a place, or draws another one.
func (n *node) place(text string) topic.Place {
	switch n.rng.IntN(8) {
	case 0:
		text = fmt.Sprintf("-%ds", n.rng.IntN(100))
	case 1:
		text = "beginning"
	}
	place, err := topic.ParsePlace(text, time.Now())
	if err != nil {
		panic(err)
	}
	return place
}

// createAt makes a channel that begins at a place.
func (n *node) createAt(t *topic.Topic, name string) {
	place := n.place(fmt.Sprint("pos:", 1+n.rng.Uint64N(uint64(t.Shown())+2)))
	lo := n.begin()
	_, made, m, err := t.ChannelAt(name, place)
	at := n.end(lo)
	n.note("make %s/%s at %v: %v, %+v, %v", t.Name(), name, place, made, m, err)
	if !errors.Is(err, topic.ErrKeepsNothing) {
		n.checkChange(err)
	}
	if made {
		n.rewoundTo(t.Name(), name, m.From, at, true)
		n.moves(t, lo)
	}
}

func (n *node) checkChange(err error) {
	if err != nil && !n.faults && !n.crash.done() {
		n.fail("rewinding or skipping: %v", err)
	}
	n.checkSums()
}

// skipped says that a channel has passed over its messages before a position, all of them, or those that wait.
func (n *node) skipped(t, channel string, before topic.Position, all bool, at said) {
	for _, m := range n.messages {
		if m.loose && m.topic == t && m.pos < before {
			m.anywhere = false
		}
	}
	n.turnsTaken(t+"/"+channel, func(m *message) bool {
		p := n.promises[t+"/"+channel+"/"+m.body]
		return m.pos < before || p == nil || p.redriven
	})
	for _, p := range n.of(t, channel) {
		switch {
		case p.gone.yes():
		case p.redriven: // under which position is not known
			p.strict, p.m.perhaps = false, true
		case p.m.pos >= before:
		case p.m.pos > 0 && !p.m.loose && (len(p.deliveries) == 0 && (all || !p.delayed) || all && n.most <= 0):
			p.gone = at // else it is in flight or deferred and stays, or is on its way to the dead letter topic
		default:
			p.strict, p.m.perhaps = false, true
		}
	}
}

// perhapsSkipped says that a channel has passed over what it has before a position, or has not.
func (n *node) perhapsSkipped(t, channel string, before topic.Position) {
	for _, m := range n.messages {
		if m.loose && m.topic == t && m.pos < before {
			m.anywhere = false
		}
	}
	n.turnsTaken(t+"/"+channel, func(m *message) bool { return m.pos < before })
	for _, p := range n.of(t, channel) {
		if !p.gone.yes() && (p.redriven || p.m.pos < before) {
			p.strict, p.m.perhaps = false, true
		}
	}
}

// rewoundTo says that messages from a position on come once more to a channel, or to one that was made there.
func (n *node) rewoundTo(t, channel string, from topic.Position, at said, made bool) {
	n.turnsTaken(t+"/"+channel, func(m *message) bool { return m.pos >= from || m.pos == 0 })
	for order := range n.first { // of what comes once more, too
		if order == t+"/"+channel || strings.HasPrefix(order, t+"/"+channel+"/") {
			delete(n.first, order)
		}
	}
	behind := slices.ContainsFunc(n.of(t, ""), func(own *promise) bool { return !own.moved.yes() }) // they come behind what is read again
	for _, m := range n.messages {
		if m.topic == t && m.pos == 0 {
			n.perhapsRewound(t+"/"+channel+"/"+m.body, m)
		}
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
		if !made && p != nil && p.gone.yes() && p.gone == p.cancelled {
			continue // for good
		}
		if p == nil {
			p = &promise{m: m, redriven: true, uncounted: true}
			if !m.loose {
				p.gone = settled
			}
			n.promises[key] = p
		}
		n.twice[key] = true
		old := *p
		p.before, p.rewound, p.rewinds, p.redriven, p.cancelled = &old, at, true, true, said{}
		p.delayed = behind || !p.gone.yes() && (p.delayed || !p.strict) // what is deferred stays so
		if p.gone.yes() || !p.strict {                                  // else it may be deferred, and stays so
			p.gone, p.finished, p.due = said{}, false, time.Time{}
			p.base = p.due
		}
		p.strict = m.sure && !m.loose && !waits && !m.cancelled
	}
}

// perhapsRewound says that a message, whose position is not known since its topic was deleted, comes once more to a channel if a crash has taken
// that deletion back.
func (n *node) perhapsRewound(key string, m *message) {
	p := n.promises[key]
	if p == nil {
		p = &promise{m: m, uncounted: true}
		n.promises[key] = p
	}
	n.twice[key] = true
	if p.gone.yes() {
		p.strict = false
	}
	p.gone, p.finished, p.rewinds = said{}, false, true
	p.redriven, p.delayed, p.due, p.base = true, true, time.Time{}, time.Time{}
}

// forgetRewind takes back what a crash may have taken of a rewind.
func (n *node) forgetRewind(p *promise) {
	if !p.rewound.yes() {
		return
	}
	switch n.fate(p.rewound) {
	case lost:
		p.gone, p.finished, p.strict, p.due, p.base = p.before.gone, p.before.finished, p.before.strict, p.before.due, p.before.base
		p.delayed, p.cancelled = p.before.delayed, p.before.cancelled
	case unknown:
		p.m.cancelled = p.m.cancelled || p.before.cancelled.yes() || p.cancelled.yes() // before the rewind, or behind it
		p.gone, p.strict, p.m.anywhere, p.delayed = said{}, false, false, true
	}
	p.rewound, p.before = said{}, nil
}
