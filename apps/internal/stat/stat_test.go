package stat

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"brokerd/apps/internal/apptest"
	"brokerd/apps/internal/fleet"
	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
)

func TestMain(m *testing.M) { cmdtest.Main(m, "cmd/brokerd", "cmd/lookupd", "apps/brokerctl") }

// answer is what a broker tells of topic t with channel c.
func answer(address string, messages uint64, depth, disk int64, inFlight, deferred int) fleet.Answer[httpapi.Stats] {
	return fleet.Answer[httpapi.Stats]{Address: address, Value: httpapi.Stats{Topics: []httpapi.Topic{{
		TopicName: "t", MessageCount: messages, Channels: []httpapi.Channel{{
			ChannelName: "c", MessageCount: messages, Depth: depth, BackendDepth: disk, InFlightCount: inFlight,
			DeferredCount: deferred, RequeueCount: 1, TimeoutCount: 2, ClientCount: 3,
		}},
	}}}}
}

func channelRow(t *testing.T, rows []Row) Row {
	t.Helper()
	i := slices.IndexFunc(rows, func(r Row) bool { return r.Channel == "c" })
	if i < 0 {
		t.Fatalf("no row of the channel among %+v", rows)
	}
	return rows[i]
}

// TestRates covers sums and rates over two brokers, of which one is away for a round and one starts anew.
func TestRates(t *testing.T) {
	var s sampler
	now := time.Unix(1000, 0)
	r := channelRow(t, s.add(now, []fleet.Answer[httpapi.Stats]{answer("a", 100, 40, 10, 5, 5), answer("b", 1000, 0, 0, 0, 0)}))
	want := Row{Time: now, Topic: "t", Channel: "c", Depth: 40, Memory: 30, Disk: 10, InFlight: 5, Deferred: 5, Requeues: 2,
		Timeouts: 4, Messages: 1100, Clients: 6, Brokers: 2}
	if r != want {
		t.Errorf("first\n got %+v\nwant %+v", r, want)
	}
	now = now.Add(4 * time.Second) // 50 finished of a before, now 120
	gone := fleet.Answer[httpapi.Stats]{Address: "b", Err: errors.New("down")}
	r = channelRow(t, s.add(now, []fleet.Answer[httpapi.Stats]{answer("a", 140, 10, 10, 5, 5), gone}))
	if r.Ingress != 10 || r.Egress != 17.5 || r.Brokers != 1 || r.Messages != 140 {
		t.Errorf("without b: %+v", r)
	}
	now = now.Add(4 * time.Second)
	r = channelRow(t, s.add(now, []fleet.Answer[httpapi.Stats]{answer("a", 8, 0, 0, 0, 0), answer("b", 1080, 0, 0, 0, 0)}))
	if r.Ingress != 8/4.+80/8. || r.Egress != 8/4.+80/8. {
		t.Errorf("a started anew, b over both rounds: %+v", r)
	}
}

