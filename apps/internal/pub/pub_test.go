package pub

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/apptest"
	"brokerd/cmd/cmdtest"
)

func TestMain(m *testing.M) { cmdtest.Main(m, "cmd/brokerd", "cmd/lookupd") }

// run is one run of the tool to its end.
func run(t *testing.T, input io.Reader, args ...string) (code int, log string) {
	t.Helper()
	out := new(cmdtest.Screen)
	args = slices.Concat(cmdtest.ProducerOpts, args)
	code = appkit.Run(Command, appkit.Process{Args: args, Environ: cmdtest.Unhurried, Stdin: input, Stdout: out, Stderr: out})
	return code, out.String()
}

// expect waits until a consumer has each body so often, and holds that it has nothing else.
func expect(t *testing.T, in *apptest.Inbox, want map[string]int) {
	t.Helper()
	total := 0
	for _, n := range want {
		total += n
	}
	cmdtest.Eventually(t, "all is delivered", 10*time.Second, func() bool { return len(in.Order()) >= total })
	if got := in.Bodies(); !maps.Equal(got, want) {
		t.Errorf("got %.300v, wanted %.300v", got, want)
	}
}

func once(bodies ...string) map[string]int {
	want := make(map[string]int)
	for _, body := range bodies {
		want[body]++
	}
	return want
}

func TestLinesAreMessages(t *testing.T) {
	for _, name := range []string{"brokerd", "nsqd"} {
		t.Run(name, func(t *testing.T) { linesAreMessages(t, cmdtest.Broker(t, name, nil)) })
	}
}

func linesAreMessages(t *testing.T, b *cmdtest.Process) {
	for i, c := range []struct{ args, input, want string }{
		{"", "a\nb\n", "a b"},
		{"", "abc", "abc"}, // to_nsq publishes ab
		{"--delimiter=,", "a,b\n", "a b\n"},
		{"--delimiter=\\0 --batch=1", "a\x00\x00b", "a b"},
		{"--delimiter=--", "a--b-c", "a b-c"},
		{"--batch-bytes=1", "aa\nbb\ncc", "aa bb cc"},
		{"", "", ""},
		{"", "\n\n", ""},
	} {
		topic := fmt.Sprint("t", i)
		b.Create(t, topic, "c")
		in := apptest.Consume(t, topic, "c", b)
		code, log := run(t, strings.NewReader(c.input), append(strings.Fields(c.args), "--topic="+topic, "--nsqd-tcp-address="+b.TCP)...)
		if code != appkit.ExitOK {
			t.Errorf("%q: exit code %d\n%s", c.input, code, log)
		}
		want := once()
		if c.want != "" {
			want = once(strings.Split(c.want, " ")...)
		}
		expect(t, in, want)
	}
}

func TestSettingsThatDoNotFit(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--nsqd-tcp-address=a:1", "--topic or an argument required"},
		{"--topic=t", "--nsqd-tcp-address required"},
		{"--topic=t/u --nsqd-tcp-address=a:1", "--topic is invalid"},
		{"--topic=t --nsqd-tcp-address=a:1 --delimiter=", "--delimiter must be at least a single byte"},
		{"--topic=t --nsqd-tcp-address=a:1 --delimiter=\\q", "--delimiter: "},
		{"--topic=t --nsqd-tcp-address=a:1 --mode=some", `--mode must be all or one, not "some"`},
		{"--topic=t --nsqd-tcp-address=a:1 --rate=-1", "must not be negative"},
		{"--topic=t --nsqd-tcp-address=a:1 --producer-opt=nonsense,1", "nonsense"},
	} {
		if code, log := run(t, strings.NewReader("x"), strings.Fields(c.args)...); code != appkit.ExitUsage || !strings.Contains(log, c.want) {
			t.Errorf("%q: exit code %d, %s", c.args, code, log)
		}
	}
}

