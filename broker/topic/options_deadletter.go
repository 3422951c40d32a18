package topic

import (
	"encoding/json"
	"fmt"
	"strconv"

	"brokerd/broker/policy"
)

// buries reports whether a policy has messages become dead letters.
func buries(p *policy.Policy) bool {
	return p != nil && p.DeadLetter != "" && (p.MaxAttempts > 0 || p.Bounded() && p.Overflow == policy.ToDeadLetter)
}

// checkTarget returns why a channel of the topic cannot have its dead letters go where options say that are about to come into force: there is
// a topic of that name that cannot take them, or they would come back from there.
func (t *Topic) checkTarget(p *policy.Policy) error {
	if !buries(p) {
		return nil
	}
	refuse := func(text string) error {
		return &policy.Error{Name: "dead_letter", Text: text, Value: json.RawMessage(strconv.Quote(p.DeadLetter))}
	}
	if to := t.registry.Lookup(p.DeadLetter); to != nil && (to.d == nil || to.led != nil) {
		return refuse("must be a topic at level disk or fsync that is not replicated, as one record of the log moves a message")
	}
	seen := map[string]bool{}
	for next := []string{p.DeadLetter}; len(next) > 0; next = next[1:] {
		name := next[0]
		if name == t.name {
			return refuse(fmt.Sprintf("must be a topic whose own dead letters do not come back to %s", t.name))
		}
		to := t.registry.Lookup(name)
		if to == nil || seen[name] {
			continue
		}
		seen[name] = true
		for _, c := range to.Channels() {
			if q := c.Policy(); buries(q) {
				next = append(next, q.DeadLetter)
			}
		}
	}
	return nil
}
