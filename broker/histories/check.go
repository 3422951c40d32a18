package histories

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// Rules are what is promised beyond sets.
type Rules struct {
	// Forget is how long before a fault a FIN may have been said that does not count. It is more than is promised by what the test itself may
	// have been kept from running.
	Forget time.Duration
	// Patience is how long the search for a linearization may take; 0: a minute.
	Patience time.Duration
}

// Check returns everything that a queue which keeps its promises could not have done; nil when there is nothing. It is called when all is over.
func (h *History) Check(rules Rules) error {
	h.mu.Lock()
	h.checkSetsLocked(rules)
	history := h.operationsLocked()
	wrong := slices.Clone(h.wrong)
	h.mu.Unlock()
	if rules.Patience == 0 {
		rules.Patience = time.Minute
	}
	switch porcupine.CheckOperationsTimeout(list, history, rules.Patience) {
	case porcupine.Illegal:
		wrong = append(wrong, fmt.Sprintf("no order of the %d publishes and deliveries explains the topic: %s", len(history), firstOutOfOrder(history)))
	case porcupine.Unknown:
		wrong = append(wrong, fmt.Sprintf("it was not found within %v whether an order of the %d publishes and deliveries explains the topic", rules.Patience, len(history)))
	}
	if len(wrong) == 0 {
		return nil
	}
	return errors.New(strings.Join(wrong, "\n") + "\nfaults:\n" + h.Faults())
}

// checkSetsLocked judges each message by itself.
func (h *History) checkSetsLocked(rules Rules) {
	if !h.listed {
		h.wrongLocked("the test has not said what the topic holds")
	}
	for _, b := range h.unknown {
		h.wrongLocked("%q was delivered, and never sent", b)
	}
	for _, l := range h.looks {
		if m := h.messages[l.last]; l.last != "" && (m == nil || m.place < 0 && h.listed) {
			h.wrongLocked("shown, and not in the topic: %s", h.tellLocked(l.last))
		}
	}
	acked := 0
	for _, p := range h.publishes {
		if p.ok {
			acked++
		}
		for _, b := range p.bodies {
			h.checkMessageLocked(b, rules)
		}
		h.checkWholeLocked(p)
	}
	if acked == 0 {
		h.wrongLocked("nothing was acknowledged: nothing was tested")
	}
}

func (h *History) checkMessageLocked(body string, rules Rules) {
	m := h.messages[body]
	switch {
	case m.p.ok && m.place < 0 && h.listed:
		h.wrongLocked("acknowledged, and not in the topic: %s", h.tellLocked(body))
	case m.p.ok && len(m.finished) == 0:
		h.wrongLocked("acknowledged, and never finished: %s", h.tellLocked(body))
	case len(m.deliveries) > 0 && m.place < 0 && h.listed:
		h.wrongLocked("delivered, and not in the topic: %s", h.tellLocked(body))
	}
	for i, d := range m.deliveries {
		if d.seq < m.p.call {
			h.wrongLocked("delivered before it was sent: %s", h.tellLocked(body))
		}
		if i == 0 {
			continue
		}
		for _, fin := range m.finished {
			if fin < d.at && !h.excusedLocked(fin, d.at, rules.Forget) {
				h.wrongLocked("came again after its FIN, and no fault explains it: %s", h.tellLocked(body))
				break
			}
		}
		if before := m.deliveries[i-1]; d.attempts <= before.attempts && !h.excusedLocked(before.at, d.at, rules.Forget) {
			h.wrongLocked("came again with no more attempts, and no fault explains it: %s", h.tellLocked(body))
		}
	}
}

// excusedLocked reports whether a fault may have undone what was said at a time, before another one.
func (h *History) excusedLocked(said, until, forget time.Duration) bool {
	return slices.ContainsFunc(h.faults, func(f *Fault) bool {
		return f.begin <= until && said >= f.begin-forget && (f.end == 0 || said <= f.end)
	})
}