// TestModes holds that each message is at every broker, or at one of them in turn, and that with one a dead broker loses nothing.
func TestModes(t *testing.T) {
	brokers := []*cmdtest.Process{cmdtest.Broker(t, "brokerd", nil), cmdtest.Broker(t, "brokerd", nil)}
	var lines []string
	for i := range 400 {
		lines = append(lines, fmt.Sprint("line ", i))
	}
	input := func() io.Reader { return strings.NewReader(strings.Join(lines, "\n") + "\n") }
	each := []string{"--nsqd-tcp-address=" + brokers[0].TCP, "--nsqd-tcp-address=" + brokers[1].TCP, "--batch=10"}

	for _, b := range brokers {
		b.Create(t, "all", "c")
		b.Create(t, "one", "c")
	}
	if code, log := run(t, input(), append(each, "--topic=all")...); code != appkit.ExitOK {
		t.Fatal(log)
	}
	for _, b := range brokers {
		expect(t, apptest.Consume(t, "all", "c", b), once(lines...))
	}
	if code, log := run(t, input(), append(each, "--topic=one", "--mode=one")...); code != appkit.ExitOK {
		t.Fatal(log)
	}
	for _, b := range brokers {
		if n := b.Topic(t, "one").MessageCount; n != 200 {
			t.Errorf("%s has %d of 400 messages", b.TCP, n)
		}
	}
	brokers[0].Kill(t)
	if code, log := run(t, input(), append(each, "--topic=one", "--mode=one")...); code != appkit.ExitOK {
		t.Fatal(log)
	}
	if n := brokers[1].Topic(t, "one").MessageCount; n != 600 {
		t.Errorf("the broker that is left has %d messages, wanted 200 and 400", n)
	}
	code, log := run(t, input(), append(each, "--topic=all", "--retry=0s")...)
	if code != appkit.ExitFailed || !strings.Contains(log, "published 0 messages, then: not acknowledged within 0s") {
		t.Errorf("with a dead broker among all: exit code %d, %s", code, log)
	}
}

// TestBrokerThatComesBack holds that a broker's restart in the middle costs nothing.
func TestBrokerThatComesBack(t *testing.T) {
	b := cmdtest.Broker(t, "brokerd", nil)
	b.Create(t, "t", "c")
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	ended := make(chan int)
	go func() {
		code, _ := run(t, reader, "--topic=t", "--nsqd-tcp-address="+b.TCP)
		ended <- code
	}()
	want := make(map[string]int)
	for round := range 4 {
		var text strings.Builder
		for i := range 1000 {
			line := fmt.Sprint(round, " ", i)
			want[line] = 1
			fmt.Fprintln(&text, line)
		}
		if round == 2 {
			b.Kill(t)
		}
		if _, err := io.WriteString(writer, text.String()); err != nil {
			t.Fatal(err)
		}
		if round == 2 {
			b.Start(t)
		}
		cmdtest.Eventually(t, "they are there without the input's end", 10*time.Second, func() bool {
			return b.Channel(t, "t", "c").Depth >= int64(1000*(round+1))
		})
	}
	writer.Close()
	if code := <-ended; code != appkit.ExitOK {
		t.Errorf("exit code %d", code)
	}
	in := apptest.Consume(t, "t", "c", b)
	cmdtest.Eventually(t, "all is delivered", 10*time.Second, func() bool { return len(in.Bodies()) >= len(want) })
}

// TestMessageThatIsRefused holds that what stands before it is published, and that it is told apart.
func TestMessageThatIsRefused(t *testing.T) {
	b := cmdtest.Broker(t, "brokerd", nil, "--max-msg-size=1000", "--max-body-size=5000")
	b.Create(t, "t", "c")
	var lines []string
	for i := range 300 {
		lines = append(lines, strings.Repeat("x", i))
	}
	lines[217] = strings.Repeat("y", 1001)
	code, log := run(t, strings.NewReader(strings.Join(lines, "\n")), "--topic=t", "--nsqd-tcp-address="+b.TCP)
	if code != appkit.ExitFailed || !strings.Contains(log, "a message of 1001 bytes") {
		t.Errorf("exit code %d, %s", code, log)
	}
	in := apptest.Consume(t, "t", "c", b)
	cmdtest.Eventually(t, "what stood before is there", 10*time.Second, func() bool { return len(in.Bodies()) >= 216 })
	if bodies := slices.Sorted(maps.Keys(in.Bodies())); bodies[len(bodies)-1] != lines[216] {
		t.Errorf("published up to %d bytes", len(bodies[len(bodies)-1]))
	}
}

