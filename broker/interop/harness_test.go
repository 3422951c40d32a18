package interop

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"testing"

	"brokerd/cmd/cmdtest"
)

// listening is how a harness of gnsq finds the ports: it gives port 0 and reads the log.
var listening = regexp.MustCompile(`([A-Z]+): listening on ((?:[0-9]{1,3}\.){3}[0-9]{1,3}:[0-9]+)`)

// harness runs a link to one of our daemons as the suites of client libraries do: from a folder, by the name of NSQ's daemon.
type harness struct {
	cmd    *exec.Cmd
	doors  map[string]string // addresses by TCP, HTTP and HTTPS
	copied chan struct{}     // closed once the log has ended
}

// launch starts the link and returns once the log says where it listens on the kinds.
func launch(t *testing.T, path, folder string, kinds []string, args ...string) *harness {
	t.Helper()
	h := &harness{cmd: exec.Command(path, args...), doors: map[string]string{}, copied: make(chan struct{})}
	h.cmd.Dir = folder
	log, err := h.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.end(t, syscall.SIGKILL) })
	lines := bufio.NewScanner(log)
	for len(h.doors) < len(kinds) && lines.Scan() {
		if m := listening.FindStringSubmatch(lines.Text()); m != nil && slices.Contains(kinds, m[1]) {
			h.doors[m[1]] = m[2]
		}
	}
	go func() {
		defer close(h.copied)
		_, _ = io.Copy(io.Discard, log)
	}()
	if len(h.doors) < len(kinds) {
		t.Fatalf("the log names %v only", h.doors)
	}
	return h
}

// end sends a signal and returns the exit code, -1 for a signal's. A second call does nothing.
func (h *harness) end(t *testing.T, signal syscall.Signal) int {
	t.Helper()
	if h.cmd.ProcessState == nil {
		_ = h.cmd.Process.Signal(signal) // it may have ended by itself, which the code tells
		<-h.copied
		_ = h.cmd.Wait()
	}
	return h.cmd.ProcessState.ExitCode()
}

func get(t *testing.T, address, path string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	_, text := cmdtest.Do(t, &client, req)
	return text
}

// TestWhatHarnessesRelyOn is what docs/COMPATIBILITY.md promises to suites that start nsqd and nsqlookupd from PATH.
func TestWhatHarnessesRelyOn(t *testing.T) {
	links, folder := t.TempDir(), t.TempDir()
	for name, ours := range map[string]string{"nsqd": "brokerd", "nsqlookupd": "lookupd"} {
		if err := os.Symlink(cmdtest.Find(t, ours), filepath.Join(links, name)); err != nil {
			t.Fatal(err)
		}
	}
	version, err := exec.Command(filepath.Join(links, "nsqd"), "-version").Output()
	if err != nil || !regexp.MustCompile(`^[a-z]+ v1\.3\.0 \(built w/go[0-9.]+.*\)\n$`).Match(version) {
		t.Errorf("-version: %q, %v", version, err)
	}
	lookup := launch(t, filepath.Join(links, "nsqlookupd"), folder, []string{"TCP", "HTTP"},
		"--verbose", "-tcp-address", "127.0.0.1:0", "-http-address", "127.0.0.1:0", "-broadcast-address", "127.0.0.1")
	args := append([]string{"--verbose", "--snappy", "--deflate", "-tcp-address", "127.0.0.1:0", "--http-address=127.0.0.1:0", "-broadcast-address",
		"127.0.0.1", "--node-id=3", "-lookupd-tcp-address=" + lookup.doors["TCP"]}, certificate(t)...)
	broker := launch(t, filepath.Join(links, "nsqd"), folder, []string{"TCP", "HTTP", "HTTPS"}, args...)
	for _, d := range []*harness{broker, lookup} {
		if said := get(t, d.doors["HTTP"], "/ping"); said != "OK" { // as soon as the log says so
			t.Errorf("/ping says %q", said)
		}
	}
	var info struct {
		TCPPort  int `json:"tcp_port"`
		HTTPPort int `json:"http_port"`
	}
	if err := json.Unmarshal([]byte(get(t, broker.doors["HTTP"], "/info")), &info); err != nil || info.TCPPort == 0 || info.HTTPPort == 0 {
		t.Errorf("/info tells %+v, %v", info, err)
	}
	again := slices.Clone(args)
	again[4], again[5] = broker.doors["TCP"], "--http-address="+broker.doors["HTTP"]
	for range 3 { // as a suite does for each of its tests
		if code := broker.end(t, syscall.SIGKILL); code != -1 {
			t.Errorf("killed, it ended with %d", code)
		}
		broker = launch(t, filepath.Join(links, "nsqd"), folder, []string{"TCP", "HTTP", "HTTPS"}, again...)
	}
	if _, err := os.Stat(filepath.Join(folder, "nsqd.dat")); err != nil {
		t.Errorf("the current folder is not the data folder: %v", err)
	}
	for _, d := range []*harness{broker, lookup} {
		if code := d.end(t, syscall.SIGTERM); code != 0 {
			t.Errorf("SIGTERM ends it with %d", code)
		}
	}
}
