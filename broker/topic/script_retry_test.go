package topic

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing/synctest"
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

// rounds CONSUMER COUNT: takes the one message that there is and gives it back, so often
func (s *script) rounds(args []string) error {
	sub := s.subs[args[0]]
	for range s.number(args[1]) {
		var d Delivery
		if n := sub.Take(&d); n != 1 {
			s.printf("%d came\n", n)
			return nil
		}
		a := []Answer{{ID: first(d.Runs[0].Frames).MustID(), Verb: Requeue}}
		if sub.Apply(a, nil); a[0].Err != nil {
			return a[0].Err
		}
	}
	return nil
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
		looked, err := topic.Browse(context.Background(), Look{From: next, Limit: 2, Body: -1})
		if err != nil {
			return err
		}
		if next = looked.Next; looked.End {
			next = 0
		}
		for _, m := range looked.Messages {
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

// redrive TOPIC/CHANNEL [limit=N] [rate=N] [stop]: and what is known of it a moment later
func (s *script) redrive(args []string) error {
	name, channel, _ := strings.Cut(args[0], "/")
	var o RedriveOptions
	for _, arg := range args[1:] {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "limit":
			o.Limit = s.number(value)
		case "rate":
			o.Rate = s.number(value)
		case "stop":
			_, err := s.topic(name).StopRedrive(channel)
			return err
		}
	}
	if _, err := s.topic(name).Redrive(channel, o); err != nil {
		return err
	}
	synctest.Wait()
	return s.redriven(args[:1])
}

// redriven TOPIC/CHANNEL: what is known of the last redrive
func (s *script) redriven(args []string) error {
	name, channel, _ := strings.Cut(args[0], "/")
	r := s.topic(name).LookupChannel(channel).Stats().Redrive
	if r == nil {
		s.printf("never\n")
		return nil
	}
	s.printf("%d moved from %s, %d stay in flight", r.Moved, r.From, r.InFlight)
	switch {
	case r.Ended.IsZero():
		s.printf(", goes on")
	case r.Stopped:
		s.printf(", stopped")
	}
	if r.Error != "" {
		s.printf(": %s", r.Error)
	}
	s.printf("\n")
	return nil
}

// disk fails|heals: what is waited for is not written, though it may be on the disk
func (s *script) disk(args []string) error {
	if s.log == nil {
		return ErrNoLog
	}
	if args[0] == "heals" {
		s.log.fail(nil)
	} else {
		s.log.fail(errors.New("no disk"))
	}
	return nil
}