func TestRate(t *testing.T) {
	b := cmdtest.Broker(t, "brokerd", nil)
	began := time.Now()
	if code, log := run(t, strings.NewReader(strings.Repeat("x\n", 101)), "--topic=t", "--nsqd-tcp-address="+b.TCP, "--rate=100"); code != appkit.ExitOK {
		t.Fatal(log)
	}
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("101 messages at 100 a second took %v", took)
	}
}

// TestStopped holds that a signal ends it while the input has nothing more, with what was read acknowledged.
func TestStopped(t *testing.T) {
	b := cmdtest.Broker(t, "brokerd", nil)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	tool := cmdtest.RunInside(t, func(out io.Writer, signals <-chan os.Signal) int {
		return appkit.Run(Command, appkit.Process{Args: []string{"--topic=t", "--nsqd-tcp-address=" + b.TCP}, Environ: cmdtest.Unhurried, Stdin: reader,
			Stdout: out, Stderr: out, Signals: signals})
	})
	if _, err := io.WriteString(writer, "one\n"); err != nil {
		t.Fatal(err)
	}
	cmdtest.Eventually(t, "it is published", 10*time.Second, func() bool { return b.Topic(t, "t").MessageCount == 1 })
	tool.Stop(t)
	writer.Close() // which ends the goroutine that reads
}

// TestRouteByKey: each key has one broker, whatever the order of the addresses and how often pub is started; nothing is lost or doubled.
func TestRouteByKey(t *testing.T) {
	brokers := []*cmdtest.Process{cmdtest.Broker(t, "brokerd", nil), cmdtest.Broker(t, "brokerd", nil), cmdtest.Broker(t, "brokerd", nil)}
	var lines []string
	for i := range 300 {
		lines = append(lines, fmt.Sprintf(`{"order":"o%d","n":%d}`, i%20, i))
	}
	lines = append(lines, "no JSON")
	var boxes []*apptest.Inbox
	for _, b := range brokers {
		b.Create(t, "t", "c")
		boxes = append(boxes, apptest.Consume(t, "t", "c", b))
	}
	for part := range slices.Chunk(lines, 151) {
		slices.Reverse(brokers)
		args := []string{"--topic=t", "--route-by-key=json:order", "--batch=40"}
		for _, b := range brokers {
			args = append(args, "--nsqd-tcp-address="+b.TCP)
		}
		if code, log := run(t, strings.NewReader(strings.Join(part, "\n")), args...); code != appkit.ExitOK {
			t.Fatal(log)
		}
	}
	all := func() (n int) {
		for _, in := range boxes {
			n += len(in.Order())
		}
		return n
	}
	cmdtest.Eventually(t, "all is delivered", 10*time.Second, func() bool { return all() >= len(lines) })
	owner, got := map[string]int{}, map[string]int{}
	for i, in := range boxes {
		for body, n := range in.Bodies() {
			got[body] += n
			key, _, ok := strings.Cut(body, ",")
			if before, known := owner[key]; ok && known && before != i {
				t.Errorf("%s is on brokers %d and %d", key, before, i)
			}
			owner[key] = i
		}
	}
	if !maps.Equal(got, once(lines...)) {
		t.Errorf("got %.300v", got)
	}
	for _, wrong := range []string{"--route-by-key=word", "--route-by-key=json", "--route-by-key=body --mode=all"} {
		if code, log := run(t, strings.NewReader("x"), append(strings.Fields(wrong), "--topic=t", "--nsqd-tcp-address=a:1")...); code != appkit.ExitUsage || !strings.Contains(log, "route-by-key") {
			t.Errorf("%s: exit code %d, %s", wrong, code, log)
		}
	}
}
