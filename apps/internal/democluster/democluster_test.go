package democluster

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
)

func TestMain(m *testing.M) {
	patience, stalled, startWithin, stopWithin = cmdtest.Patience, cmdtest.Patience, cmdtest.Patience, cmdtest.Patience
	cmdtest.Main(m, "cmd/brokerd", "cmd/lookupd", "cmd/admind")
}

// TestDemoOfACluster: the whole demo, short: one leader is killed, one paused, one wiped, and nothing that was acknowledged is missing.
func TestDemoOfACluster(t *testing.T) {
	s := settings{bin: filepath.Dir(cmdtest.Find(t, "brokerd")), producers: 3, consumers: 2, rate: 100, kills: 1, pauses: 1, pause: 500 * time.Millisecond}
	var out strings.Builder
	if err := run(t.Context(), s, &screen{out: &out}); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{"kill -9 of ", "kill -STOP of ", "kill -CONT", "rm -r of the folder", "a candidate, and votes nowhere", "acknowledged messages was finished", "lost 0"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing", want)
		}
	}
	t.Log(out.String())
}

// TestCountsOfTheLedger holds that every way to get it wrong is seen.
func TestCountsOfTheLedger(t *testing.T) {
	l := newLedger(2)
	now := time.Unix(0, 0)
	pass := func(d time.Duration) { // messages come all the while
		for ; d > 0; d -= time.Second {
			now = now.Add(time.Second)
			_, b := l.send(1, 1)
			l.finish(b[0])
			l.look(now)
		}
	}
	l.look(now)
	_, b := l.send(0, 6)
	l.answered(0, 0, 4, true)
	l.answered(0, 4, 2, false)
	l.finish(b[0])
	l.finish(b[0])               // comes twice
	l.finish(b[4])               // was refused, and comes all the same
	l.finish([]byte("0 99 "))    // was never sent
	l.finish(b[1][:len(b[1])-1]) // was changed
	want := counts{sent: 6, acked: 4, refused: 2, finished: 2, open: 3, again: 1, strange: 2}
	if got := l.now(); got != want {
		t.Errorf("%+v, and not %+v", got, want)
	}
	now = now.Add(time.Hour)
	l.look(now) // nothing came: nothing is overdue
	if got := l.now().lost; got != 0 {
		t.Errorf("%d are called lost while nothing comes at all", got)
	}
	pass(overdue + 3*time.Second)
	if got := l.now(); got.lost != 3 || got.open != 3 {
		t.Errorf("overdue: %+v", got)
	}
	if err := l.verdict(); err == nil || !strings.Contains(err.Error(), "message 1 of producer 0") {
		t.Errorf("the verdict is %v", err)
	}
	for _, body := range b[1:4] { // they come after all
		l.finish(body)
	}
	if got := l.now(); got.lost != 0 || got.open != 0 {
		t.Errorf("they came: %+v", got)
	}
	if err := l.verdict(); err == nil || !strings.Contains(err.Error(), "nobody has sent") {
		t.Errorf("the verdict is %v", err)
	}
}

// TestWhatIsOpenIsNotPassedOver: a message without an answer, or open, in front of others that are finished is still looked at.
func TestWhatIsOpenIsNotPassedOver(t *testing.T) {
	l := newLedger(1)
	now := time.Unix(0, 0)
	l.look(now)
	l.send(0, 2) // no answer yet
	for range 60 {
		now = now.Add(time.Second)
		first, b := l.send(0, 1)
		l.answered(0, first, 1, true)
		l.finish(b[0])
		l.look(now)
	}
	l.answered(0, 0, 2, true)
	if c := l.now(); c.open != 2 {
		t.Errorf("%+v", c)
	}
	if err := l.verdict(); err == nil || !strings.Contains(err.Error(), "2 messages") {
		t.Errorf("the verdict is %v", err)
	}
}

// TestWatchCountsWhatWasSentSince: an answer to what was sent before an act is no sign that things go on after it.
func TestWatchCountsWhatWasSentSince(t *testing.T) {
	l := newLedger(1)
	_, b := l.send(0, 2)
	l.begin(time.Now())
	l.answered(0, 0, 2, true)
	l.finish(b[0])
	if p, d := l.back(); p != 0 || d != 0 {
		t.Errorf("back after %v and %v", p, d)
	}
	first, b := l.send(0, 1)
	l.answered(0, first, 1, true)
	l.finish(b[0])
	if p, d := l.back(); p <= 0 || d < p {
		t.Errorf("back after %v and %v", p, d)
	}
}

// TestBodiesAreReadBack: a body says who has sent it, and any change of it is seen.
func TestBodiesAreReadBack(t *testing.T) {
	b := body(3, 1234567)
	if p, n, ok := numbers(b); p != 3 || n != 1234567 || !ok {
		t.Errorf("%d %d %v", p, n, ok)
	}
	for i := range b {
		changed := bytes.Clone(b)
		changed[i] ^= 1
		if _, _, ok := numbers(changed); ok {
			t.Errorf("a changed byte %d is not seen", i)
		}
	}
	for _, strange := range []string{"", " ", "1", "1 2", "-1 -2 x", "1 2 " + string(b)} {
		if _, _, ok := numbers([]byte(strange)); ok {
			t.Errorf("%q is a body", strange)
		}
	}
}

// TestScreen: on a terminal a frame is written over the one before, and no line is longer than the screen; elsewhere there is a line now and then.
func TestScreen(t *testing.T) {
	var out strings.Builder
	s := &screen{out: &out, width: 20}
	s.frame([]string{strings.Repeat("x", 30), "two"}, time.Unix(0, 0))
	s.frame([]string{"a", "b"}, time.Unix(0, 0))
	s.event("stays")
	if got := out.String(); !strings.Contains(got, "\x1b[2A\x1b[Ja\nb\n\x1b[2A\x1b[Jstays\n") || strings.Contains(got, strings.Repeat("x", 21)) {
		t.Errorf("%q", got)
	}
	out.Reset()
	s = &screen{out: &out}
	for i := range 12 {
		s.frame([]string{"line", "more"}, time.Unix(int64(i), 0))
	}
	if got := out.String(); got != "line\nline\nline\n" {
		t.Errorf("%q", got)
	}
}