// TestNsqStatLines covers the columns' widths and the header.
func TestNsqStatLines(t *testing.T) {
	line := nsqStatLine(Row{Ingress: 12.9, Egress: 1, Depth: 3, Memory: 2, Disk: 1, InFlight: 4, Deferred: 5, Requeues: 6, Timeouts: 7,
		Messages: 123456789012, Clients: 9})
	if want := "     12       1 |       3       2       1     4     5 |       6       7 123456789012       9\n"; line != want {
		t.Errorf("got  %swant %s", line, want)
	}
	var out strings.Builder
	v := &nsqStatView{out: &out}
	for range 26 {
		if err := v.show(time.Time{}, []Row{{Topic: "t"}, {Topic: "t", Channel: "c"}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Split(out.String(), "\n")
	for _, at := range []int{0, 27} {
		if !strings.HasPrefix(lines[at], "------rate------+") || len(lines[at+1]) != len(line)-1 || len(lines[at]) != len(line)-1 {
			t.Errorf("the header is not at line %d, or not as wide as the lines:\n%s", at, out.String())
		}
	}
	if len(lines) != 26+4+1 {
		t.Errorf("%d lines", len(lines))
	}
}

func TestTable(t *testing.T) {
	rows := []Row{
		{Topic: "a"}, {Topic: "a", Channel: "x", Depth: 1000, Ingress: 1.25, rated: true, Paused: true}, {Topic: "a", Channel: "y", Depth: 2000},
		{Topic: "b", Depth: 5}, {Topic: "b", Channel: "z"}, {Topic: "c"},
	}
	got := table(rows, orders["depth"], 0, 0)
	var names []string
	for _, line := range got {
		names = append(names, strings.Join(strings.Fields(line)[:2], " "))
		if len(line) != len(got[0]) {
			t.Errorf("%q is not as wide as %q", line, got[0])
		}
	}
	if want := []string{"TOPIC CHANNEL", "a y", "a x", "b (topic)", "b z", "c (topic)"}; !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
	if !strings.Contains(got[2], "x (paused)") || !strings.Contains(got[2], "1,000") || !strings.Contains(got[2], " 1.2 ") {
		t.Errorf("got %s", got[2])
	}
	if got = table(rows, byName, 4, 0); len(got) != 3 || !strings.HasPrefix(got[2], "and 4 more") {
		t.Errorf("in four lines: %q", got)
	}
}

// TestStatOfAChannel: nsq_stat's lines for two brokers, of which one dies meanwhile, without an end of the tool.
func TestStatOfAChannel(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"brokerd", "nsqd"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lookup := cmdtest.Lookup(t, "lookupd")
			one := cmdtest.Broker(t, name, []*cmdtest.Process{lookup})
			two := cmdtest.Broker(t, name, []*cmdtest.Process{lookup})
			for _, b := range []*cmdtest.Process{one, two} {
				b.Create(t, "orders", "c")
				apptest.Publish(t, b, "orders", "1", "2", "3")
			}
			p := cmdtest.Verb(t, "stat", "--topic=orders", "--channel=c", "--interval=100ms", "--lookupd-http-address="+lookup.HTTP)
			shows := func(depth string) func() bool {
				return func() bool {
					return strings.Contains(p.Output(t), "      0       0 |       "+depth+"       "+depth+"       0     0     0 |       0       0 ")
				}
			}
			cmdtest.Eventually(t, "it shows the sum", 20*time.Second, shows("6"))
			direct := cmdtest.Verb(t, "stat", "--topic=orders", "--channel=c", "--interval=100ms",
				"--nsqd-http-address="+one.HTTP, "--nsqd-http-address="+two.HTTP)
			two.Kill(t)
			cmdtest.Eventually(t, "it warns, and goes on", 20*time.Second, func() bool {
				return strings.Contains(direct.LastWords(), "no answer, left out of the sums")
			})
			direct.Stop(t)
			cmdtest.Eventually(t, "it goes on with one", 20*time.Second, shows("3"))
			p.Stop(t)
		})
	}
}

// TestStatOfEverything covers the table and the JSON of all topics, and --count.
func TestStatOfEverything(t *testing.T) {
	t.Parallel()
	broker := cmdtest.Broker(t, "brokerd", nil)
	broker.Create(t, "orders", "a", "b")
	broker.Create(t, "idle")
	apptest.Publish(t, broker, "orders", "1", "2")
	args := []string{"--nsqd-http-address=" + broker.HTTP, "--interval=50ms", "--count=2"}
	p := cmdtest.Verb(t, "stat", args...)
	if code := p.Wait(t, 10*time.Second); code != 0 {
		t.Fatalf("exit code %d\n%s", code, p.LastWords())
	}
	if out := p.Output(t); strings.Count(out, "TOPIC") != 2 || strings.Count(out, "orders") != 4 || strings.Count(out, "idle    (topic)") != 2 {
		t.Errorf("printed\n%s", out)
	}
	p = cmdtest.Verb(t, "stat", append(args, "--json")...)
	if code := p.Wait(t, 10*time.Second); code != 0 {
		t.Fatalf("exit code %d\n%s", code, p.LastWords())
	}
	var depth int64
	lines := 0
	for line := range strings.Lines(p.Output(t)) {
		var r Row
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		depth += r.Depth
		lines++
	}
	if lines != 8 || depth != 2*2*2 {
		t.Errorf("%d lines, depth %d:\n%s", lines, depth, p.Output(t))
	}
}

