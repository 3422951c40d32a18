package topic

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"brokerd/broker/policy"
)

// optionsCommand returns the commands that are about options and bounds, nil for another.
func (s *script) optionsCommand(name string) func([]string) error {
	return map[string]func([]string) error{
		"set": s.set, "held": s.held, "publish-sized": s.publishSized, "patterns": s.patterns, "limits": s.limits,
	}[name]
}

// set TOPIC[/CHANNEL] NAME=VALUE...
func (s *script) set(args []string) error {
	changes := map[string]json.RawMessage{}
	for _, arg := range args[1:] {
		name, value, _ := strings.Cut(arg, "=")
		if changes[name] = json.RawMessage(value); !json.Valid(changes[name]) {
			changes[name] = json.RawMessage(strconv.Quote(value))
		}
	}
	return s.at(args[0]).(interface {
		SetOptions(map[string]json.RawMessage) error
	}).SetOptions(changes)
}

// patterns [PATTERN NAME=VALUE]: the one pattern for topics, or none
func (s *script) patterns(args []string) error {
	var p Patterns
	if len(args) > 0 {
		list, _, err := policy.ParsePatterns([]string{strings.Join(args, " ")}, false)
		if err != nil {
			return err
		}
		p.Topics = list
	}
	s.r.SetPatterns(p)
	return nil
}

// limits TOPICS CHANNELS: what the node allows
func (s *script) limits(args []string) error {
	l := s.r.limits.Load().Limits
	l.MaxTopics, l.MaxChannels = s.number(args[0]), s.number(args[1])
	s.r.SetLimits(l)
	return nil
}

// publish-sized TOPIC BYTES...: one batch of messages with so long bodies
func (s *script) publishSized(args []string) error {
	var b Batch
	for _, size := range args[1:] {
		s.counts[args[0]]++
		body := fmt.Sprintf("m%d", s.counts[args[0]])
		b.Add([]byte(body + strings.Repeat(".", max(0, s.number(size)-len(body)))))
	}
	err := s.topic(args[0]).Publish(&b)
	var bound *BoundError
	if errors.As(err, &bound) {
		err = fmt.Errorf("%w; room for %d", err, bound.Room)
	}
	return err
}

// sized reports whether the options have bytes count.
func sized(p *policy.Policy) bool { return p != nil && p.MaxBytes > 0 }

// held TOPIC: what the topic and each channel holds, in bytes too when these are counted, and what was discarded
func (s *script) held(args []string) error {
	topic := s.r.Lookup(args[0])
	if topic == nil {
		return ErrTopicNotFound
	}
	for _, c := range topic.all() {
		st := c.Stats()
		if c == topic.own && st.Held == 0 {
			continue
		}
		s.printf("%s/%s: %d", topic.Name(), c.Name(), st.Held)
		if sized(topic.Policy()) || sized(c.Policy()) {
			s.printf(" of %d bytes", c.fullness().Bytes)
		}
		for name, n := range st.Counts.Named() {
			if name != "finished" {
				s.printf(", %d %s", n, name)
			}
		}
		s.printf("\n")
	}
	return nil
}
