package main

import (
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"brokerd/cmd/cmdkit"
	"brokerd/cmd/cmdtest"
	"brokerd/cmd/leaktest"
	"brokerd/lookup"
	"brokerd/protocol/release"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// TestEverySource takes each key of nsqlookupd's file, some of them overridden.
func TestEverySource(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nsqlookupd.toml")
	text := `
		verbose = true
		log_level = "debug"
		log_prefix = "[lookup] "
		tcp_address = "127.0.0.1:5160"
		http_address = "127.0.0.1:5161"
		broadcast_address = "lookup-1"
		inactive_producer_timeout = 60000
		tombstone_lifetime = "30s"
	`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := lookup.DefaultOptions()
	args := []string{"-config", path, "-tcp-address", "127.0.0.1:6160"}
	env := map[string]string{"LOOKUPD_TCP_ADDRESS": "127.0.0.1:7160", "LOOKUPD_LOG_LEVEL": "WARN", "LOOKUPD_LOG_FORMAT": "json"}
	_, err := program(&got).Configure(cmdtest.Told(args, env))
	want := lookup.Options{
		TCPAddress: "127.0.0.1:6160", HTTPAddress: "127.0.0.1:5161", BroadcastAddress: "lookup-1",
		HTTPSAddress: "0.0.0.0:4162", InactiveProducerTimeout: time.Minute, TombstoneLifetime: 30 * time.Second, ForgetTopicsAfter: lookup.DefaultOptions().ForgetTopicsAfter,
		LogLevel: "WARN", LogPrefix: "[lookup] ", LogFormat: "json", ShutdownTimeout: 10 * time.Second,
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v\nerror %v", got, want, err)
	}
}

// TestEveryVariableCounts.
func TestEveryVariableCounts(t *testing.T) {
	var names []string
	for _, s := range program(new(lookup.Options)).Settings {
		names = append(names, s.Name)
	}
	cmdtest.EveryVariable(t, "LOOKUPD_", names, map[string]string{"LOOKUPD_TLS_CERT": "c", "LOOKUPD_TLS_KEY": "k"}, func(env map[string]string) (any, error) {
		o := lookup.DefaultOptions()
		_, err := program(&o).Configure(cmdtest.Told(nil, env))
		return o, err
	})
}

func TestWrongOptionsAreOneLine(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string // part of the line
	}{
		{[]string{"--tombstone-lifetime=long"},
			`--tombstone-lifetime must be a duration such as 250ms, 60s or 1h30m, not "long" (from the flag)`},
		{[]string{"--shutdown-timeout=0s"}, `--shutdown-timeout must be more than 0, not "0s" (from the flag)`},
		{[]string{"--log-level=loud"}, "loud"},
		{[]string{"--tcp-address=nowhere"}, "nowhere"},
	} {
		code, stdout, stderr := cmdtest.Call(run, c.args, nil)
		if code != cmdkit.ExitUsage || stdout != "" || !strings.HasPrefix(stderr, "lookupd: ") ||
			!strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: code %d, stdout %q, stderr %q", c.args, code, stdout, stderr)
		}
	}
}

func TestVersion(t *testing.T) {
	code, stdout, stderr := cmdtest.Call(run, []string{"-version"}, nil)
	if want := "lookupd " + release.This().String() + "\n"; code != cmdkit.ExitOK || stdout != want || stderr != "" {
		t.Errorf("code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

func TestASignalEndsItWithCode0(t *testing.T) {
	args := []string{"--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"}
	code, _, stderr := cmdtest.Call(run, args, nil, syscall.SIGTERM)
	if code != cmdkit.ExitOK || strings.Contains(stderr, "level=ERROR") {
		t.Errorf("code %d, stderr %s", code, stderr)
	}
}

// TestLinesThatHarnessesWaitFor: they take the ports from the log, in the words of nsqlookupd's.
func TestLinesThatHarnessesWaitFor(t *testing.T) {
	daemon := cmdtest.RunInside(t, func(out io.Writer, signals <-chan os.Signal) int {
		proc := cmdtest.Told([]string{"--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"}, nil)
		proc.Stderr, proc.Signals = out, signals
		return run(proc)
	})
	for _, line := range []string{`"TCP: listening on 127\.0\.0\.1:[1-9][0-9]+"`, `"HTTP: listening on 127\.0\.0\.1:[1-9][0-9]+"`} {
		cmdtest.Eventually(t, "the log has "+line, 10*time.Second, func() bool { return regexp.MustCompile(line).MatchString(daemon.String()) })
	}
	daemon.Stop(t)
}

func TestAnAddressThatCannotBeBoundIsOneFatalLine(t *testing.T) {
	// 192.0.2.0/24 is for documentation: no machine has such an address.
	code, _, stderr := cmdtest.Call(run, []string{"--tcp-address=192.0.2.1:4160", "--http-address=127.0.0.1:0"}, nil)
	if code != cmdkit.ExitFailed || strings.Count(stderr, "\n") != 2 || strings.Count(stderr, "level=FATAL") != 1 {
		t.Errorf("code %d, stderr %s", code, stderr)
	}
}
