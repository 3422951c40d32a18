package cmdtest

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"brokerd/cmd/child"
	"brokerd/protocol/httpapi"
)

const (
	startWithin = Patience
	stopWithin  = Patience
)

// Process is a process that can be ended and started again with the same arguments. Its methods are for one goroutine.
type Process struct {
	Name      string // of its binary
	Label     string // for messages
	TCP, HTTP string // addresses of a daemon
	Base      string // path that an admin's begin with; empty or /like/this
	Args      []string
	Host      string   // name of the machine that it believes to run on; empty is the real one's. Others need root
	Through   []string // words of a command that becomes the program, as unshare and prlimit do
	Stdin     *os.File // of the next start; nil is empty
	Stdout    string   // file that gets its output
	Data      string   // folder of a broker
	Serves    string   // path that a daemon answers with 200 once it serves; empty is /ping, which is no sign where a node is unhealthy

	binary string
	child  child.Process
	client *httpapi.HTTPClient
}

// New prepares a process of the named binary; Start starts it. The test kills it at its end, and shows the end of its log if
// it failed.
func New(t testing.TB, name string, args ...string) *Process {
	t.Helper()
	dir := t.TempDir()
	p := &Process{
		Name: name, Label: name, Args: args, Stdout: filepath.Join(dir, "stdout"), binary: Find(t, name),
		child:  child.Process{Log: filepath.Join(dir, "stderr")},
		client: httpapi.NewHTTPClient(httpapi.ClientConfig{ConnectTimeout: Patience, RequestTimeout: Patience}),
	}
	t.Cleanup(func() {
		p.child.Kill()
		p.client.Close()
		if t.Failed() {
			t.Logf("the end of %s's log:\n%s", p.Label, p.LastWords())
		}
	})
	return p
}

// Tool starts a tool. It may end by itself: see Wait.
func Tool(t testing.TB, name string, args ...string) *Process {
	t.Helper()
	p := New(t, name, args...)
	p.Start(t)
	return p
}

// Verb starts a verb of brokerctl, which the test's Main has built.
func Verb(t testing.TB, verb string, args ...string) *Process {
	t.Helper()
	return Tool(t, "brokerctl", append([]string{verb}, args...)...)
}

// Start runs the process, and when it is a daemon returns once it answers.
func (p *Process) Start(t testing.TB) {
	t.Helper()
	if err := p.TryStart(t); err != nil {
		t.Fatalf("%s: %v", p.Label, err)
	}
}

// TryStart is Start of a process that may refuse to run: then it has ended, and the error holds the end of its log.
func (p *Process) TryStart(t testing.TB) error {
	p.child.Path, p.child.Args, p.child.Stdin, p.child.Stdout = p.binary, p.Args, p.Stdin, p.Stdout
	if p.Host != "" { // each of these programs becomes the next one, and keeps the process's number
		p.child.Path = "unshare"
		p.child.Args = append([]string{"--uts", "sh", "-c", `hostname "$0" && exec "$@"`, p.Host, p.binary}, p.Args...)
	}
	if len(p.Through) > 0 {
		p.child.Args = slices.Concat(p.Through[1:], []string{p.child.Path}, p.child.Args)
		p.child.Path = p.Through[0]
	}
	if p.HTTP != "" {
		p.child.Ping = p.url(cmp.Or(p.Serves, "/ping"))
	}
	return p.child.Start(t.Context(), startWithin)
}

// url returns the address of one of a daemon's routes.
func (p *Process) url(path string) string { return "http://" + p.HTTP + p.Base + path }

// Ended reports whether the process is gone.
func (p *Process) Ended() bool { return !p.child.Running() }

// Wait waits until the process ends by itself, and returns its exit code, -1 for a signal. It waits for within, or Patience when that is
// more.
func (p *Process) Wait(t testing.TB, within time.Duration) int {
	t.Helper()
	within = max(within, Patience)
	select {
	case <-p.child.Exited():
	case <-time.After(within):
		t.Fatalf("%s is still there after %v\n%s", p.Label, within, p.LastWords())
	}
	code, _ := p.child.End() // the code says it
	return code
}

// Signal sends a signal.
func (p *Process) Signal(t testing.TB, signal os.Signal) {
	t.Helper()
	if err := p.child.Signal(signal); err != nil {
		t.Fatalf("%s was gone already: %v\n%s", p.Label, err, p.LastWords())
	}
}

// SignalIfThere sends a signal to a process that may have ended.
func (p *Process) SignalIfThere(signal os.Signal) { _ = p.child.Signal(signal) }

// Stop ends the process as an operator does, and expects it to leave in good order.
func (p *Process) Stop(t testing.TB) {
	t.Helper()
	if err := p.child.Stop(stopWithin); err != nil {
		t.Errorf("%s: %v", p.Label, err)
	}
}

// Kill ends the process without a word.
func (p *Process) Kill(t testing.TB) {
	t.Helper()
	p.Signal(t, syscall.SIGKILL)
	p.Wait(t, stopWithin)
}

// LastWords returns the end of the process's log.
func (p *Process) LastWords() string { return p.child.LastWords() }

// Log returns all that the process wrote to its error output, in all its lives.
func (p *Process) Log(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(p.child.Log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Output returns all that the process wrote to its standard output.
func (p *Process) Output(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(p.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
