package brokerctl

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/apptest"
	"brokerd/cmd/cmdtest"
)

// said is what a run of brokerctl in this process printed.
type said struct {
	code        int
	out, errors string
}

// say runs brokerctl with its own environment and contexts.
func say(t *testing.T, config string, environ []string, args ...string) said {
	t.Helper()
	var out, errors strings.Builder
	environ = slices.Concat(cmdtest.Unhurried, environ)
	code := appkit.Run(New(), appkit.Process{Args: args, Environ: environ, ConfigDir: config, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errors})
	return said{code, out.String(), errors.String()}
}

// TestEveryVerbTakesAddressesFromTheEnvironment walks over the whole tree: a command that has a flag takes it from its variable too.
func TestEveryVerbTakesAddressesFromTheEnvironment(t *testing.T) {
	t.Parallel()
	lookup := cmdtest.Lookup(t, "lookupd")
	broker := cmdtest.Broker(t, "brokerd", []*cmdtest.Process{lookup})
	broker.Create(t, "orders", "billing")
	cmdtest.Eventually(t, "the lookup knows the channel", 0, func() bool {
		var found struct{ Channels []string }
		lookup.Get(t, "/channels?topic=orders", &found)
		return len(found.Channels) == 1
	})
	environ := []string{"BROKERCTL_LOOKUPD_HTTP_ADDRESS=" + lookup.HTTP, "BROKERCTL_NSQD_TCP_ADDRESS=", "BROKERCTL_YES=true"}
	out := t.TempDir()
	for _, line := range []string{
		"topic list", "topic lookup orders", "topic stats", "topic pause orders", "topic unpause orders", "topic config get orders",
		"topic create other", "channel list orders", "channel stats orders billing", "channel empty orders billing", "node list", "node stats",
		"node config get log_level", "pub orders one two three", "sub orders/billing --n=1", "tail orders --channel=billing --n=1", "stat --count=1 --interval=10ms",
		"dump", "channel delete orders billing",
	} {
		if got := say(t, "", environ, strings.Fields(line)...); got.code != appkit.ExitOK {
			t.Errorf("%s: %+v", line, got)
		}
	}
	// Those that go on until they are stopped: a setting that does not fit shows that they have read the variable.
	for line, want := range map[string]string{
		"tofile --output-dir=" + out + " --topic=t": "use --nsqd-tcp-address or --lookupd-http-address not both",
		"tohttp --topic=t --post=http://a/":         "use --nsqd-tcp-address or --lookupd-http-address not both",
		"relay --topic=t":                           "use --nsqd-tcp-address or --lookupd-http-address not both",
	} {
		got := say(t, "", append(environ, "BROKERCTL_NSQD_TCP_ADDRESS="), append(strings.Fields(line), "--nsqd-tcp-address=a:1", "--lookupd-http-address=b:1")...)
		if got.code != appkit.ExitUsage || !strings.Contains(got.errors, want) {
			t.Errorf("%s: %+v", line, got)
		}
	}
}

// TestEnvironmentIsToldOfMistakes: a variable that no command knows is a mistake, but for those that Kubernetes sets.
func TestEnvironmentIsToldOfMistakes(t *testing.T) {
	environ := []string{"BROKERCTL_LOKUPD_HTTP_ADDRESS=a:1", "BROKERCTL_PORT=tcp://10.0.0.1:1", "BROKERCTL_SERVICE_HOST=10.0.0.1", "BROKERCTL_PORT_1_TCP=x",
		"BROKERCTL_NSQD_HTTP_ADDRESS=127.0.0.1:1"}
	got := say(t, "", environ, "topic", "list")
	if strings.Count(got.errors, "has no effect") != 1 || !strings.Contains(got.errors, "did you mean BROKERCTL_LOOKUPD_HTTP_ADDRESS") {
		t.Errorf("%+v", got)
	}
}

