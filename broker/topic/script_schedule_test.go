package topic

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"brokerd/diskqueue/journal"
)

// scheduleCommand returns the commands that are about when messages are due, nil for another.
func (s *script) scheduleCommand(name string) func([]string) error {
	return map[string]func([]string) error{
		"publish-at": s.publishAt, "cancel": s.cancel, "release": s.release, "deferred": s.deferred, "ahead": s.ahead,
		"discarded": s.discarded, "publish-ttl": s.publishTTL, "ttl": s.ttl,
	}[name]
}

// publish-at TOPIC COUNT DURATION: due at so much from now on, before now when it is negative
func (s *script) publishAt(args []string) error {
	b := s.batch(args[0], s.number(args[1]))
	b.Due = time.Now().Add(s.duration(args[2])).UnixNano()
	return s.topic(args[0]).Publish(b)
}

// publish-ttl TOPIC COUNT TTL [DELAY]
func (s *script) publishTTL(args []string) error {
	b := s.batch(args[0], s.number(args[1]))
	b.TTL = s.duration(args[2])
	if len(args) > 3 {
		return s.topic(args[0]).PublishDeferred(b, s.duration(args[3]))
	}
	return s.topic(args[0]).Publish(b)
}

// ttl TOPIC[/CHANNEL] DURATION: sets the option, or puts the default back with "-"
func (s *script) ttl(args []string) error {
	value := json.RawMessage(`"` + args[1] + `"`)
	if args[1] == "-" {
		value = json.RawMessage("null")
	}
	set := map[string]json.RawMessage{"ttl": value}
	name, channel, ok := strings.Cut(args[0], "/")
	if ok {
		return s.topic(name).LookupChannel(channel).SetOptions(set)
	}
	return s.topic(name).SetOptions(set)
}

// cancel TOPIC[/CHANNEL] MESSAGE
func (s *script) cancel(args []string) error { return s.reschedule(args, (*Topic).Cancel) }

// release TOPIC[/CHANNEL] MESSAGE
func (s *script) release(args []string) error { return s.reschedule(args, (*Topic).Release) }

func (s *script) reschedule(args []string, act func(*Topic, Position, *Channel) ([]string, error)) error {
	name, channel, _ := strings.Cut(args[0], "/")
	topic := s.topic(name)
	from, err := act(topic, Position(s.number(strings.TrimPrefix(args[1], "m"))), topic.LookupChannel(channel))
	if err != nil {
		return err
	}
	for i := range from {
		from[i] = name + "/" + from[i]
	}
	s.printf("%s\n", strings.Join(from, ", "))
	return nil
}

// deferred TOPIC[/CHANNEL] LIMIT: all that is deferred, LIMIT at a time
func (s *script) deferred(args []string) error {
	name, channel, ok := strings.Cut(args[0], "/")
	c := s.topic(name).Own()
	if ok {
		c = s.topic(name).LookupChannel(channel)
	}
	for from := (DueMark{}); ; {
		list, next, err := c.Deferred(context.Background(), from, s.number(args[1]))
		if err != nil || next == (DueMark{}) && len(list) == 0 {
			return err
		}
		var texts []string
		for _, m := range list {
			text := "m" + strconv.Itoa(int(m.Position)) + " in " + time.Until(m.Due).String() + ", " + m.Age.String() + " old"
			if m.Attempts > 0 {
				text += ", attempts " + strconv.Itoa(int(m.Attempts))
			}
			texts = append(texts, text)
		}
		s.printf("%s\n", strings.Join(texts, "; "))
		if from = next; next == (DueMark{}) {
			return nil
		}
	}
}

// ahead TOPIC: how many are due within a minute, an hour, a day, later
func (s *script) ahead(args []string) error {
	st := s.topic(args[0]).Stats()
	s.printf("%s: %v\n", st.Name, st.Ahead)
	for _, c := range st.Channels {
		s.printf("%s/%s: %v\n", st.Name, c.Name, c.Ahead)
	}
	return nil
}

// discarded TOPIC: by reason
func (s *script) discarded(args []string) error {
	topic := s.topic(args[0])
	tell := func(name string, counts journal.Counts) {
		var list []string
		for reason, n := range counts.Named() {
			list = append(list, reason+" "+strconv.FormatUint(n, 10))
		}
		if slices.Sort(list); len(list) == 0 {
			list = []string{"nothing"}
		}
		s.printf("%s: %s\n", name, strings.Join(list, ", "))
	}
	tell(args[0], topic.own.Stats().Counts)
	for _, c := range topic.Channels() {
		tell(args[0]+"/"+c.Name(), c.Stats().Counts)
	}
	return nil
}
