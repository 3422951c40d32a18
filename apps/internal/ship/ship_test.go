package ship

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/apptest"
	"brokerd/cmd/cmdtest"
)

func TestMain(m *testing.M) {
	cmdtest.Main(m, "cmd/brokerd", "cmd/lookupd", "apps/brokerctl")
}

// scene is a folder with logs, a broker, and what was published.
type scene struct {
	*testing.T
	dir    string
	broker *cmdtest.Process
	in     *apptest.Inbox
	args   []string
	want   map[string]int
}

// newScene is one with nothing in it. Its consumer is not there until consume.
func newScene(t *testing.T, args ...string) *scene {
	t.Helper()
	s := &scene{T: t, dir: t.TempDir(), broker: cmdtest.Broker(t, "brokerd", nil), want: make(map[string]int)}
	s.broker.Create(t, "logs", "c")
	s.args = append([]string{"--topic=logs", "--nsqd-tcp-address=" + s.broker.TCP, "--state-file=" + s.path("state"), "--poll-interval=10ms",
		"--rotate-wait=200ms"}, args...)
	return s
}

func (s *scene) path(name string) string { return filepath.Join(s.dir, name) }

// start starts the tool.
func (s *scene) start(args ...string) *cmdtest.Inside {
	s.Helper()
	args = slices.Concat(s.args, cmdtest.ProducerOpts, args)
	return cmdtest.RunInside(s, func(out io.Writer, signals <-chan os.Signal) int {
		return appkit.Run(Command, appkit.Process{Args: args, Environ: cmdtest.Unhurried, Stdout: out, Stderr: out, Signals: signals})
	})
}

