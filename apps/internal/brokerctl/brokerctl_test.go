package brokerctl

import (
	"encoding/json"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/apptest"
	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
)

func TestMain(m *testing.M) {
	cmdtest.Main(m, "cmd/brokerd", "cmd/lookupd", "cmd/admind", "apps/brokerctl")
}

// ctl runs brokerctl and returns what it printed. It must end with the exit code.
func ctl(t *testing.T, code int, args ...string) string {
	t.Helper()
	p := cmdtest.Tool(t, "brokerctl", args...)
	if got := p.Wait(t, 20*time.Second); got != code {
		t.Fatalf("brokerctl %q: exit code %d\n%s%s", args, got, p.Output(t), p.LastWords())
	}
	if code != 0 {
		return p.Output(t) + p.LastWords()
	}
	return p.Output(t)
}

// cluster is a lookup with two brokers of one make; args is how brokerctl is pointed at them.
type cluster struct {
	lookup  *cmdtest.Process
	brokers []*cmdtest.Process
	args    []string
}

func newCluster(t *testing.T, lookup, broker string) *cluster {
	t.Helper()
	c := &cluster{lookup: cmdtest.Lookup(t, lookup)}
	for range 2 {
		c.brokers = append(c.brokers, cmdtest.Broker(t, broker, []*cmdtest.Process{c.lookup}))
	}
	c.args = []string{"--lookupd-http-address=" + c.lookup.HTTP}
	return c
}

// knows waits until the lookup names so many brokers for the topic.
func (c *cluster) knows(t *testing.T, topic string, brokers int) {
	t.Helper()
	cmdtest.Eventually(t, "the lookup knows the topic's brokers", 20*time.Second, func() bool {
		var topics httpapi.Topics
		c.lookup.Get(t, "/topics", &topics)
		if !slices.Contains(topics.Topics, topic) {
			return brokers == 0
		}
		var found httpapi.Lookup
		c.lookup.Get(t, "/lookup?topic="+url.QueryEscape(topic), &found)
		return len(found.Producers) == brokers
	})
}

// TestVerbs goes through the life of a topic and a channel on two brokers behind a lookup, of each make.
func TestVerbs(t *testing.T) {
	for _, m := range []struct{ lookup, broker string }{{"lookupd", "brokerd"}, {"nsqlookupd", "nsqd"}} {
		t.Run(m.broker, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, m.lookup, m.broker)
			do := func(args ...string) string { t.Helper(); return ctl(t, 0, append(args, c.args...)...) }
			depth := func() (n int64) {
				for _, b := range c.brokers {
					n += b.Channel(t, "orders", "billing").Depth
				}
				return n
			}
			paused := func() (n int) {
				for _, b := range c.brokers {
					topic := b.Topic(t, "orders")
					for _, p := range []bool{topic.Paused, len(topic.Channels) == 1 && topic.Channels[0].Paused} {
						if p {
							n++
						}
					}
				}
				return n
			}
			do("topic", "create", "orders", "--nsqd-http-address="+c.brokers[0].HTTP, "--nsqd-http-address="+c.brokers[1].HTTP)
			c.knows(t, "orders", 2)
			do("channel", "create", "orders", "billing")
			if got := do("topic", "list"); got != "orders\n" {
				t.Errorf("topics: %q", got)
			}
			if got := do("channel", "list", "orders"); got != "billing\n" {
				t.Errorf("channels: %q", got)
			}
			if got := do("topic", "lookup", "orders"); !strings.HasPrefix(got, "channel  billing\n") || strings.Count(got, "broker   tcp 127.0.0.1:") != 2 {
				t.Errorf("lookup: %s", got)
			}
			for _, verb := range []string{"topic pause orders", "channel pause orders billing"} {
				do(strings.Fields(verb)...)
			}
			if n := paused(); n != 4 {
				t.Errorf("%d of 4 are paused", n)
			}
			do("topic", "unpause", "orders")
			do("channel", "unpause", "orders", "billing")
			if n := paused(); n != 0 {
				t.Errorf("%d of 4 are still paused", n)
			}
			for _, b := range c.brokers {
				apptest.Publish(t, b, "orders", "1", "2", "3")
			}
			cmdtest.Eventually(t, "the channels have all", 10*time.Second, func() bool { return depth() == 6 })
			stats := strings.Fields(strings.Split(do("channel", "stats", "orders", "billing"), "\n")[1])
			if !slices.Equal(stats[:3], []string{"orders", "billing", "6"}) {
				t.Errorf("stats: %q", stats)
			}
			var rows []struct{ Depth int64 }
			if err := json.Unmarshal([]byte(do("topic", "stats", "orders", "--json")), &rows); err != nil || len(rows) != 2 || rows[1].Depth != 6 {
				t.Errorf("stats as JSON: %+v, %v", rows, err)
			}
			if got := do("channel", "empty", "orders", "billing", "--dry-run"); strings.Count(got, "POST http://127.0.0.1:") != 2 || depth() != 6 {
				t.Errorf("dry run: %s, depth %d", got, depth())
			}
			do("channel", "empty", "orders", "billing", "--yes")
			do("topic", "empty", "orders", "--yes")
			if n := depth(); n != 0 {
				t.Errorf("depth %d when emptied", n)
			}
			do("topic", "tombstone", "orders", c.brokers[0].HTTP, "--yes")
			c.knows(t, "orders", 1)
			do("channel", "delete", "orders", "billing", "--yes")
			if n := len(c.brokers[1].Topic(t, "orders").Channels); n != 0 {
				t.Errorf("%d channels are left", n)
			}
			do("topic", "delete", "orders", "--yes")
			if got := do("topic", "list"); got != "" || c.brokers[1].Topic(t, "orders").TopicName != "" {
				t.Errorf("topics: %q", got)
			}
		})
	}
}