// TestWhatIsNotThereIsAnError: an exit code of its own, one plain line, and nothing said to be done.
func TestWhatIsNotThereIsAnError(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "lookupd", "brokerd")
	cmdtest.Eventually(t, "the lookup knows both brokers", 0, func() bool {
		return strings.Count(say(t, "", nil, append([]string{"node", "list"}, c.args...)...).out, "127.0.0.1:") == 4
	})
	direct := "--nsqd-http-address=" + c.brokers[0].HTTP
	for _, test := range []struct {
		line string
		code int
		want string
	}{
		{"topic delete nosuch --yes", appkit.ExitMissing, "nobody knows the topic nosuch"},
		{"topic delete nosuch --yes " + direct, appkit.ExitMissing, "nobody knows the topic nosuch"},
		{"topic empty nosuch --yes", appkit.ExitMissing, "the topic nosuch"},
		{"topic pause nosuch", appkit.ExitMissing, "the topic nosuch"},
		{"topic stats nosuch", appkit.ExitMissing, "the topic nosuch"},
		{"topic lookup nosuch", appkit.ExitMissing, "the topic nosuch"},
		{"topic config get nosuch", appkit.ExitMissing, "the topic nosuch"},
		{"topic config set nosuch durability=disk", appkit.ExitMissing, "the topic nosuch"},
		{"channel list nosuch", appkit.ExitMissing, "the topic nosuch"},
		{"channel delete nosuch c --yes", appkit.ExitMissing, "the channel c of the topic nosuch"},
		{"channel pause nosuch c", appkit.ExitMissing, "the channel c of the topic nosuch"},
		{"channel stats nosuch c", appkit.ExitMissing, "the channel c of the topic nosuch"},
		{"stat nosuch/c --count=1", appkit.ExitMissing, "know no broker"},
		{"node config set log_level loud", appkit.ExitFailed, "it is one of debug, info, warn, error, fatal"},
		{"node config set nsqlookupd_tcp_addresses a:1", appkit.ExitFailed, "it is a JSON array of addresses"},
		{"node config get nosuch", appkit.ExitMissing, "nosuch"},
		{"topic list --context=nosuch", appkit.ExitMissing, `there is no context "nosuch"`},
		{"topic tombstone orders 10.1.1.1:4151 --yes", appkit.ExitMissing, "no lookup knows the broker"},
	} {
		got := say(t, "", nil, append(strings.Fields(test.line), c.args...)...)
		if got.code != test.code || !strings.Contains(got.out+got.errors, test.want) || strings.Contains(got.errors, "FATAL") || strings.Contains(got.errors, "level=") {
			t.Errorf("%s: want %d and %q, got %+v", test.line, test.code, test.want, got)
		}
	}
	if got := say(t, "", nil, append([]string{"topic", "create", "fresh"}, c.args...)...); got.code != appkit.ExitOK ||
		c.brokers[0].Topic(t, "fresh").TopicName == "" || c.brokers[1].Topic(t, "fresh").TopicName == "" {
		t.Errorf("created by a lookup only: %+v", got)
	}
	lonely := cmdtest.Lookup(t, "lookupd")
	if got := say(t, "", nil, "topic", "create", "fresh", "--lookupd-http-address="+lonely.HTTP); got.code != appkit.ExitMissing ||
		!strings.Contains(got.errors, "know no broker to make the topic on") {
		t.Errorf("created where nobody is: %+v", got)
	}
}

// waitingFor is what tail says when nothing has come for a second.
var waitingFor = regexp.MustCompile(`(?m)^waiting for .*\n`)

