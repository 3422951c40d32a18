package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"brokerd/cmd/cmdkit"
	"brokerd/cmd/cmdtest"
	"brokerd/cmd/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// TestFromStartToSignal runs a whole brokerd on a missing data folder, publishes over HTTP through a unix socket, and ends
// it by signal; then another, whose topic is there.
func TestFromStartToSignal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "on", "start")
	socket := filepath.Join(t.TempDir(), "http.sock")
	args := []string{"--tcp-address=127.0.0.1:0", "--http-address=" + socket, "--data-path=" + dir, "--log-format=json"}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	for _, step := range []struct{ method, path, want string }{
		{http.MethodPost, "/pub?topic=orders", "OK"},
		{http.MethodGet, "/stats?topic=orders", "[orders"},
	} {
		daemon := cmdtest.RunInside(t, func(out io.Writer, signals <-chan os.Signal) int {
			proc := cmdtest.Told(args, nil)
			proc.Stderr, proc.Signals = out, signals
			return run(proc)
		})
		if got := ask(t, client, step.method, "http://broker"+step.path); !strings.Contains(got, step.want) {
			t.Errorf("%s answered %q", step.path, got)
		}
		daemon.Stop(t)
		if strings.Contains(daemon.String(), "FATAL") {
			t.Errorf("it did not end in order:\n%s", daemon)
		}
	}
}

// ask sends one request, again and again until there is somebody who answers.
func ask(t *testing.T, client *http.Client, method, url string) string {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader("a message"))
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err == nil {
			body, _ := io.ReadAll(response.Body)
			response.Body.Close()
			return string(body)
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("nobody answers: %v", err)
		}
	}
}

// TestLinesThatHarnessesWaitFor: NSQ's daemons say in their log where they listen, and so do ours, in either format. The address is
// the one that is bound, as port 0 is how a harness asks for a free one.
func TestLinesThatHarnessesWaitFor(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	for _, format := range []string{"text", "json"} {
		args := []string{"--tcp-address=127.0.0.1:0", "--http-address=localhost:0", "--unix-socket=" + socket, "--data-path=" + t.TempDir(), "--log-format=" + format}
		daemon := cmdtest.RunInside(t, func(out io.Writer, signals <-chan os.Signal) int {
			proc := cmdtest.Told(args, nil)
			proc.Stderr, proc.Signals = out, signals
			return run(proc)
		})
		cmdtest.Eventually(t, "it listens on three doors", 10*time.Second, func() bool {
			return strings.Count(daemon.String(), "listening on") == 3
		})
		daemon.Stop(t)
		stderr := daemon.String()
		for _, line := range []string{`"TCP: listening on 127\.0\.0\.1:[1-9][0-9]+"`, `"TCP: listening on ` + socket + `"`, `"HTTP: listening on 127\.0\.0\.1:[1-9][0-9]+"`} {
			if !regexp.MustCompile(line).MatchString(stderr) {
				t.Errorf("the log lacks %s:\n%s", line, stderr)
			}
		}
	}
}

func TestFailuresToStartAreOneFatalLine(t *testing.T) {
	for name, args := range map[string][]string{
		// 192.0.2.0/24 is for documentation: no machine has such an address.
		"address":     {"--tcp-address=192.0.2.1:4150"},
		"certificate": {"--tls-cert=/nowhere/cert.pem", "--tls-key=/nowhere/key.pem"},
		"data folder": {"--data-path=/dev/null/data"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"--tcp-address=127.0.0.1:0", "--http-address=", "--data-path=" + t.TempDir()}, args...)
			code, _, stderr := cmdtest.Call(run, args, nil)
			if code != cmdkit.ExitFailed || strings.Count(stderr, "level=FATAL") != 1 {
				t.Errorf("exit code %d, log:\n%s", code, stderr)
			}
		})
	}
}
