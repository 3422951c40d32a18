package topic

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// lead has the topic of a script be a replicated one, which this broker leads.
func (s *script) lead() {
	s.r = NewRegistry(s.cfg)
	s.r.Start()
	s.led = &ledModel{t: s.t, r: s.r, rand: rand.New(rand.NewPCG(1, 1)), standby: NewStandby()}
	s.led.lead()
}

// peek TOPIC or peek TOPIC/CHANNEL STATE: what is shown without being taken, the same whatever the pages. Of a replicated topic what a replica that follows
// shows is held to that.
func (s *script) peek(args []string) error {
	name, channel, ofChannel := strings.Cut(args[0], "/")
	topic := s.topic(name)
	if s.led != nil {
		s.led.sameCopy()
	}
	list, words := []Message(nil), func(*Message) (more string) { return "" }
	switch c := topic.LookupChannel(channel); {
	case !ofChannel:
		list = browsed(s.t, topic.Browse, Look{Limit: 2, Body: -1})
	case args[1] == "waiting":
		list = browsed(s.t, c.BrowseWaiting, Look{Limit: 2, Body: -1})
	case args[1] == "in_flight":
		list = browsed(s.t, c.BrowseInFlight, Look{Limit: 2, Body: -1})
		words = func(m *Message) string { return fmt.Sprintf(", with %s for %v", m.Client, time.Until(m.Deadline)) }
	default:
		for from := (DueMark{}); ; {
			part, next, err := c.BrowseDeferred(s.t.Context(), from, Look{Limit: 2, Body: -1})
			if err != nil {
				return err
			}
			if list, from = append(list, part...), next; from == (DueMark{}) {
				break
			}
		}
		words = func(m *Message) string { return fmt.Sprintf(", due in %v", time.Until(m.Due)) }
	}
	if len(list) == 0 {
		s.printf("nothing\n")
	}
	for i := range list {
		m := &list[i]
		attempts := ""
		if m.Attempts > 0 {
			attempts = fmt.Sprintf(", %d attempts", m.Attempts)
		}
		s.printf("%d: %s%s%s\n", m.Pos, m.Body, attempts, words(m))
	}
	return nil
}
