package storage

import (
	"context"
	"encoding/json"
	"flag"

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
		from := t.Kept().From
		if from == 0 || isDeadLetters(t.Name()) {
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

// forgetPositions says that the positions of a topic's messages mean nothing any more: it was deleted.
func (n *node) forgetPositions(name string) {
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
