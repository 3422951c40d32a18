package replica

import (
	"encoding/binary"
	"time"

	"go.etcd.io/raft/v3/quorum"
	"go.etcd.io/raft/v3/raftpb"
)

// lease knows until when a leader may believe that nobody else was elected. Each heartbeat carries when it was sent,
// behind what the engine put there, and its answer brings that back.
type lease struct {
	term  uint64
	self  uint64
	heard map[uint64]time.Duration // by replica, when the newest heartbeat was sent that it has answered
}

// stampSize is what a heartbeat carries more.
const stampSize = 8

// stamp puts the moment onto a heartbeat.
func stamp(m *raftpb.Message, now time.Duration) {
	m.Context = binary.BigEndian.AppendUint64(append([]byte(nil), m.GetContext()...), uint64(now))
}

// unstamp takes the moment off an answer to a heartbeat; ok is false when there is none.
func unstamp(m *raftpb.Message) (sent time.Duration, ok bool) {
	n := len(m.Context) - stampSize
	if n < 0 {
		return 0, false
	}
	sent = time.Duration(binary.BigEndian.Uint64(m.Context[n:]))
	if m.Context = m.Context[:n]; n == 0 {
		m.Context = nil
	}
	return sent, true
}

// begin forgets the answers of other terms.
func (l *lease) begin(term, self uint64) {
	*l = lease{term: term, self: self, heard: map[uint64]time.Duration{}}
}

// answered notes an answer to a heartbeat of the term. A time that this reign cannot have sent is not believed.
func (l *lease) answered(from uint64, sent, now time.Duration) {
	if l.heard != nil && sent <= now {
		l.heard[from] = max(l.heard[from], sent)
	}
}

// since returns when the newest heartbeat was sent that a majority of voters has answered, ok false when there is none.
func (l *lease) since(voters quorum.JointConfig, now time.Duration) (time.Duration, bool) {
	a := acked{l, now}
	at := voters.CommittedIndex(a)
	return time.Duration(at), at > 0 && l.heard != nil
}

// acked is a lease as the engine's counting wants it.
type acked struct {
	*lease
	now time.Duration
}

// AckedIndex returns when the newest heartbeat was sent that a voter has answered.
func (a acked) AckedIndex(voter uint64) (quorum.Index, bool) {
	if voter == a.self {
		return quorum.Index(a.now), true
	}
	at, ok := a.heard[voter]
	return quorum.Index(at), ok
}
