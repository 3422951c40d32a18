package replica

import (
	"encoding/binary"
	"time"

	"go.etcd.io/raft/v3/quorum"
	"go.etcd.io/raft/v3/raftpb"
)

// lease knows until when a leader may believe that nobody else was elected. Each heartbeat carries when it was sent,
// behind what the engine put there, and its answer brings that back, and before it for how long who answers votes for nobody else: its own election
// timeout, which may be another than the leader's while that is being changed on one broker after the other.
type lease struct {
	term  uint64
	self  uint64
	own   time.Duration            // how long an answer is good for, at most
	heard map[uint64]time.Duration // by replica, until when it votes for nobody else
}

// stampSize is what a heartbeat carries more, and vowSize its answer.
const (
	stampSize = 8
	vowSize   = 8
)

// stamp puts the moment onto a heartbeat.
func stamp(m *raftpb.Message, now time.Duration) {
	m.Context = binary.BigEndian.AppendUint64(append([]byte(nil), m.GetContext()...), uint64(now))
}

// vow says in an answer to a heartbeat how long an election timeout is here.
func vow(m *raftpb.Message, timeout time.Duration) {
	m.Context = append(binary.BigEndian.AppendUint64(nil, uint64(timeout)), m.GetContext()...)
}

// unstamp takes the moment, and the election timeout of who answers, off an answer to a heartbeat; ok is false when there is none. An older version
// says no timeout: 0.
func unstamp(m *raftpb.Message) (sent, timeout time.Duration, ok bool) {
	n := len(m.Context) - stampSize
	if n < 0 {
		return 0, 0, false
	}
	sent = time.Duration(binary.BigEndian.Uint64(m.Context[n:]))
	m.Context = m.Context[:n]
	if n >= vowSize {
		timeout = time.Duration(binary.BigEndian.Uint64(m.Context))
		m.Context = m.Context[vowSize:]
	}
	if len(m.Context) == 0 {
		m.Context = nil
	}
	return sent, timeout, true
}

// begin forgets the answers of other terms.
func (l *lease) begin(term, self uint64, own time.Duration) {
	*l = lease{term: term, self: self, own: own, heard: map[uint64]time.Duration{}}
}

// answered notes an answer to a heartbeat of the term, of who has said how long its election timeout is. A time that this reign cannot have sent is not
// believed.
func (l *lease) answered(from uint64, sent, timeout, now time.Duration) {
	good := l.own
	if timeout > 0 {
		good = min(good, timeout/4*3)
	}
	if l.heard != nil && sent > 0 && sent <= now {
		l.heard[from] = max(l.heard[from], sent+good)
	}
}

// until returns until when a majority of voters votes for nobody else, 0 when that is not known.
func (l *lease) until(voters quorum.JointConfig, now time.Duration) time.Duration {
	if l.heard == nil {
		return 0
	}
	return time.Duration(voters.CommittedIndex(acked{l, now}))
}

// acked is a lease as the engine's counting wants it.
type acked struct {
	*lease
	now time.Duration
}

// AckedIndex returns until when a voter votes for nobody else.
func (a acked) AckedIndex(voter uint64) (quorum.Index, bool) {
	if voter == a.self {
		return quorum.Index(a.now + a.own), true
	}
	at, ok := a.heard[voter]
	return quorum.Index(at), ok
}
