package topic

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"brokerd/diskqueue/journal"
)

// retryOptions are those that the command policy sets.
var retryOptions = []string{"max_attempts", "backoff", "backoff_requeue", "dead_letter"}

// policy TOPIC/CHANNEL [NAME=VALUE...]: these options are set, and none else of those about retries
func (s *script) policy(args []string) error {
	name, channel, _ := strings.Cut(args[0], "/")
	c, err := s.topic(name).Channel(channel)
	if err != nil {
		return err
	}
	changes := map[string]json.RawMessage{}
	for _, name := range retryOptions {
		changes[name] = json.RawMessage("null")
	}
	for _, arg := range args[1:] {
		key, value, _ := strings.Cut(arg, "=")
		changes[key] = json.RawMessage(value)
		if !json.Valid(changes[key]) {
			changes[key] = json.RawMessage(strconv.Quote(value))
		}
	}
	return c.SetOptions(changes)
}

// sums TOPIC: of each channel what has come, and where it went
func (s *script) sums(args []string) error {
	topic := s.r.Lookup(args[0])
	if topic == nil {
		return ErrTopicNotFound
	}
	for _, c := range topic.all() {
		st := c.Stats()
		if st.Counts == (journal.Counts{}) && c == topic.own {
			continue
		}
		s.printf("%s/%s: accepted %d = finished %d", topic.Name(), c.Name(), st.Counts.Accepted, st.Counts.Finished)
		for name, n := range st.Counts.Named() {
			s.printf(" + %s %d", name, n)
		}
		s.printf(" + %d here\n", st.Held)
	}
	return nil
}

// dead TOPIC: the dead letters in it, with what is known of them but for what differs from run to run
func (s *script) dead(args []string) error {
	topic := s.r.Lookup(args[0])
	if topic == nil {
		return ErrTopicNotFound
	}
	for next := Position(1); next > 0; {
		var list []Message
		var err error
		if list, next, err = topic.Messages(next, 2); err != nil {
			return err
		}
		for _, m := range list {
			s.printf("%s:", m.Body)
			for _, p := range m.Properties {
				value := p.Value
				if at, err := time.Parse(time.RFC3339Nano, value); err == nil {
					value = at.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).String()
				}
				if _, err := strconv.ParseUint(value, 16, 64); err == nil && len(value) == 16 {
					value = "an id"
				}
				s.printf(" %s=%s", strings.TrimPrefix(p.Name, letterPrefix), value)
			}
			s.printf("\n")
		}
	}
	return nil
}