// TestNodesAndConfig covers nodes, and options of topics and running brokers.
func TestNodesAndConfig(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "lookupd", "brokerd")
	do := func(args ...string) string { t.Helper(); return ctl(t, 0, append(args, c.args...)...) }
	cmdtest.Eventually(t, "the lookup knows both", 20*time.Second, func() bool {
		return strings.Count(do("node", "list"), "127.0.0.1:") == 4
	})
	if got := ctl(t, 0, "node", "list", "--nsqd-http-address="+c.brokers[0].HTTP); !strings.Contains(got, c.brokers[0].TCP) {
		t.Errorf("nodes: %s", got)
	}
	if got := do("node", "stats"); strings.Count(got, "  OK  ") != 2 {
		t.Errorf("stats: %s", got)
	}
	if got := do("node", "config", "set", "log_level", "debug"); strings.Count(got, "  ok  ") != 2 {
		t.Errorf("set: %s", got)
	}
	if got := do("node", "config", "get", "max_msg_size"); strings.Count(got, "  1048576\n") != 2 {
		t.Errorf("get: %s", got)
	}
	if got := ctl(t, 1, append([]string{"node", "config", "set", "log_level", "loud"}, c.args...)...); strings.Count(got, "FAILED  400 INVALID_VALUE") != 2 {
		t.Errorf("set to what it cannot be: %s", got)
	}
	c.brokers[0].Create(t, "orders")
	c.knows(t, "orders", 1)
	if got := do("topic", "config", "set", "orders", "durability=fsync"); !strings.Contains(got, `ok  durability=fsync`) {
		t.Errorf("set: %s", got)
	}
	if got := do("topic", "config", "get", "orders"); !regexp.MustCompile(c.brokers[0].HTTP + `  durability +fsync +topic\n`).MatchString(got) {
		t.Errorf("get: %s", got)
	}
	c.brokers[0].Create(t, "orders", "billing")
	if got := do("channel", "config", "set", "orders", "billing", "max_attempts=7", "backoff=list:1s,10s"); !strings.Contains(got, `ok  max_attempts=7 backoff=list:1s,10s`) {
		t.Errorf("set of a channel: %s", got)
	}
	if got := do("channel", "config", "get", "orders", "billing"); !regexp.MustCompile(`  max_attempts +7 +channel\n`).MatchString(got) || !regexp.MustCompile(`  max_depth +0 +default\n`).MatchString(got) {
		t.Errorf("get of a channel: %s", got)
	}
	if got := do("channel", "config", "get", "orders", "billing", "--json"); !strings.Contains(got, `"backoff": {`) || !strings.Contains(got, `"value": "list:1s,10s"`) {
		t.Errorf("get as JSON: %s", got)
	}
	if got := ctl(t, 1, append([]string{"channel", "config", "set", "orders", "billing", "max_attempts=0"}, c.args...)...); !strings.Contains(got, "max_attempts: must be a whole number from 1 to 65535, not 0") {
		t.Errorf("set to what it cannot be: %s", got)
	}
}