func TestStatSaysWhatIsWrong(t *testing.T) {
	broker := cmdtest.Broker(t, "brokerd", nil)
	broker.Create(t, "orders")
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "--nsqd-http-address or --lookupd-http-address required"},
		{[]string{"--nsqd-http-address=a:1", "--lookupd-http-address=a:2"}, "not both"},
		{[]string{"--nsqd-http-address=a:1", "--interval=0s"}, "--interval should be positive"},
		{[]string{"--nsqd-http-address=a:1", "--count=-1"}, "--count should be positive"},
		{[]string{"--nsqd-http-address=a:1", "--sort=size"}, "--sort must be one of"},
		{[]string{"--nsqd-http-address=127.0.0.1:1"}, "nobody answered"},
		{[]string{"--nsqd-http-address=" + broker.HTTP, "--topic=orders", "--channel=c"}, "no broker has the channel c of the topic orders"},
	} {
		p := cmdtest.Verb(t, "stat", test.args...)
		want := 2
		switch {
		case strings.HasPrefix(test.want, "nobody"):
			want = 1
		case strings.HasPrefix(test.want, "no broker"):
			want = 3
		}
		if code := p.Wait(t, 10*time.Second); code != want || !strings.Contains(p.LastWords(), test.want) {
			t.Errorf("%q: exit code %d, %s; want %s", test.args, code, p.LastWords(), test.want)
		}
	}
}

// TestTableOnATerminal: it stays in place, within the terminal's size, and tells who does not answer.
func TestTableOnATerminal(t *testing.T) {
	var out strings.Builder
	v := &tableView{out: &out, order: byName, size: func() (int, int) { return 40, 7 }}
	rows := []Row{{Topic: "a", Channel: "x"}, {Topic: "b", Channel: "x"}, {Topic: "c", Channel: "x"}, {Topic: "d", Channel: "x"}}
	if err := v.show(time.Unix(0, 0), rows, []fleet.Failure{{Address: "h:1", Err: errors.New("down")}}); err != nil {
		t.Fatal(err)
	}
	text, ok := strings.CutPrefix(out.String(), "\x1b[H\x1b[2J")
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if !ok || !v.live() || len(lines) > 7 || lines[len(lines)-1] != "WARNING: h:1: down" || !strings.Contains(text, "\nand 3 more: ") {
		t.Errorf("%d lines:\n%s", len(lines), text)
	}
	for _, l := range lines {
		if utf8.RuneCountInString(l) > 40 {
			t.Errorf("wider than the terminal: %q", l)
		}
	}
}

// TestLevelsAreWords: what a table tells of safety is the level of the topic, not where bodies happen to be.
func TestLevelsAreWords(t *testing.T) {
	topic := func(level string) httpapi.Topic {
		return httpapi.Topic{TopicName: "t", Durability: level, Depth: 5, Channels: []httpapi.Channel{{ChannelName: "c", Depth: 5}}}
	}
	for want, levels := range map[string][]string{"disk": {"disk", "disk"}, "mixed": {"disk", "fsync"}, "fsync": {"", "fsync"}, "as nsqd": {"", ""}} {
		var answers []fleet.Answer[httpapi.Stats]
		for i, level := range levels {
			answers = append(answers, fleet.Answer[httpapi.Stats]{Address: string(rune('a' + i)), Value: httpapi.Stats{Topics: []httpapi.Topic{topic(level)}}})
		}
		lines := Table(Sum(answers)).Lines(0)
		if !strings.Contains(lines[0], "KEPT") || strings.Contains(lines[0], "MEM") || !strings.Contains(lines[1], " "+want+" ") || !strings.Contains(lines[2], " "+want+" ") {
			t.Errorf("%v: %q", levels, lines)
		}
	}
}