// write puts a text behind a file's contents; its lines are to be published.
func (s *scene) write(name, text string) {
	s.Helper()
	f, err := os.OpenFile(s.path(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = io.WriteString(f, text)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		s.Fatal(err)
	}
}

// lines writes so many numbered lines, and wants them.
func (s *scene) lines(name, label string, n int) {
	s.Helper()
	var b strings.Builder
	for i := range n {
		line := fmt.Sprintf("%s %d", label, i)
		s.want[line]++
		b.WriteString(line + "\n")
	}
	s.write(name, b.String())
}

func (s *scene) rename(from, to string) {
	s.Helper()
	if err := os.Rename(s.path(from), s.path(to)); err != nil {
		s.Fatal(err)
	}
}

// copyTruncate does what logrotate does by that name.
func (s *scene) copyTruncate(from, to string) {
	s.Helper()
	text, err := os.ReadFile(s.path(from))
	if err == nil {
		err = os.WriteFile(s.path(to), text, 0o600)
	}
	if err == nil {
		err = os.Truncate(s.path(from), 0)
	}
	if err != nil {
		s.Fatal(err)
	}
}

// expect waits until each wanted message is there, and holds that each came as often as it is wanted.
func (s *scene) expect() {
	s.Helper()
	if s.in == nil {
		s.in = apptest.Consume(s.T, "logs", "c", s.broker)
	}
	cmdtest.Eventually(s, "all is published", 10*time.Second, func() bool { return len(s.in.Bodies()) >= len(s.want) })
	if got := s.in.Bodies(); !maps.Equal(got, s.want) {
		for body := range got {
			if got[body] != s.want[body] {
				s.Errorf("%q came %d times, wanted %d", body, got[body], s.want[body])
			}
		}
		for body := range s.want {
			if got[body] == 0 {
				s.Errorf("%q is missing", body)
			}
		}
	}
}

// positions waits until the state says that all of these files was published up to their ends.
func (s *scene) settled(names ...string) {
	s.Helper()
	cmdtest.Eventually(s, "the state has the ends of the files", 10*time.Second, func() bool {
		text, err := os.ReadFile(s.path("state"))
		if err != nil {
			return false
		}
		state, err := parseState(text)
		if err != nil {
			s.Fatal(err)
		}
		ends := make(map[string]int64)
		for _, p := range state.Files {
			ends[p.Path] = p.Offset
		}
		for _, name := range names {
			info, err := os.Stat(s.path(name))
			if err != nil || ends[s.path(name)] != info.Size() {
				return false
			}
		}
		return len(state.Files) == len(names)
	})
}

func TestFollowsFiles(t *testing.T) {
	s := newScene(t)
	s.lines("a.log", "old", 100)
	s.lines("left.gz", "x", 1)
	delete(s.want, "x 0")
	tool := s.start("--exclude=*.gz", s.path("*.*"), "--path="+s.path("a.log"))
	s.expect()
	s.lines("a.log", "new", 3000)
	s.lines("b.log", "second", 10)
	s.write("b.log", "a line in ")
	s.expect()
	s.write("b.log", "two parts\n\n\n")
	s.want["a line in two parts"] = 1
	s.expect()
	s.settled("a.log", "b.log")
	tool.Stop(t)
}

// TestRotation holds that each line comes once through all kinds of rotation, while the tool runs.
func TestRotation(t *testing.T) {
	s := newScene(t)
	s.lines("a.log", "first", 500)
	tool := s.start(s.path("a.log"))
	s.expect()
	s.rename("a.log", "a.log.1")
	s.lines("a.log.1", "late in the first", 5)
	s.lines("a.log", "second", 500)
	s.write("a.log.1", "without an end")
	s.want["without an end"] = 1
	s.expect()
	s.settled("a.log")
	for round := range 3 {
		s.copyTruncate("a.log", fmt.Sprintf("a.log.copy%d", round))
		s.lines("a.log", fmt.Sprint("behind truncation ", round), 300+round*100)
		s.expect()
	}
	if err := os.Remove(s.path("a.log")); err != nil {
		t.Fatal(err)
	}
	s.lines("a.log", "third", 10)
	s.expect()
	s.settled("a.log")
	tool.Stop(t)
}

// TestBrokerAway holds that nothing is lost of files that are rotated again and again while the broker is away.
func TestBrokerAway(t *testing.T) {
	s := newScene(t, "--batch=50")
	s.lines("a.log", "first", 100)
	s.lines("b.log", "other", 300)
	tool := s.start(s.path("a.log"), s.path("b.log"))
	s.settled("a.log", "b.log")
	s.broker.Kill(t)
	seen := func(what string, times int) {
		t.Helper()
		cmdtest.Eventually(t, what, 10*time.Second, func() bool { return strings.Count(tool.String(), what) >= times })
	}
	for round := range 3 {
		s.lines("a.log", fmt.Sprint("away ", round), 200)
		s.rename("a.log", fmt.Sprint("a.log.", round))
		s.lines("a.log", fmt.Sprint("away again ", round), 20)
		seen("following a file", 3+round)
	}
	s.lines("b.log", "unread", 100)
	s.copyTruncate("b.log", "b.log.1")
	s.lines("b.log", "anew", 10)
	seen("reading on in a copy", 1)
	s.broker.Start(t)
	s.expect()
	s.settled("a.log", "b.log")
	tool.Stop(t)
}

// TestRestart holds that each line comes once though the tool is stopped and files are rotated while it is not there.
func TestRestart(t *testing.T) {
	s := newScene(t)
	s.lines("a.log", "first", 700)
	s.lines("b.log", "other", 700)
	s.write("b.log", "half ")
	tool := s.start(s.path("[ab].log"))
	s.expect()
	tool.Stop(t)

	s.lines("a.log", "unseen", 50)
	s.rename("a.log", "a.log.2")
	s.lines("a.log", "never seen", 50)
	s.rename("a.log", "a.log.1")
	s.lines("a.log", "last", 50)
	s.write("b.log", "a line\n")
	s.want["half a line"] = 1
	s.lines("b.log", "more", 50)
	s.copyTruncate("b.log", "b.log-20260101")
	s.lines("b.log", "after", 5)
	tool = s.start(s.path("[ab].log"))
	s.expect()
	s.settled("a.log", "b.log")
	tool.Stop(t)

	tool = s.start(s.path("[ab].log"))
	s.lines("a.log", "end", 5)
	s.expect()
	tool.Stop(t)
}

// TestRotatedBeforeAnybodyLooked holds that files are found which were made and rotated away between two looks, and while the tool was not
// there though it followed nothing when it ended; and that files which are done with are not read again, only what is put behind them.
func TestRotatedBeforeAnybodyLooked(t *testing.T) {
	s := newScene(t)
	s.lines("b.log.1", "an old log", 10) // is not followed
	clear(s.want)
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(s.path("b.log.1"), past, past); err != nil {
		t.Fatal(err)
	}
	pattern := s.path("*.log")
	burst := func(label string) {
		for i := range 5 {
			s.lines("a.log", fmt.Sprint(label, " ", i), 20)
			s.rename("a.log", fmt.Sprintf("a.log.%s%d", map[string]string{"first": "2", "second": "3"}[label], i))
		}
	}
	s.lines("a.log", "begin", 10)
	tool := s.start(pattern)
	s.expect()
	burst("first")
	s.expect()
	s.settled()
	tool.Stop(t)
	burst("second")
	tool = s.start(pattern)
	s.expect()
	s.settled()
	s.lines("a.log.34", "late", 3)
	s.lines("a.log.21", "later", 3)
	s.lines("a.log", "the last file", 3)
	s.expect()
	s.settled("a.log")
	tool.Stop(t)
}

func TestSettings(t *testing.T) {
	s := newScene(t)
	s.write("a.log", "before\n")
	for _, c := range []struct{ args, want string }{
		{"--topic=", "--topic required"},
		{"", "--path or an argument required"},
		{"--from=middle x", `--from must be start or end, not "middle"`},
		{"--multiline-start=a --multiline-continue=b x", "use --multiline-start or --multiline-continue not both"},
		{"--multiline-start=( x", "--multiline-start: error parsing regexp"},
		{"--topic=a/b x", "--topic is invalid"},
		{"[x", "the pattern"},
		{"--batch=0 x", "must be at least 1"},
	} {
		tool := s.start(strings.Fields(c.args)...)
		if code := tool.Wait(); code != appkit.ExitUsage || !strings.Contains(tool.String(), c.want) {
			t.Errorf("%q: exit code %d, %s", c.args, code, tool.String())
		}
	}
	first := s.start("--from=end", s.path("a.log"))
	s.settled("a.log")
	second := s.start(s.path("a.log"))
	if code := second.Wait(); code != appkit.ExitFailed || !strings.Contains(second.String(), "another process holds it") {
		t.Errorf("the second ended with %d: %s", code, second.String())
	}
	s.lines("a.log", "later", 3)
	s.lines("b.log", "x", 0)
	s.expect()
	first.Stop(t)

	if err := os.WriteFile(s.path("state"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	third := s.start(s.path("a.log"))
	if code := third.Wait(); code != appkit.ExitFailed || !strings.Contains(third.String(), "move it away to begin anew") {
		t.Errorf("with a state that cannot be read it ended with %d: %s", code, third.String())
	}
	if text, err := os.ReadFile(s.path("state")); err != nil || string(text) != "nonsense" {
		t.Errorf("the state that could not be read is %q now", text)
	}
}

func TestMessagesOfSeveralLines(t *testing.T) {
	s := newScene(t, "--multiline-continue=^[ \t]", "--multiline-timeout=50ms")
	s.write("a.log", "one\ntwo\n  at a\n  at b\nthree\n")
	tool := s.start(s.path("a.log"))
	s.want["one"], s.want["two\n  at a\n  at b"], s.want["three"] = 1, 1, 1
	s.expect()
	s.settled("a.log")
	tool.Stop(t)
}

func TestOnceAndLongLines(t *testing.T) {
	s := newScene(t, "--once", "--max-message-bytes=1000", "--rate=200")
	var b strings.Builder
	for i := range 7000 / 5 {
		fmt.Fprintf(&b, "%04d ", i)
	}
	s.write("a.log", "short\n"+b.String()+"\nno end")
	for part := range slices.Chunk([]byte(b.String()), 1000) {
		s.want[string(part)] = 1
	}
	s.want["short"], s.want["no end"] = 1, 1
	tool := s.start(s.path("a.log"))
	if code := tool.Wait(); code != appkit.ExitOK {
		t.Errorf("exit code %d", code)
	}
	s.expect()
	tool = s.start(s.path("a.log"))
	tool.Wait()
	s.lines("a.log", "", 0)
	s.expect()
}

// TestMessageThatIsRefused holds that the tool says which file has it, and that what stands before it is published.
func TestMessageThatIsRefused(t *testing.T) {
	s := newScene(t)
	s.broker = cmdtest.Broker(t, "brokerd", nil, "--max-msg-size=100")
	s.broker.Create(t, "logs", "c")
	s.args[1] = "--nsqd-tcp-address=" + s.broker.TCP
	s.lines("a.log", "good", 50)
	s.write("a.log", strings.Repeat("x", 101)+"\n")
	tool := s.start(s.path("a.log"))
	if code := tool.Wait(); code != appkit.ExitFailed || !strings.Contains(tool.String(), "the broker refuses a message of 101 bytes of "+s.path("a.log")) {
		t.Errorf("exit code %d, %s", code, tool.String())
	}
	s.expect()
}