// TestPartialFailures: who fails is named, the others are asked all the same, and the exit code is 1.
func TestPartialFailures(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "lookupd", "brokerd")
	for _, b := range c.brokers {
		b.Create(t, "orders", "billing")
	}
	direct := []string{"--nsqd-http-address=" + c.brokers[0].HTTP, "--nsqd-http-address=" + c.brokers[1].HTTP}
	c.brokers[0].Kill(t)
	c.knows(t, "orders", 1)
	out := ctl(t, 1, append([]string{"topic", "pause", "orders"}, direct...)...)
	if !strings.Contains(out, c.brokers[0].HTTP+"  FAILED  ") || !strings.Contains(out, c.brokers[1].HTTP+"  ok") ||
		!strings.Contains(out, "1 of 2 failed") || !c.brokers[1].Topic(t, "orders").Paused {
		t.Errorf("pause: %s", out)
	}
	out = ctl(t, 1, append([]string{"topic", "list"}, direct...)...)
	if !strings.HasPrefix(out, "orders\n") || !strings.Contains(out, "without 1 that failed: "+c.brokers[0].HTTP) {
		t.Errorf("list: %s", out)
	}
	out = ctl(t, 3, "channel", "delete", "orders", "nothing", "--yes", "--nsqd-http-address="+c.brokers[1].HTTP)
	if !strings.Contains(out, "not there") || !strings.Contains(out, "nobody knows the channel nothing of the topic orders") {
		t.Errorf("delete: %s", out)
	}
	gone := "--lookupd-http-address=" + cmdtest.FreeAddress(t)
	out = ctl(t, 1, append([]string{"topic", "create", "more", gone}, c.args...)...)
	if !strings.Contains(out, c.lookup.HTTP+"  ok") || !strings.Contains(out, "1 of 3 failed") { // a broker that lives is the third
		t.Errorf("create: %s", out)
	}
	out = ctl(t, 3, append([]string{"topic", "tombstone", "orders", "10.9.9.9:1", "--yes"}, c.args...)...)
	if !strings.Contains(out, "no lookup knows the broker 10.9.9.9:1") {
		t.Errorf("tombstone: %s", out)
	}
}

// TestSaysWhatIsWrong: nothing is done with names that are none, or that stand for everything at a lookup.
func TestSaysWhatIsWrong(t *testing.T) {
	const broker = "--nsqd-http-address=127.0.0.1:1"
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"topic", "delete", "*", broker}, 2, `"*" is no valid name of a topic`},
		{[]string{"channel", "delete", "orders", "*", broker}, 2, `"*" is no valid name of a channel`},
		{[]string{"topic", "delete", broker}, 2, "wants TOPIC"},
		{[]string{"topic", "list", "orders", broker}, 2, "unknown arguments: orders"},
		{[]string{"topic", "list"}, 2, "--nsqd-http-address or --lookupd-http-address required"},
		{[]string{"topic", "burn"}, 2, `unknown command "burn"`},
		{[]string{"topic", "config", "set", "orders", "fast", broker}, 2, "wants KEY=VALUE"},
		{[]string{"completion", "tcsh"}, 2, "wants one of bash, zsh, fish"},
	} {
		if got := ctl(t, test.code, test.args...); !strings.Contains(got, test.want) {
			t.Errorf("%q: %s; want %s", test.args, got, test.want)
		}
	}
}

