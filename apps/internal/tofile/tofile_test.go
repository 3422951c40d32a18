package tofile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/apptest"
	"brokerd/cmd/cmdtest"

	"github.com/nsqio/go-nsq"
)

// start runs the tool within the test.
func start(t *testing.T, args ...string) *cmdtest.Inside {
	t.Helper()
	args = slices.Concat(args, cmdtest.ConsumerOpts)
	return cmdtest.RunInside(t, func(out io.Writer, signals <-chan os.Signal) int {
		return appkit.Run(Command, appkit.Process{Args: args, Environ: cmdtest.Unhurried, Stdout: out, Stderr: out, Signals: signals})
	})
}

// files returns the files below a folder by their relative paths, without records.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil // it went meanwhile
		}
		if err == nil && entry.IsDir() && entry.Name() == recordFolder {
			return filepath.SkipDir
		}
		if err == nil && !entry.IsDir() {
			path, err = filepath.Rel(dir, path)
			list = append(list, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// contents returns what is in a file, unpacked by the standard tool for its suffix.
func contents(t *testing.T, path string) string {
	t.Helper()
	tool := map[string]string{".gz": "gzip", ".zst": "zstd"}[filepath.Ext(path)]
	if tool == "" {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if _, err := exec.LookPath(tool); err != nil {
		t.Skipf("NOT RUN: %s is not on PATH", tool)
	}
	command := exec.Command(tool, "-dc", path)
	var wrong strings.Builder
	command.Stderr = &wrong
	text, err := command.Output()
	if err != nil {
		t.Errorf("%s cannot read %s: %v, %s", tool, path, err, wrong.String())
	}
	return string(text)
}

// archived returns how often each line is in the files below a folder.
func archived(t *testing.T, dir string) map[string]int {
	t.Helper()
	lines := make(map[string]int)
	for _, name := range files(t, dir) {
		text := contents(t, filepath.Join(dir, name))
		if text != "" && !strings.HasSuffix(text, "\n") {
			t.Errorf("%s ends in the middle of a line", name)
		}
		for line := range strings.Lines(text) {
			lines[strings.TrimSuffix(line, "\n")]++
		}
	}
	return lines
}

func numbered(prefix string, n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = fmt.Sprintf("%s %d", prefix, i)
	}
	return lines
}

// expectOnce holds that the files below dir have each of the lines once, and no others.
func expectOnce(t *testing.T, dir string, lines []string) {
	t.Helper()
	want := make(map[string]int)
	for _, line := range lines {
		want[line]++
	}
	if got := archived(t, dir); !maps.Equal(got, want) {
		t.Errorf("%d different lines are there, wanted %d; %.300v", len(got), len(want), got)
	}
}

// drained waits until all that was published to a topic has come to its only channel, and nothing is left there: a broker takes messages into the
// topic, and may hand them on after it has answered.
func drained(t *testing.T, b *cmdtest.Process, topic, channel string) {
	t.Helper()
	cmdtest.Eventually(t, "the channel is empty", 20*time.Second, func() bool {
		f := b.Topic(t, topic)
		c := cmdtest.ChannelOf(f, channel)
		return c.ChannelName != "" && c.MessageCount == f.MessageCount && f.Depth+c.Depth+int64(c.InFlightCount)+int64(c.DeferredCount) == 0
	})
}

// TestWhatComesOut holds what is in which files, for each way to write them.
func TestWhatComesOut(t *testing.T) {
	for _, name := range []string{"brokerd", "nsqd"} {
		t.Run(name, func(t *testing.T) { whatComesOut(t, cmdtest.Broker(t, name, nil)) })
	}
}

func whatComesOut(t *testing.T, b *cmdtest.Process) {
	for _, c := range []struct {
		name  string
		args  string
		files int // at least
	}{
		{"plain", "", 1},
		{"gzip", "--gzip", 1},
		{"zstd", "--zstd", 1},
		{"sizes", "--rotate-size=2000", 5},
		{"sizes of gzip", "--gzip --gzip-level=1 --rotate-size=2000", 5},
		{"intervals", "--rotate-interval=1ns --max-in-flight=5 --skip-empty-files", 5},
		{"work folder", "--work-dir=WORK --rotate-size=2000", 5},
		{"folders", "--filename-format=<TOPIC>/x/<DATETIME><REV> --datetime-format=%Y/%m", 1},
		{"another file system", "--work-dir=ELSEWHERE --gzip", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			topic, out, work := strings.ReplaceAll(c.name, " ", "_"), t.TempDir(), t.TempDir()
			lines := numbered(topic, 1000)
			b.Create(t, topic, "nsq_to_file")
			apptest.Publish(t, b, topic, lines...)
			args := strings.Replace(c.args, "WORK", work, 1)
			if strings.Contains(args, "ELSEWHERE") {
				elsewhere, err := os.MkdirTemp("/dev/shm", "tofile-")
				if err != nil {
					t.Skip("NOT RUN: there is no second file system:", err)
				}
				t.Cleanup(func() { os.RemoveAll(elsewhere) })
				work = elsewhere
				args = strings.Replace(args, "ELSEWHERE", work, 1)
			}
			tool := start(t, append(strings.Fields(args), "--topic="+topic, "--nsqd-tcp-address="+b.TCP, "--output-dir="+out, "--sync-interval=50ms")...)
			drained(t, b, topic, "nsq_to_file")
			tool.Stop(t)
			expectOnce(t, out, lines)
			names := files(t, out)
			if len(names) < c.files {
				t.Errorf("files %q", names)
			}
			if left := files(t, work); len(left) > 0 {
				t.Errorf("left in the work folder: %q", left)
			}
		})
	}
}

// TestHangupClosesFiles holds that SIGHUP begins new files, also with a work folder, and that a file that exists is never overwritten.
func TestHangupClosesFiles(t *testing.T) {
	for _, args := range []string{"--work-dir=WORK --skip-empty-files", "--gzip", "--work-dir=WORK"} {
		t.Run(args, func(t *testing.T) {
			b, out := cmdtest.Broker(t, "brokerd", nil), t.TempDir()
			b.Create(t, "t", "c")
			tool := start(t, append(strings.Fields(strings.Replace(args, "WORK", t.TempDir(), 1)), "--topic=t", "--channel=c",
				"--nsqd-tcp-address="+b.TCP, "--output-dir="+out, "--sync-interval=30ms", "--datetime-format=x", "--host-identifier=h")...)
			var all []string
			for round := range 3 {
				lines := numbered(fmt.Sprint("round", round), 100)
				all = append(all, lines...)
				apptest.Publish(t, b, "t", lines...)
				drained(t, b, "t", "c")
				before := strings.Count(tool.String(), "closed a file")
				tool.Signal(syscall.SIGHUP)
				cmdtest.Eventually(t, "the file is closed", 10*time.Second, func() bool { return strings.Count(tool.String(), "closed a file") > before })
			}
			tool.Stop(t)
			expectOnce(t, out, all)
			names := files(t, out)
			if len(names) < 3 || !strings.HasPrefix(names[0], "t.h-000000.x.log") || !strings.HasPrefix(names[2], "t.h-000002.x.log") {
				t.Errorf("files %q", names)
			}
		})
	}
}

// TestRestartContinuesAPlainFile holds what nsq_to_file's users rely on: one file an hour, whoever wrote its beginning.
func TestRestartContinuesAPlainFile(t *testing.T) {
	b, out := cmdtest.Broker(t, "brokerd", nil), t.TempDir()
	b.Create(t, "t", "nsq_to_file")
	file := filepath.Join(out, "all")
	if err := os.WriteFile(file, []byte("an earlier line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	lines := []string{"an earlier line"}
	for round := range 2 {
		more := numbered(fmt.Sprint("round", round), 300)
		lines = append(lines, more...)
		apptest.Publish(t, b, "t", more...)
		tool := start(t, "--topic=t", "--nsqd-tcp-address="+b.TCP, "--output-dir="+out, "--filename-format=all", "--sync-interval=30ms")
		drained(t, b, "t", "nsq_to_file")
		tool.Stop(t)
	}
	expectOnce(t, out, lines)
	if names := files(t, out); !slices.Equal(names, []string{"all"}) {
		t.Errorf("files %q", names)
	}
}

// TestFileThatIsMovedAway holds that nothing is written to a file that has lost its name.
func TestFileThatIsMovedAway(t *testing.T) {
	b, out := cmdtest.Broker(t, "brokerd", nil), t.TempDir()
	b.Create(t, "t", "nsq_to_file")
	tool := start(t, "--topic=t", "--nsqd-tcp-address="+b.TCP, "--output-dir="+out, "--filename-format=all", "--sync-interval=30ms")
	apptest.Publish(t, b, "t", "one")
	drained(t, b, "t", "nsq_to_file")
	if err := os.Rename(filepath.Join(out, "all"), filepath.Join(out, "moved")); err != nil {
		t.Fatal(err)
	}
	apptest.Publish(t, b, "t", "two")
	drained(t, b, "t", "nsq_to_file")
	if err := os.Remove(filepath.Join(out, "all")); err != nil {
		t.Fatal(err)
	}
	apptest.Publish(t, b, "t", "three")
	drained(t, b, "t", "nsq_to_file")
	tool.Stop(t)
	expectOnce(t, out, []string{"one", "three"})
}

// TestTopicsByPattern holds that topics are found at once and later, though one lookup is dead, and that others are left alone.
func TestTopicsByPattern(t *testing.T) {
	lookup, out := cmdtest.Lookup(t, "lookupd"), t.TempDir()
	b := cmdtest.Broker(t, "brokerd", []*cmdtest.Process{lookup})
	apptest.Publish(t, b, "orders.a", "a1")
	apptest.Publish(t, b, "other", "x")
	known := func(topic string) func() bool {
		return func() bool {
			var answer struct{ Topics []string }
			lookup.Get(t, "/topics", &answer)
			return slices.Contains(answer.Topics, topic)
		}
	}
	cmdtest.Eventually(t, "the lookup knows the topic", 10*time.Second, known("orders.a"))
	tool := start(t, "--topic-pattern=^orders", "--topic-refresh=100ms", "--lookupd-http-address="+cmdtest.FreeAddress(t),
		"--lookupd-http-address="+lookup.HTTP, "--output-dir="+out, "--sync-interval=30ms", "--filename-format=<TOPIC>")
	drained(t, b, "orders.a", "nsq_to_file")
	apptest.Publish(t, b, "orders.b", "b1", "b2")
	drained(t, b, "orders.b", "nsq_to_file")
	tool.Stop(t)
	expectOnce(t, out, []string{"a1", "b1", "b2"})
	if names := files(t, out); !slices.Equal(names, []string{"orders.a", "orders.b"}) {
		t.Errorf("files %q", names)
	}
}

// TestNothingIsGivenUp holds that a message is archived however often it was delivered before.
func TestNothingIsGivenUp(t *testing.T) {
	b, out := cmdtest.Broker(t, "brokerd", nil), t.TempDir()
	b.Create(t, "t", "nsq_to_file")
	apptest.Publish(t, b, "t", "one")
	requeueOften(t, b, "t", "nsq_to_file", 9)
	tool := start(t, "--topic=t", "--nsqd-tcp-address="+b.TCP, "--output-dir="+out, "--sync-interval=30ms")
	drained(t, b, "t", "nsq_to_file")
	tool.Stop(t)
	expectOnce(t, out, []string{"one"})
}

// TestTwoProcessesOfOneFile holds that two tools never write one file.
func TestTwoProcessesOfOneFile(t *testing.T) {
	b, out := cmdtest.Broker(t, "brokerd", nil), t.TempDir()
	b.Create(t, "t", "nsq_to_file")
	args := []string{"--topic=t", "--nsqd-tcp-address=" + b.TCP, "--output-dir=" + out, "--filename-format=all", "--sync-interval=30ms"}
	first := start(t, args...)
	apptest.Publish(t, b, "t", "one")
	drained(t, b, "t", "nsq_to_file")
	second := cmdtest.Verb(t, "tofile", args...)
	if code := second.Wait(t, 10*time.Second); code != appkit.ExitFailed || !strings.Contains(second.LastWords(), "another process writes it") {
		t.Errorf("the second ended with %d: %s", code, second.LastWords())
	}
	apptest.Publish(t, b, "t", "two")
	drained(t, b, "t", "nsq_to_file")
	first.Stop(t)
	expectOnce(t, out, []string{"one", "two"})
}

// requeueOften takes a channel's one message and gives it back so many times.
func requeueOften(t *testing.T, b *cmdtest.Process, topic, channel string, times int) {
	t.Helper()
	config := cmdtest.ClientConfig()
	config.MaxAttempts = 0
	consumer, err := nsq.NewConsumer(topic, channel, config)
	if err != nil {
		t.Fatal(err)
	}
	consumer.SetLogger(nil, nsq.LogLevelError)
	var seen atomic.Int32
	consumer.AddHandler(nsq.HandlerFunc(func(m *nsq.Message) error {
		m.DisableAutoResponse()
		seen.Add(1)
		m.RequeueWithoutBackoff(0)
		return nil
	}))
	if err := consumer.ConnectToNSQD(b.TCP); err != nil {
		t.Fatal(err)
	}
	cmdtest.Eventually(t, "it was requeued often", 10*time.Second, func() bool { return int(seen.Load()) >= times })
	consumer.Stop()
	<-consumer.StopChan
}
