package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/bench/load"
	"brokerd/cmd/cmdtest"
	"brokerd/protocol/grant"
	"brokerd/protocol/httpapi"
)

func TestMain(m *testing.M) {
	for i := range workloads {
		workloads[i].spec.Patience = cmdtest.Patience // a broker that has to wait for the processor has lost nothing
	}
	cmdtest.Main(m, "cmd/brokerd", "cmd/lookupd")
}

// bench runs the tool and returns its exit code, what it printed, and what it logged.
func bench(signals chan os.Signal, args ...string) (code int, out, log string) {
	var stdout, stderr bytes.Buffer
	code = appkit.Run(Command, appkit.Process{Args: args, Environ: cmdtest.Unhurried, Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr,
		Signals: signals})
	return code, stdout.String(), stderr.String()
}

func TestLoadsOnABroker(t *testing.T) {
	broker := cmdtest.Broker(t, "brokerd", nil, "--durability=disk")
	const n = 2000
	for _, c := range []struct {
		args string
		want load.Counts
	}{
		{"pub --messages=2000 --topics=3 --batch=7", load.Counts{Sent: n, Acked: n}},
		{"pub --messages=2000 --depth=8 --batch=1", load.Counts{Sent: n, Acked: n}},
		{"sub --messages=2000 --channels=2 --consumers=3", load.Counts{Sent: n, Acked: n, Expected: 2 * n, Received: 2 * n}},
		{"replay --messages=2000 --channels=2 --consumers=3", load.Counts{Sent: n, Acked: n, Expected: 2 * n, Received: 2 * n}},
		{"e2e --messages=2000 --consumers=4 --rdy=1", load.Counts{Sent: n, Acked: n, Expected: n, Received: n}},
		{"e2e --messages=2000 --duration=0 --rate=20000 --output-buffer-timeout=-1ns",
			load.Counts{Sent: n, Acked: n, Expected: n, Received: n}},
		{"defer --messages=2000 --delay=100ms --rate=20000", load.Counts{Sent: n, Acked: n, Expected: n, Received: n}},
		{"held --messages=2000 --duration=10ms", load.Counts{Sent: n, Acked: n}},
		{"topics --topics=50 --duration=10ms", load.Counts{}},
		{"conns --consumers=50 --duration=10ms", load.Counts{}},
	} {
		t.Run(c.args, func(t *testing.T) {
			args := append(strings.Fields(c.args), "--json", "--nsqd-tcp-address="+broker.TCP, "--nsqd-http-address="+broker.HTTP)
			code, out, log := bench(nil, args...)
			if code != appkit.ExitOK {
				t.Fatalf("exit code %d: %s", code, log)
			}
			var r load.Result
			if err := json.Unmarshal([]byte(out), &r); err != nil {
				t.Fatalf("%v in %s", err, out)
			}
			if c.want.Acked > 0 && (r.Counts.ByBroker == nil || *r.Counts.ByBroker != n) {
				t.Errorf("the broker's count is %v, wanted %d", r.Counts.ByBroker, n)
			}
			r.Counts.ByBroker, r.Counts.Redelivered = nil, 0 // a slow machine may see time-outs
			if r.Counts.Errors != nil || r.Counts.Sent != c.want.Sent || r.Counts.Acked != c.want.Acked ||
				r.Counts.Expected != c.want.Expected || r.Counts.Received != c.want.Received {
				t.Errorf("counted %+v, wanted %+v", r.Counts, c.want)
			}
			var left httpapi.Stats
			if broker.Get(t, "/stats?format=json", &left); len(left.Topics) != 0 {
				t.Errorf("%d topics are left behind", len(left.Topics))
			}
		})
	}
}

