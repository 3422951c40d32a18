package histories

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// script is a small history: a and b are published one after the other, c is not answered, each is delivered once.
type script struct {
	h *History
}

func good(change func(s *script)) (*History, error) {
	s := &script{New()}
	s.publish(0, true, "a")
	s.publish(1, true, "b1", "b2")
	s.publish(0, false, "c")
	for _, body := range []string{"a", "b1", "b2", "c"} {
		s.through(body, 1)
	}
	list := []string{"a", "b1", "b2", "c"}
	if change != nil {
		change(s)
	}
	if !s.h.listed {
		s.h.List(list)
	}
	return s.h, s.h.Check(Rules{Forget: time.Second})
}

func (s *script) publish(client int, ok bool, bodies ...string) {
	p := s.h.Publish(client, bodies...)
	time.Sleep(time.Millisecond)
	p.Answered(ok)
}

func (s *script) look(last string) {
	l := s.h.Look(8)
	time.Sleep(time.Millisecond)
	l.Saw(last)
	time.Sleep(time.Millisecond)
}

func (s *script) through(body string, attempts uint16) {
	s.h.Delivered(9, body, attempts)
	s.h.Finished(body)
	time.Sleep(time.Millisecond)
}

// TestWhatIsJudged holds that what keeps the promises passes, and that each way to break one is seen.
func TestWhatIsJudged(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*script)
		want   string // in the error; empty: all is well
	}{
		"all well": {nil, ""},
		"an unanswered publish that came to nothing": {func(s *script) { s.publish(1, false, "x"); s.publish(1, false, "y1", "y2") }, ""},
		"an unanswered publish that comes after later": {func(s *script) {
			s.publish(1, false, "x")
			s.publish(0, true, "z")
			s.through("z", 1)
			s.through("x", 1)
			s.h.List([]string{"a", "b1", "b2", "c", "z", "x"})
		}, ""},
		"acknowledged and lost":            {func(s *script) { s.publish(1, true, "x"); s.through("x", 1) }, `acknowledged, and not in the topic: "x"`},
		"acknowledged and never delivered": {func(s *script) { s.publish(1, true, "x"); s.h.List([]string{"a", "b1", "b2", "c", "x"}) }, `never finished: "x"`},
		"a phantom":                        {func(s *script) { s.publish(1, false, "x"); s.through("x", 1) }, `delivered, and not in the topic: "x"`},
		"never sent":                       {func(s *script) { s.through("x", 1) }, `"x" was delivered, and never sent`},
		"in the topic, never sent":         {func(s *script) { s.h.List([]string{"a", "b1", "b2", "c", "x"}) }, `"x" is in the topic, and was never sent`},
		"in the topic twice":               {func(s *script) { s.h.List([]string{"a", "b1", "b2", "c", "a"}) }, `"a" is in the topic twice`},
		"torn":                             {func(s *script) { s.publish(1, false, "x", "y"); s.h.List([]string{"a", "b1", "b2", "c", "y"}) }, "not in the topic together"},
		"torn by another":                  {func(s *script) { s.h.List([]string{"a", "b1", "c", "b2"}) }, "not in the topic together"},
		"another order than published":     {func(s *script) { s.h.List([]string{"b1", "b2", "a", "c"}) }, "no order of the"},
		"again without a fault":            {func(s *script) { s.through("a", 2) }, `no fault explains it: "a"`},
		"again soon before a fault":        {func(s *script) { s.h.Begin("kill").End(); s.through("a", 2) }, ""},
		"again long before a fault": {func(s *script) {
			time.Sleep(2 * time.Second)
			s.h.Begin("kill").End()
			s.through("a", 2)
		}, "came again after its FIN"},
		"again, said while a fault went on": {func(s *script) {
			time.Sleep(2 * time.Second)
			f := s.h.Begin("cut")
			time.Sleep(2 * time.Second)
			s.publish(1, true, "x")
			s.through("x", 1)
			time.Sleep(2 * time.Second)
			f.End()
			s.through("x", 2)
			s.h.List([]string{"a", "b1", "b2", "c", "x"})
		}, ""},
		"attempts go back without a fault": {func(s *script) {
			s.publish(1, true, "x")
			s.h.Delivered(9, "x", 1)
			s.h.Delivered(9, "x", 1)
			s.h.Finished("x")
			s.h.List([]string{"a", "b1", "b2", "c", "x"})
		}, "no more attempts"},
		"looks that show all": {func(s *script) {
			s.look("c")
			s.publish(1, true, "x")
			s.through("x", 1)
			s.look("x")
			s.h.Look(7) // was refused
			s.h.List([]string{"a", "b1", "b2", "c", "x"})
		}, ""},
		"a look beside a publish": {func(s *script) {
			p := s.h.Publish(1, "x")
			s.look("c")
			s.look("x")
			p.Answered(true)
			s.through("x", 1)
			s.h.List([]string{"a", "b1", "b2", "c", "x"})
		}, ""},
		"a look that goes back": {func(s *script) {
			p := s.h.Publish(1, "x")
			s.look("x")
			s.look("c")
			p.Answered(true)
			s.through("x", 1)
			s.h.List([]string{"a", "b1", "b2", "c", "x"})
		}, "no order of the"},
		"a look that misses what was acknowledged": {func(s *script) { s.look("a") }, `a look showed 1 messages, and "b1"`},
		"a look at nothing":                        {func(s *script) { s.look("") }, `a look showed 0 messages, and "a"`},
		"a look at what is not there":              {func(s *script) { s.publish(1, false, "x"); s.look("x") }, `shown, and not in the topic: "x"`},
		"sent twice":                               {func(s *script) { s.publish(1, false, "a") }, "the test has sent"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, err := good(c.change)
				if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q; %+v", err, c.want, h.Sum())
				}
			})
		})
	}
}

// TestDeliveredBeforeItCanHaveBeenThere: a message that stands behind another one was delivered before that one was sent.
func TestDeliveredBeforeItCanHaveBeenThere(t *testing.T) {
	h := New()
	s := &script{h}
	s.publish(0, false, "b")
	s.through("b", 1)
	s.publish(0, true, "a")
	s.through("a", 1)
	h.List([]string{"a", "b"})
	if err := h.Check(Rules{}); err == nil || !strings.Contains(err.Error(), "delivered before it") {
		t.Errorf("got %v", err)
	}
}

// TestNothingIsNoTest: a history without an acknowledged message, or without its end, is no proof.
func TestNothingIsNoTest(t *testing.T) {
	h := New()
	if err := h.Check(Rules{}); err == nil || !strings.Contains(err.Error(), "nothing was tested") || !strings.Contains(err.Error(), "not said what the topic holds") {
		t.Errorf("got %v", err)
	}
}

// TestAThousandAtOnceAreJudgedSoon: the search has no choices, however many publishes overlap or are open to the end.
func TestAThousandAtOnceAreJudgedSoon(t *testing.T) {
	h := New()
	var open []*Publish
	var list []string
	for i := range 1000 {
		body := strings.Repeat("x", i+1)
		open, list = append(open, h.Publish(i, body)), append(list, body)
	}
	for i, p := range open {
		p.Answered(i%3 > 0)
		h.Delivered(0, list[i], 1)
		h.Finished(list[i])
	}
	h.List(list)
	if err := h.Check(Rules{}); err != nil {
		t.Error(err)
	}
}
