package replica

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
)

// Confirm returns nil once it is certain that this replica led in a term at some moment after the call, and its owner was told of all that was committed
// anywhere before it: a majority has answered heartbeats that were sent since. Nothing is written for it. It returns ErrNotLeader when the lead of that term is
// lost before, ErrClosed, or the context's error. No lease stands in for the answers: one may hold beside another leader after ForgetLeader.
func (g *Group) Confirm(ctx context.Context, term uint64) error {
	return g.membership(ctx, func(_ time.Duration, done func(error)) { g.m.confirm(term, done) })
}

// read is somebody who wants to know that this replica leads.
type read struct {
	number uint64 // in the order in which they came
	index  uint64 // what must be applied before, once known
	known  bool   // a majority has answered
	err    error
	done   func(error)
}

// confirm has the engine ask the others whether this replica still leads in a term.
func (m *machine) confirm(term uint64, done func(error)) {
	if m.err != nil || m.reign == 0 || m.reign != term {
		done(ErrNotLeader)
		return
	}
	m.asked++
	m.reads = append(m.reads, &read{number: m.asked, done: done})
	m.guard(func() error {
		m.node.ReadIndex(binary.BigEndian.AppendUint64(nil, m.asked))
		return nil
	})
}

// heed tells those who may be answered: a majority has said so, and all is applied that was committed when they asked.
func (m *machine) heed(states []raft.ReadState) {
	for _, s := range states {
		number := binary.BigEndian.Uint64(s.RequestCtx)
		for _, r := range m.reads {
			if r.number == number {
				r.index, r.known = s.Index, true
			}
		}
	}
	m.reads = slices.DeleteFunc(m.reads, func(r *read) bool {
		if !r.known || r.index > m.applied.Index {
			return false
		}
		m.output.tell = append(m.output.tell, event{read: r})
		return true
	})
}

// unread tells all who have asked that the lead is lost.
func (m *machine) unread() {
	for _, r := range m.reads {
		r.err = ErrNotLeader
		m.output.tell = append(m.output.tell, event{read: r})
	}
	m.reads = nil
}