// TestToolsAreInIt: every tool runs as one of its commands.
func TestToolsAreInIt(t *testing.T) {
	t.Parallel()
	broker := cmdtest.Broker(t, "brokerd", nil)
	apptest.Publish(t, broker, "orders", "1", "2")
	if got := ctl(t, 0, "tail", "--topic=orders", "--channel=c", "--n=2", "--nsqd-tcp-address="+broker.TCP); got != "1\n2\n" {
		t.Errorf("tail printed %q", got)
	}
	for _, tool := range []string{"bench", "pub", "relay", "ship", "stat", "tail", "tofile", "tohttp"} {
		if got := ctl(t, 0, tool, "--help"); !strings.HasPrefix(got, "brokerctl "+tool+": ") {
			t.Errorf("%s --help: %s", tool, got)
		}
	}
}

// words returns what the program offers for the last of the words, without the meanings.
func words(t *testing.T, environ []string, line ...string) (list []string) {
	t.Helper()
	var out, log strings.Builder
	code := appkit.Run(New(), appkit.Process{Args: append([]string{"__complete"}, line...), Environ: environ, Stdout: &out, Stderr: &log,
		CompleteWithin: time.Minute})
	if code != appkit.ExitOK {
		t.Fatalf("%q: exit code %d, %s", line, code, &log)
	}
	for candidate := range strings.Lines(out.String()) {
		if word, _, _ := strings.Cut(strings.TrimSpace(candidate), "\t"); !strings.HasPrefix(word, ":") { // which says how to go on
			list = append(list, word)
		}
	}
	return list
}

// TestComplete covers commands, flags, and names that daemons know, found by flags, by the environment and by a context.
func TestComplete(t *testing.T) {
	t.Parallel()
	broker := cmdtest.Broker(t, "brokerd", nil)
	broker.Create(t, "orders", "billing", "audit")
	broker.Create(t, "other")
	env := []string{"BROKERCTL_NSQD_HTTP_ADDRESS=" + broker.HTTP}
	at := "--nsqd-http-address=" + broker.HTTP
	for _, test := range []struct {
		env  []string
		line []string
		want []string
	}{
		{nil, []string{"to"}, []string{"tofile", "tohttp", "token", "topic"}},
		{nil, []string{"topic", "config", ""}, []string{"get", "set"}},
		{nil, []string{"topic", "create", "--dr"}, []string{"--dry-run"}},
		{nil, []string{"tail", "--print"}, []string{"--print-topic"}},
		{nil, []string{"completion", ""}, []string{"bash", "zsh", "fish"}},
		{nil, []string{"tail", "--log-level", "e"}, []string{"error"}},
		{nil, []string{"topic", "pause", ""}, nil},
		{nil, []string{"topic", "pause", at, "o"}, []string{"orders", "other"}},
		{nil, []string{"topic", "pause", "-nsqd-http-address", broker.HTTP, "or"}, []string{"orders"}},
		{env, []string{"topic", "pause", "or"}, []string{"orders"}},
		{env, []string{"channel", "pause", "orders", ""}, []string{"audit", "billing"}},
		{env, []string{"channel", "pause", "orders", "billing", ""}, nil},
		{env, []string{"tail", "--topic", "ot"}, []string{"other"}},
		{env, []string{"tail", "--topic=ord"}, []string{"orders"}},
		{env, []string{"tail", "-topic", "orders", "--channel", "b"}, []string{"billing"}},
		{env, []string{"sub", "orders/"}, []string{"orders/audit", "orders/billing"}},
		{env, []string{"pub", "oth"}, []string{"other"}},
	} {
		if got := words(t, test.env, test.line...); !slices.Equal(got, test.want) {
			t.Errorf("%q: %q, want %q", test.line, got, test.want)
		}
	}
}