// TestToolsAreQuiet: messages are all that tail prints but for what it waits for and how many there were; pub tells what it did; both
// tell a broker's HTTP port from its TCP port.
func TestToolsAreQuiet(t *testing.T) {
	t.Parallel()
	lookup := cmdtest.Lookup(t, "lookupd")
	broker := cmdtest.Broker(t, "brokerd", []*cmdtest.Process{lookup})
	broker.Create(t, "orders", "billing")
	at := "--nsqd-tcp-address=" + broker.TCP
	if got := say(t, "", nil, "pub", "orders", "one", "two", "three", at); got.code != appkit.ExitOK || got.errors != "published 3 messages to orders\n" || got.out != "" {
		t.Errorf("pub: %+v", got)
	}
	if got := say(t, "", nil, "pub", "orders", "four", at, "--json"); got.code != appkit.ExitOK || !json.Valid([]byte(got.out)) || !strings.Contains(got.out, `"messages":1`) {
		t.Errorf("pub --json: %+v", got)
	}
	if got := say(t, "", nil, "tail", "orders/billing", "--n=2", at); got.code != appkit.ExitOK || waitingFor.ReplaceAllString(got.errors, "") != "2 messages\n" || strings.Count(got.out, "\n") != 2 {
		t.Errorf("tail: %+v", got)
	}
	waiting := cmdtest.Verb(t, "tail", "nosuch", "--lookupd-http-address="+lookup.HTTP)
	cmdtest.Eventually(t, "it says what it waits for", 0, func() bool { return strings.Contains(waiting.LastWords(), "waiting for ") })
	waiting.Signal(t, os.Interrupt)
	if code := waiting.Wait(t, time.Minute); code != appkit.ExitOK || waiting.LastWords() != "waiting for a broker that has the topic nosuch\n0 messages" {
		t.Errorf("tail of an unknown topic: %d, %q", code, waiting.LastWords())
	}
	wrong := "--nsqd-tcp-address=" + broker.HTTP
	if got := say(t, "", nil, "pub", "orders", "one", wrong); got.code != appkit.ExitFailed || !strings.Contains(got.errors, "answers HTTP: that is a port for --nsqd-http-address") {
		t.Errorf("pub to the HTTP port: %+v", got)
	}
	lost := cmdtest.Verb(t, "tail", "orders", wrong)
	cmdtest.Eventually(t, "it tells the port's kind", 0, func() bool { return strings.Contains(lost.LastWords(), "answers HTTP") })
	lost.Signal(t, os.Interrupt)
	lost.Wait(t, time.Minute)
	if got := say(t, "", nil, "topic", "list", "--nsqd-http-address="+broker.TCP); got.code != appkit.ExitFailed || !strings.Contains(got.errors, "does not answer HTTP") {
		t.Errorf("verbs at the TCP port: %+v", got)
	}
	apptest.Publish(t, broker, "orders", "five")
}

// TestExitCodesAreOneThing: whatever a command is told wrongly ends it with 2, in tools and verbs alike.
func TestExitCodesAreOneThing(t *testing.T) {
	for _, line := range []string{
		"nosuch", "topic", "topic nosuch", "tail", "tail --nosuch", "tail --topic=t", "pub --topic=t", "stat", "tofile --topic=t", "tohttp --topic=t", "relay --topic=t",
		"ship x", "bench pub --nosuch", "bench pub --size=1", "demo --producers=0", "demo-cluster --rate=0", "topic list", "topic delete", "channel delete t", "completion", "completion tcsh",
		"links", "context use", "context add a", "dump", "apply", "tail --log-format=xml --topic=t --nsqd-tcp-address=a:1", "tail --config=nosuch --topic=t",
	} {
		if got := say(t, "", nil, strings.Fields(line)...); got.code != appkit.ExitUsage || got.errors == "" || got.out != "" {
			t.Errorf("%q: %+v", line, got)
		}
	}
	for _, line := range []string{"--help", "help", "-h", "topic --help", "tail -help", "tail -h", "bench pub --help", "--version", "tail --version", "topic -version"} {
		if got := say(t, "", nil, strings.Fields(line)...); got.code != appkit.ExitOK || got.out == "" || got.errors != "" || strings.Contains(got.out, "default )") {
			t.Errorf("%q: %+v", line, got)
		}
	}
}

