package channel

import (
	"time"

	"brokerd/protocol"
)

// Jumps are moments at which the clock of stamps was set, in order. nil has none.
type Jumps []Jump

// Jump is one of them.
type Jump struct {
	By   int64              // nanoseconds, back when below 0
	At   int64              // the first stamp behind it
	From protocol.MessageID // of this node: lower ones were given before it, but for a few that were just being published
}

// jumpRace is in so much behind a jump back a message may be of either side.
const jumpRace = int64(time.Second)

// since returns by how much the clock was set since a message was stamped.
func (l *Jumps) since(f protocol.MessageFrame) (by int64) {
	if l == nil {
		return 0
	}
	for _, j := range *l {
		if j.before(f) {
			by += j.By
		}
	}
	return by
}

// SinceStamp returns by how much the clock was set since whatever was stamped then, which is taken for younger where nobody knows.
func (l *Jumps) SinceStamp(at int64) (by int64) {
	if l == nil {
		return 0
	}
	for i := range *l {
		if is, _ := (*l)[i].beforeStamp(at); is {
			by += (*l)[i].By
		}
	}
	return by
}

// before reports whether a message was stamped before the jump. Behind one that went back stamps come twice: then its id tells.
func (j *Jump) before(f protocol.MessageFrame) bool {
	is, sure := j.beforeStamp(f.Timestamp())
	if !sure {
		return f.MustID() < j.From
	}
	return is
}

// beforeStamp is before of whatever was stamped then; sure is false for stamps that come twice.
func (j *Jump) beforeStamp(at int64) (is, sure bool) {
	switch {
	case j.By > 0:
		return at < j.At-j.By/2, true
	case at < j.At:
		return true, true
	case at >= j.At-j.By || at < j.At+jumpRace:
		return false, true
	}
	return false, false
}