// shells are how each shell is asked for candidates without a terminal.
var shells = map[string]string{
	"bash": `source <(brokerctl completion bash)
compopt() { :; }
IFS=' ' read -ra COMP_WORDS <<<"$1"; [[ $1 == *' ' ]] && COMP_WORDS+=("")
COMP_LINE="$1"; COMP_POINT=${#COMP_LINE}; COMP_CWORD=$((${#COMP_WORDS[@]}-1)); COMP_TYPE=9
_get_comp_words_by_ref() { words=("${COMP_WORDS[@]}"); cword=$COMP_CWORD; cur=${COMP_WORDS[COMP_CWORD]}; prev=${COMP_WORDS[COMP_CWORD-1]}; }
_init_completion() { _get_comp_words_by_ref; }
__start_brokerctl; printf '%s\n' "${COMPREPLY[@]}"`,
	"zsh": `compdef() { : }; _describe() { shift; [[ $1 == -* ]] && shift; [[ $1 == completions ]] || shift; print -rl -- "${(@P)1}" }; _arguments() { : }
source <(brokerctl completion zsh)
words=("${(@s: :)1}"); CURRENT=${#words}; _brokerctl`,
	"fish": `source (brokerctl completion fish | psub); complete -C "$argv[1]"`,
}

// TestShells asks the shells themselves, those that are there.
func TestShells(t *testing.T) {
	dir := filepath.Dir(cmdtest.Find(t, "brokerctl"))
	for shell, script := range shells {
		t.Run(shell, func(t *testing.T) {
			path, err := exec.LookPath(shell)
			if err != nil {
				t.Skipf("NOT RUN: %s is not on PATH", shell)
			}
			for line, want := range map[string][]string{
				"brokerctl topic cr":          {"create"},
				"brokerctl topic ":            {"list", "tombstone", "config"},
				"brokerctl tail --print":      {"--print-topic"},
				"brokerctl tail --max-att":    {"--max-attempts"},
				"brokerctl completion ":       {"bash", "fish", "zsh"},
				"brokerctl topic create new ": {},
			} {
				args := []string{"-c", script, shell, line}
				if shell == "fish" {
					args = []string{"--no-config", "-c", script, line}
				}
				cmd := exec.Command(path, args...)
				cmd.Env = []string{"PATH=" + dir + ":/usr/bin:/bin", "HOME=" + t.TempDir(), "LANG=C.UTF-8"}
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%s: %v\n%s", line, err, out)
				}
				var got []string
				for l := range strings.Lines(string(out)) {
					if word := strings.FieldsFunc(l, func(r rune) bool { return strings.ContainsRune("\t:\n", r) }); len(word) > 0 {
						got = append(got, word[0])
					}
				}
				for _, w := range want {
					if !slices.Contains(got, w) {
						t.Errorf("%q: %q is not among %q", line, w, got)
					}
				}
				if len(want) == 1 && len(got) != 1 || len(want) == 0 && len(got) > 1 {
					t.Errorf("%q: %q, want %q", line, got, want)
				}
			}
		})
	}
}

// TestDrainOfANode ends a broker without a lookup being named, and tells how far it is; with --stay the broker goes on, and --undo
// takes it back.
func TestDrainOfANode(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "lookupd", "brokerd")
	b := c.brokers[0]
	if got := ctl(t, 0, "node", "drain", b.HTTP, "--stay", "--empty"); !strings.Contains(got, "drained: 0 with consumers, 0 left") {
		t.Errorf("stay: %s", got)
	}
	ctl(t, 1, "node", "ping", "--ready", "--nsqd-http-address="+b.HTTP)
	ctl(t, 0, "node", "drain", b.HTTP, "--undo")
	ctl(t, 0, "node", "ping", "--ready", "--nsqd-http-address="+b.HTTP)
	if got := ctl(t, 0, "node", "drain", b.HTTP, "--dry-run"); !strings.Contains(got, "PUT http://"+b.HTTP+"/config/drain true") || b.Ended() {
		t.Errorf("dry run: %s", got)
	}
	if got := ctl(t, 0, "node", "drain", b.HTTP); !strings.Contains(got, "ended") {
		t.Errorf("drain: %s", got)
	}
	if code := b.Wait(t, 10*time.Second); code != 0 {
		t.Errorf("the broker ended with %d", code)
	}
	ctl(t, 1, "node", "drain", b.HTTP)
}
