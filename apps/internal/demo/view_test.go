package demo

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nsqio/go-nsq"

	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
)

// message returns one as a consumer gets it.
func message(n int, attempts uint16, published time.Time) (*nsq.Message, uint64) {
	m := &nsq.Message{Body: fmt.Appendf(nil, "src/a.go:%d:x", n), Attempts: attempts, Timestamp: published.UnixNano()}
	copy(m.ID[:], fmt.Sprintf("%016x", n))
	id, err := messageID(m.ID)
	if err != nil {
		panic(err)
	}
	return m, id
}

// TestStoryIsOfOneMessage: from its first delivery to its end, whatever comes in between; the next begins when it has stood for a while.
func TestStoryIsOfOneMessage(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newStory("archive")
	s.now = func() time.Time { return now }
	if _, ok := s.shown(); ok {
		t.Error("there is a story before the first message")
	}
	subject, _ := message(1, 1, now.Add(-time.Millisecond))
	other, otherID := message(2, 1, now)
	s.delivered(otherID, other, "consumer 2") // of which nobody hears
	picky{steady{"consumer 1", newTally(10), s}, new(int)}.requeued(subject)
	s.end(otherID, "finished")
	if s.begin(otherID, other) {
		t.Error("another story begins before the first has ended")
	}
	now = now.Add(50 * time.Millisecond)
	again, _ := message(1, 2, now)
	if err := (steady{"consumer 2", newTally(10), s}).HandleMessage(again); err != nil {
		t.Fatal(err)
	}
	tale, _ := s.shown()
	var got []string
	for _, e := range tale.Events {
		got = append(got, fmt.Sprint(e.at.Sub(tale.Published).Milliseconds(), " ", e.text))
	}
	want := []string{"0 published, and kept by the broker", "1 delivered to consumer 1, attempt 1", "1 given back by consumer 1, to be delivered again in 50ms",
		"51 delivered to consumer 2, attempt 2", "51 finished by consumer 2: it is gone from this channel"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") || tale.ID != "0000000000000001" || tale.Body != "src/a.go:1:x" {
		t.Errorf("%q of %s:\n%s", tale.Body, tale.ID, strings.Join(got, "\n"))
	}
	if s.begin(otherID, other) {
		t.Error("another story begins before anybody can have read the first")
	}
	now = now.Add(storyStands)
	orphan, orphanID := message(3, 2, now)
	s.delivered(orphanID, orphan, "consumer 2")
	if tale, _ := s.shown(); tale.ID != "0000000000000003" || !strings.Contains(tale.Events[1].text, "killed") {
		t.Errorf("the killed consumer's message: %+v", tale)
	}
}

// TestFrameFitsItsTerminal: no line is longer than the terminal, and no frame has more lines, whatever is in it.
func TestFrameFitsItsTerminal(t *testing.T) {
	r := &report{source: source{lines: 2_000_000}, published: new(published), start: time.Now()}
	figures := httpapi.Topic{TopicName: topic}
	for _, name := range channels {
		d := &doomed{done: make(chan struct{})}
		c := &crew{channel: name, tally: newTally(2_000_000), story: newStory(name), doomed: d}
		m, id := message(7, 1, time.Now())
		m.Body = []byte("\x1b[2J" + strings.Repeat("x", 500))
		c.story.begin(id, m)
		for i := range 2 * maxEvents {
			c.story.tell(id, "event %d %s", i, strings.Repeat("y", 300))
		}
		r.crews = append(r.crews, c)
		figures.Channels = append(figures.Channels, httpapi.Channel{ChannelName: name, Depth: 1_999_999, InFlightCount: 2500, DeferredCount: 1, ClientCount: 3})
	}
	plain := func(text string) string { return text }
	for _, width := range []int{40, 80, 200} {
		lines := frame(r, progress{published: 2_000_000}, figures, width, plain, time.Now())
		if len(lines) > frameLines {
			t.Errorf("%d lines", len(lines))
		}
		for _, line := range lines {
			if utf8.RuneCountInString(line) > width || strings.Contains(line, "\x1b") {
				t.Errorf("%d columns: %q", width, line)
			}
		}
	}
	var out bytes.Buffer
	v := &view{out: &out, width: 80, height: 24, bold: plain}
	if v.draw(r, progress{}, figures); strings.HasPrefix(out.String(), "\x1b[0A") {
		t.Error("the first frame is drawn over something")
	}
	first := strings.Count(out.String(), "\n")
	if out.Reset(); v.drawn != first {
		t.Errorf("%d lines were drawn, it knows of %d", first, v.drawn)
	}
	if v.draw(r, progress{}, figures); !strings.HasPrefix(out.String(), fmt.Sprintf("\x1b[%dA", first)) {
		t.Errorf("the second frame is not drawn over the first: %q", out.String()[:20])
	}
	if (&view{width: 80, height: 10}).fits() || !v.fits() {
		t.Error("a terminal of 10 lines has room, or one of 24 has not")
	}
}

// TestDemoOnATerminal: the whole demo draws frames, and ends with the table below the last one.
func TestDemoOnATerminal(t *testing.T) {
	binary := cmdtest.Find(t, "brokerd")
	files := map[string]string{}
	for i := range 40 {
		files[fmt.Sprintf("file%d", i)] = strings.Repeat("the same line\n", 1000)
	}
	var out bytes.Buffer
	v := &view{out: &out, width: 100, height: 24, bold: func(text string) string { return text }}
	s := settings{binary: binary, source: tree(t, files), producers: 4, consumers: 3, maxInFlight: 100}
	if err := run(t.Context(), s, &out, v); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{"topic lines", "channel archive, ", "in flight", "the life of message ", "published, and kept by the broker", "given back by consumer 1"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing", want)
		}
	}
	if last := out.String()[strings.LastIndex(out.String(), "\x1b"):]; !strings.Contains(last, "finished lines") {
		t.Errorf("the table does not stand below the last frame: %s", last)
	}
}