// TestContexts: kept, used, named, forgotten; in a file that is its owner's only from the first byte on, and refused when it is not.
func TestContexts(t *testing.T) {
	t.Parallel()
	broker := cmdtest.Broker(t, "brokerd", nil)
	other := cmdtest.Broker(t, "brokerd", nil)
	broker.Create(t, "orders")
	other.Create(t, "letters")
	config := t.TempDir()
	run := func(code int, line string, environ ...string) said {
		t.Helper()
		got := say(t, config, environ, strings.Fields(line)...)
		if got.code != code {
			t.Errorf("%s: %+v", line, got)
		}
		return got
	}
	list := func(want, line string, environ ...string) {
		t.Helper()
		if got := run(appkit.ExitOK, line, environ...); got.out != want {
			t.Errorf("%s: %q, want %q", line, got.out, want)
		}
	}
	run(appkit.ExitOK, "context add one --nsqd-http-address="+broker.HTTP+" --nsqd-tcp-address="+broker.TCP)
	run(appkit.ExitOK, "context add two --nsqd-http-address="+other.HTTP)
	list("orders\n", "topic list") // the first is in use
	list("letters\n", "topic list --context=two")
	list("letters\n", "topic list", "BROKERCTL_CONTEXT=two")
	list("letters\n", "topic list --nsqd-http-address="+other.HTTP)            // what is typed comes first
	list("letters\n", "topic list", "BROKERCTL_NSQD_HTTP_ADDRESS="+other.HTTP) // and the environment before the one in use
	list("orders\n", "topic list --context=one", "BROKERCTL_NSQD_HTTP_ADDRESS="+other.HTTP)
	run(appkit.ExitOK, "pub orders hello")
	run(appkit.ExitOK, "context use two")
	list("letters\n", "topic list")
	if got := run(appkit.ExitOK, "context list"); !strings.Contains(got.out, "*       two") {
		t.Errorf("list: %s", got.out)
	}
	run(appkit.ExitMissing, "context use three")
	run(appkit.ExitMissing, "topic list --context=three")
	run(appkit.ExitOK, "context remove two")
	run(appkit.ExitUsage, "topic list")
	file := filepath.Join(config, "brokerctl", "contexts.toml")
	info, err := os.Stat(file)
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Fatalf("the file: %v, %v", info.Mode(), err)
	}
	for _, mode := range []os.FileMode{0o604, 0o640, 0o602, 0o666} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		if got := run(appkit.ExitUsage, "topic list --context=one"); !strings.Contains(got.errors, "chmod 600") {
			t.Errorf("mode %o: %+v", mode, got)
		}
		run(appkit.ExitFailed, "context add three --nsqd-http-address=a:1")
	}
}

// TestSecretsComeFromAFileOrTheEnvironment and never from the command line; a file that everybody may read is told of.
func TestSecretsComeFromAFileOrTheEnvironment(t *testing.T) {
	secrets := make(chan string, 9)
	server := apptest.HTTP(t, func(authorization string) { secrets <- authorization })
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("from-the-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := "--nsqd-http-address=" + server
	for _, c := range []struct {
		environ []string
		args    []string
		want    string
	}{
		{nil, nil, ""},
		{[]string{"BROKERCTL_TOKEN=from-the-environment"}, nil, "Bearer from-the-environment"},
		{[]string{"BROKERCTL_TOKEN=from-the-environment"}, []string{"--token-file=" + file}, "Bearer from-the-file"},
		{[]string{"BROKERCTL_TOKEN_FILE=" + file}, nil, "Bearer from-the-file"},
	} {
		got := say(t, "", c.environ, append([]string{"topic", "stats", at}, c.args...)...)
		if secret := <-secrets; secret != c.want || got.code != appkit.ExitOK || strings.Contains(got.out+got.errors, "from-the") {
			t.Errorf("%q %q: %q, %+v", c.environ, c.args, secret, got)
		}
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := say(t, "", nil, "topic", "stats", at, "--token-file="+file); !strings.Contains(got.errors, "can be read by everybody") {
		t.Errorf("%+v", got)
	}
}

// TestLinksAreNSQsTools: links with their names, which are the tools; what lies there already stays.
func TestLinksAreNSQsTools(t *testing.T) {
	dir := t.TempDir()
	ctl(t, appkit.ExitOK, "links", dir, "--daemons")
	for _, name := range []string{"nsq_to_file", "nsq_to_http", "nsq_to_nsq", "nsq_tail", "nsq_stat", "to_nsq", "nsqd", "nsqlookupd"} {
		out, code := apptest.Run(t, filepath.Join(dir, name), "--version")
		if code != appkit.ExitOK || !strings.HasPrefix(out, name+" v1.3.0") {
			t.Errorf("%s --version: %d, %s", name, code, out)
		}
	}
	if out, code := apptest.Run(t, filepath.Join(dir, "nsq_tail"), "-n", "1"); code != appkit.ExitUsage || !strings.HasPrefix(out, "nsq_tail: ") {
		t.Errorf("nsq_tail: %d, %s", code, out)
	}
	ctl(t, appkit.ExitOK, "links", dir, "--daemons") // again is fine
	file := filepath.Join(dir, "nsq_stat")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := ctl(t, appkit.ExitFailed, "links", dir); !strings.Contains(got, "nsq_stat is there already and is no link: --force replaces it") {
		t.Errorf("over a file: %s", got)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "mine" {
		t.Errorf("the file became %q, %v", text, err)
	}
	ctl(t, appkit.ExitOK, "links", dir, "--force")
}