// checkWholeLocked holds that what was published together stands in the list together, or not at all.
func (h *History) checkWholeLocked(p *Publish) {
	for i, b := range p.bodies {
		first, m := h.messages[p.bodies[0]], h.messages[b]
		if first.place < 0 && m.place >= 0 || first.place >= 0 && m.place != first.place+i {
			h.wrongLocked("published together, and not in the topic together: %s, and %s", h.tellLocked(p.bodies[0]), h.tellLocked(b))
			return
		}
	}
}

// step is what an operation does to the list: it appends messages at a place, reads the one there, or looks how long the list is.
type step struct {
	appends int // 0: it reads; -1: it looks
	place   int // or how long it is
	body    string
}

// list is a list that is as long as its state says.
var list = porcupine.Model{
	Init: func() any { return 0 },
	Step: func(state, input, _ any) (bool, any) {
		length, s := state.(int), input.(step)
		switch s.appends {
		case 0:
			return s.place < length, length
		case -1:
			return s.place == length, length
		}
		return s.place == length, length + s.appends
	},
	Equal: func(a, b any) bool { return a.(int) == b.(int) },
	DescribeOperation: func(input, _ any) string {
		s := input.(step)
		switch s.appends {
		case 0:
			return fmt.Sprintf("read %d", s.place)
		case -1:
			return fmt.Sprintf("saw %d", s.place)
		}
		return fmt.Sprintf("append %d at %d", s.appends, s.place)
	},
}

// operationsLocked returns what is in the list as operations on it. What never came to it has none; that it had to, the sets say.
func (h *History) operationsLocked() (ops []porcupine.Operation) {
	for _, l := range h.looks {
		length := 0
		if m := h.messages[l.last]; m != nil {
			length = m.place + 1
		}
		if l.end > 0 {
			ops = append(ops, porcupine.Operation{ClientId: l.client, Input: step{-1, length, l.last}, Call: int64(l.call), Return: int64(l.end)})
		}
	}
	for _, p := range h.publishes {
		first := h.messages[p.bodies[0]]
		if first.place < 0 {
			continue
		}
		op := porcupine.Operation{ClientId: p.client, Input: step{len(p.bodies), first.place, p.bodies[0]}, Call: int64(p.call), Return: math.MaxInt64}
		if p.ok {
			op.Return = int64(p.end)
		}
		ops = append(ops, op)
		for _, b := range p.bodies {
			m := h.messages[b]
			if m.place < 0 || len(m.deliveries) == 0 {
				continue
			}
			d := m.deliveries[0] // those after it can only be later
			ops = append(ops, porcupine.Operation{ClientId: d.client, Input: step{0, m.place, b}, Call: int64(p.call), Return: int64(d.seq)})
		}
	}
	return ops
}

// firstOutOfOrder names two publishes that stand in the list in another order than they were made in, one after the other.
func firstOutOfOrder(ops []porcupine.Operation) string {
	looks := slices.DeleteFunc(slices.Clone(ops), func(o porcupine.Operation) bool { return o.Input.(step).appends >= 0 })
	appends := slices.DeleteFunc(slices.Clone(ops), func(o porcupine.Operation) bool { return o.Input.(step).appends <= 0 })
	slices.SortFunc(appends, func(a, b porcupine.Operation) int { return a.Input.(step).place - b.Input.(step).place })
	for i, later := range appends {
		for _, earlier := range appends[:i] {
			if later.Return < earlier.Call {
				e, l := earlier.Input.(step), later.Input.(step)
				return fmt.Sprintf("%q is message %d and was sent after %q was acknowledged, which is message %d", e.body, e.place, l.body, l.place)
			}
		}
	}
	for _, l := range looks {
		for _, a := range appends {
			length, s := l.Input.(step).place, a.Input.(step)
			switch {
			case s.place >= length && a.Return < l.Call:
				return fmt.Sprintf("a look showed %d messages, and %q, which is message %d, was acknowledged before it", length, s.body, s.place)
			case s.place < length && a.Call > l.Return:
				return fmt.Sprintf("a look showed %d messages, and %q, which is message %d, was sent after it", length, s.body, s.place)
			}
		}
	}
	return "a message was delivered before it, or one that stands before it, can have been in the topic"
}
