package topic

import "brokerd/protocol"

// jump is a moment at which the clock of stamps was set.
type jump struct {
	by   int64              // nanoseconds, back when below 0
	at   int64              // the first stamp behind it
	from protocol.MessageID // of this node: lower ones were given before it, but for a few that were just being published
}

// setSince returns by how much the clock was set since a message was stamped.
func setSince(jumps *[]jump, f protocol.MessageFrame) (by int64) {
	if jumps == nil {
		return 0
	}
	for _, j := range *jumps {
		if j.before(f) {
			by += j.by
		}
	}
	return by
}

// before reports whether a message was stamped before the jump. Behind one that went back stamps come twice: then its id tells.
func (j *jump) before(f protocol.MessageFrame) bool {
	is, sure := j.beforeStamp(f.Timestamp())
	if !sure {
		return f.MustID() < j.from
	}
	return is
}

// beforeStamp is before of whatever was stamped then; sure is false for stamps that come twice.
func (j *jump) beforeStamp(at int64) (is, sure bool) {
	switch {
	case j.by > 0:
		return at < j.at-j.by/2, true
	case at < j.at:
		return true, true
	case at >= j.at-j.by || at < j.at+jumpRace:
		return false, true
	}
	return false, false
}

// setSinceStamp is setSince of whatever was stamped then, which is taken for younger where nobody knows.
func setSinceStamp(jumps *[]jump, at int64) (by int64) {
	if jumps == nil {
		return 0
	}
	for i := range *jumps {
		if is, _ := (*jumps)[i].beforeStamp(at); is {
			by += (*jumps)[i].by
		}
	}
	return by
}