func TestATableForPeople(t *testing.T) {
	broker := cmdtest.Broker(t, "brokerd", nil)
	code, out, log := bench(nil, "sub", "--messages=5000", "--nsqd-tcp-address="+broker.TCP, "--nsqd-http-address="+broker.HTTP,
		"--pid="+strconv.Itoa(os.Getpid()))
	if code != appkit.ExitOK {
		t.Fatalf("exit code %d: %s", code, log)
	}
	for _, want := range []string{"filled: messages", "5,000 in", "per consumer", "broker CPU", "us per message", "broker memory",
		"delivered", "5,000 of 5,000", "lost 0"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestWithoutHTTPTopicsStay(t *testing.T) {
	broker := cmdtest.Broker(t, "brokerd", nil)
	code, _, log := bench(nil, "e2e", "--messages=100", "--topic=kept", "--nsqd-tcp-address="+broker.TCP,
		"--nsqd-http-address=none")
	if code != appkit.ExitOK {
		t.Fatalf("exit code %d: %s", code, log)
	}
	if topic := broker.Topic(t, "kept"); topic.MessageCount != 100 {
		t.Errorf("the broker has %+v", topic)
	}
	code, out, _ := bench(nil, "pub", "--messages=100", "--nsqd-tcp-address="+broker.TCP, "--nsqd-http-address=none")
	if code != appkit.ExitOK || !strings.Contains(out, "stay") {
		t.Errorf("exit code %d, and it does not say that topics stay:\n%s", code, out)
	}
}

func TestCtrlCEndsWithTheTableSoFar(t *testing.T) {
	broker := cmdtest.Broker(t, "brokerd", nil)
	signals := make(chan os.Signal, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() {
		for !delivered(t, broker, 200) && ctx.Err() == nil {
			<-time.After(10 * time.Millisecond) // between questions to another process
		}
		signals <- syscall.SIGINT
	})
	code, out, log := bench(signals, "e2e", "--duration=9m", "--rate=1000", "--nsqd-tcp-address="+broker.TCP,
		"--nsqd-http-address="+broker.HTTP)
	if code != appkit.ExitOK || !strings.Contains(out, "ended early") || !strings.Contains(out, "latency") {
		t.Errorf("exit code %d\n%s\n%s", code, out, log)
	}
}

// delivered reports whether so many messages were published, and nearly all of them have gone out.
func delivered(t *testing.T, broker *cmdtest.Process, n uint64) bool {
	var s httpapi.Stats
	if broker.Ask(t, "/stats?format=json&include_mem=false", &s) != nil {
		return false
	}
	for _, topic := range s.Topics {
		for _, c := range topic.Channels {
			if c.MessageCount >= n && uint64(c.Depth) < c.MessageCount/2 {
				return true
			}
		}
	}
	return false
}

func TestMistakesAreToldInOneLine(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"pub --size=8", appkit.ExitUsage, "size must be 16"},
		{"pub --rdy=1", appkit.ExitUsage, "rdy"},
		{"pub --messages=some", appkit.ExitUsage, "messages"},
		{"pub extra", appkit.ExitUsage, "extra"},
		{"nothing", appkit.ExitUsage, "nothing"},
		{"pub --nsqd-tcp-address=127.0.0.1:1 --nsqd-http-address=none", appkit.ExitFailed, "refused"},
		{"pub --nsqd-http-address=127.0.0.1:1", appkit.ExitFailed, "HTTP"},
		{"compare", appkit.ExitUsage, "--peer"},
		{"compare --peer=127.0.0.1:1 --rounds=0", appkit.ExitUsage, "--rounds"},
		{"compare --peer=127.0.0.1:1 fly", appkit.ExitUsage, `no load "fly"`},
		{"compare --peer=127.0.0.1:1 -- pub --size=1", appkit.ExitUsage, "size"},
		{"standard --scenarios=fly", appkit.ExitUsage, `no scenario "fly"`},
		{"standard --rounds=0", appkit.ExitUsage, "--rounds"},
	} {
		code, out, log := bench(nil, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(log, c.want) || out != "" {
			t.Errorf("%s: exit code %d, wanted %d with %q:\n%s%s", c.args, code, c.code, c.want, out, log)
		}
	}
}

func TestCompareTwoBrokers(t *testing.T) {
	ours, peer := cmdtest.Broker(t, "brokerd", nil), cmdtest.Broker(t, "brokerd", nil)
	args := []string{"compare", "--rounds=3", "--ours=" + ours.TCP, "--ours-http=" + ours.HTTP, "--peer=" + peer.TCP,
		"--peer-http=" + peer.HTTP}
	code, out, log := bench(nil, append(args, "--", "pub", "--messages=1000")...)
	if code != appkit.ExitOK || !strings.Contains(out, "messages/s") || !strings.Contains(out, "ours/peer") {
		t.Errorf("exit code %d\n%s\n%s", code, out, log)
	}
	code, out, log = bench(nil, append(args, "--json", "--", "e2e", "--messages=1000")...)
	var list []compared
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != appkit.ExitOK {
		t.Fatalf("exit code %d, %v: %s\n%s", code, err, out, log)
	}
	if l := list[0]; len(l.Results.Ours) != 3 || len(l.Results.Peer) != 3 || len(l.Ours) == 0 || l.Load != "e2e --messages=1000" {
		t.Errorf("compared %+v", l)
	}
}

// TestBenchShowsItsToken, over TCP and HTTP, to a broker that asks for one, and says so when it has none.
func TestBenchShowsItsToken(t *testing.T) {
	dir := t.TempDir()
	tokens, own := filepath.Join(dir, "tokens"), filepath.Join(dir, "own")
	grants, err := grant.ParseGrants([]string{"admin"})
	if err != nil {
		t.Fatal(err)
	}
	token, err := grant.Add(tokens, "bench", grants, time.Time{})
	if err == nil {
		err = os.WriteFile(own, []byte(token+"\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	broker := cmdtest.Broker(t, "brokerd", nil, "--token-file="+tokens)
	args := []string{"e2e", "--messages=200", "--json", "--nsqd-tcp-address=" + broker.TCP, "--nsqd-http-address=" + broker.HTTP}
	if code, out, log := bench(nil, append(args, "--token-file="+own)...); code != appkit.ExitOK || strings.Contains(out+log, token) {
		t.Errorf("exit code %d: %s %s", code, out, log)
	}
	if code, _, log := bench(nil, args...); code == appkit.ExitOK || !strings.Contains(log, "401") && !strings.Contains(log, "AUTH") {
		t.Errorf("without a token: exit code %d: %s", code, log)
	}
}
