package demo

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nsqio/go-nsq"
)

// A story is the life of one message on a channel, as those tell it who have it in hand. There is one at a time: it begins with a message
// that goes through more than one delivery, and another begins when it has ended and stood for a while.
type story struct {
	channel string
	now     func() time.Time

	subject atomic.Uint64 // the message's id; 0 while a message is looked for

	mu    sync.Mutex
	ended time.Time // zero while it goes on
	tale  tale      // guarded by mu, as ended
}

// tale is what is shown of a story.
type tale struct {
	ID        string
	Body      string
	Published time.Time
	Events    []event
}

type event struct {
	at   time.Time
	text string
}

// storyStands is how long a story that has ended is shown, so that it can be read.
const storyStands = 3 * time.Second

const maxEvents = 6

func newStory(channel string) *story { return &story{channel: channel, now: time.Now} }

// begin makes m the subject, when one is looked for, and reports whether it is it.
func (s *story) begin(id uint64, m *nsq.Message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.subject.Load(); old != 0 && (s.ended.IsZero() || s.now().Sub(s.ended) < storyStands) {
		return old == id
	}
	s.ended = time.Time{}
	s.tale = tale{ID: string(m.ID[:]), Body: string(m.Body[:min(len(m.Body), 200)]), Published: time.Unix(0, m.Timestamp)}
	s.tale.Events = append(s.tale.Events, event{s.tale.Published, "published, and kept by the broker"})
	s.subject.Store(id)
	return true
}

// tell adds what happens to the subject; of other messages it says nothing.
func (s *story) tell(id uint64, format string, args ...any) {
	if s == nil || s.subject.Load() != id {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended.IsZero() && len(s.tale.Events) < maxEvents {
		s.tale.Events = append(s.tale.Events, event{s.now(), fmt.Sprintf(format, args...)})
	}
}

// end is the subject's end.
func (s *story) end(id uint64, format string, args ...any) {
	if s == nil || s.subject.Load() != id {
		return
	}
	s.tell(id, format, args...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended.IsZero() {
		s.ended = s.now()
	}
}

// shown returns what is known by now; ok is false before the first story.
func (s *story) shown() (t tale, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t = s.tale
	t.Events = append([]event(nil), t.Events...)
	return t, len(t.Events) > 0
}

// delivered tells that a consumer got a message. One that comes again although nobody has given it back was with the killed consumer.
func (s *story) delivered(id uint64, m *nsq.Message, who string) {
	if s == nil {
		return
	}
	if m.Attempts > 1 && s.subject.Load() != id && s.begin(id, m) {
		s.tell(id, "delivered to the consumer that was killed with it in hand; the broker has it again")
	}
	s.tell(id, "delivered to %s, attempt %d", who, m.Attempts)
}
