package apptest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"brokerd/protocol/httpapi"
)

// binaries is the folder of our binaries, set once before any test runs.
var binaries string

// Main builds the daemons and the given packages, runs the tests and ends the process. It fails when a goroutine is left.
func Main(m *testing.M, packages ...string) {
	dir, err := os.MkdirTemp("", "apptest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binaries = dir
	args := append([]string{"build", "-o", dir, "brokerd/cmd/brokerd", "brokerd/cmd/lookupd"}, packages...)
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building: %v\n%s", err, out)
		os.RemoveAll(dir)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// Find returns the path of a binary. The test is skipped when it is one of NSQ's that is not on PATH.
func Find(t testing.TB, name string) string {
	t.Helper()
	if !strings.HasPrefix(name, "nsq") && name != "to_nsq" {
		return filepath.Join(binaries, name)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("NOT RUN: %s is not on PATH; get it with: make nsq", name)
	}
	return path
}

// Process is a process that can be ended and started again with the same arguments. Its methods are for one goroutine.
type Process struct {
	Label     string // for messages
	TCP, HTTP string // addresses of a daemon
	Args      []string
	Stdin     *os.File // of the next start; nil is empty
	Stdout    string   // file that gets its output
	Stderr    string   // file that gets its log
	Data      string   // folder of a broker

	path    string
	client  *httpapi.HTTPClient
	command *exec.Cmd
	exited  chan struct{} // closed when command ended
	exitErr error         // why, read after exited
}

// New prepares a process of the named binary; Start starts it. The test kills it at its end, and shows the end of its log if
// it failed.
func New(t testing.TB, name string, args ...string) *Process {
	t.Helper()
	dir := t.TempDir()
	p := &Process{
		Label: name, Args: args, path: Find(t, name), Stdout: filepath.Join(dir, "stdout"), Stderr: filepath.Join(dir, "stderr"),
		client: httpapi.NewHTTPClient(httpapi.ClientConfig{ConnectTimeout: time.Second, RequestTimeout: 5 * time.Second}),
	}
	t.Cleanup(func() {
		if p.command != nil {
			p.command.Process.Kill() // an error means that it is gone
			<-p.exited
		}
		p.client.Close()
		if t.Failed() {
			t.Logf("the end of %s's log:\n%s", p.Label, p.LastWords())
		}
	})
	return p
}

// Lookup starts a lookup: name is lookupd or nsqlookupd.
func Lookup(t testing.TB, name string) *Process {
	t.Helper()
	tcp, http := FreeAddress(t), FreeAddress(t)
	p := New(t, name, "--tcp-address="+tcp, "--http-address="+http, "--broadcast-address=127.0.0.1")
	p.TCP, p.HTTP = tcp, http
	p.Start(t)
	return p
}

// Broker starts a broker that registers with the lookups: name is brokerd or nsqd.
func Broker(t testing.TB, name string, lookups []*Process, args ...string) *Process {
	t.Helper()
	tcp, http, data := FreeAddress(t), FreeAddress(t), t.TempDir()
	args = append([]string{"--tcp-address=" + tcp, "--http-address=" + http, "--broadcast-address=127.0.0.1",
		"--data-path=" + data}, args...)
	for _, lookup := range lookups {
		args = append(args, "--lookupd-tcp-address="+lookup.TCP)
	}
	p := New(t, name, args...)
	p.TCP, p.HTTP, p.Data = tcp, http, data
	p.Start(t)
	return p
}

// Tool starts a tool. It may end by itself: see Wait.
func Tool(t testing.TB, name string, args ...string) *Process {
	t.Helper()
	p := New(t, name, args...)
	p.Start(t)
	return p
}

// Start runs the process, and when it is a daemon returns once it answers.
func (p *Process) Start(t testing.TB) {
	t.Helper()
	log, out := appendTo(t, p.Stderr), appendTo(t, p.Stdout)
	defer log.Close()
	defer out.Close()
	p.command = exec.Command(p.path, p.Args...)
	p.command.Stdout, p.command.Stderr = out, log
	if p.Stdin != nil {
		p.command.Stdin = p.Stdin
	}
	p.exited = make(chan struct{})
	if err := p.command.Start(); err != nil {
		t.Fatalf("starting %s: %v", p.Label, err)
	}
	go func(command *exec.Cmd, exited chan struct{}) {
		p.exitErr = command.Wait()
		close(exited)
	}(p.command, p.exited)
	if p.HTTP == "" {
		return
	}
	Eventually(t, p.Label+" answers", 20*time.Second, func() bool {
		if p.Ended() {
			t.Fatalf("%s ended at its start: %v\n%s", p.Label, p.exitErr, p.LastWords())
		}
		return p.client.Get(t.Context(), "http://"+p.HTTP+"/ping", nil) == nil
	})
}

func appendTo(t testing.TB, name string) *os.File {
	t.Helper()
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Ended reports whether the process is gone.
func (p *Process) Ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// Wait waits until the process ends by itself, and returns its exit code, -1 for a signal.
func (p *Process) Wait(t testing.TB, within time.Duration) int {
	t.Helper()
	select {
	case <-p.exited:
		return p.command.ProcessState.ExitCode()
	case <-time.After(within):
		t.Fatalf("%s is still there after %v\n%s", p.Label, within, p.LastWords())
		return 0
	}
}

// Signal sends a signal.
func (p *Process) Signal(t testing.TB, signal os.Signal) {
	t.Helper()
	if err := p.command.Process.Signal(signal); err != nil {
		t.Fatalf("%s was gone already: %v\n%s", p.Label, err, p.LastWords())
	}
}

// Stop ends the process as an operator does, and expects it to leave in good order.
func (p *Process) Stop(t testing.TB) {
	t.Helper()
	p.Signal(t, syscall.SIGTERM)
	if code := p.Wait(t, 40*time.Second); code != 0 {
		t.Errorf("%s, stopped: exit code %d\n%s", p.Label, code, p.LastWords())
	}
}

// Kill ends the process without a word.
func (p *Process) Kill(t testing.TB) {
	t.Helper()
	p.Signal(t, syscall.SIGKILL)
	p.Wait(t, 40*time.Second)
}

// LastWords returns the end of the process's log.
func (p *Process) LastWords() string {
	text, err := os.ReadFile(p.Stderr)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
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

// Get asks a daemon, and decodes its answer.
func (p *Process) Get(t testing.TB, path string, answer any) {
	t.Helper()
	if err := p.client.Get(t.Context(), "http://"+p.HTTP+path, answer); err != nil {
		t.Fatalf("%s %s: %v", p.Label, path, err)
	}
}

// Post sends a daemon something.
func (p *Process) Post(t testing.TB, path string, body any) {
	t.Helper()
	if err := p.client.Post(t.Context(), "http://"+p.HTTP+path, body, nil); err != nil {
		t.Fatalf("%s %s: %v", p.Label, path, err)
	}
}

// Create makes a topic on a broker, and its channels.
func (p *Process) Create(t testing.TB, topic string, channels ...string) {
	t.Helper()
	p.Post(t, "/topic/create?topic="+url.QueryEscape(topic), nil)
	for _, channel := range channels {
		p.Post(t, "/channel/create?topic="+url.QueryEscape(topic)+"&channel="+url.QueryEscape(channel), nil)
	}
}

// Channel returns a broker's figures of a channel, the zero value when it or the broker is not there.
func (p *Process) Channel(t testing.TB, topic, channel string) httpapi.Channel {
	t.Helper()
	for _, c := range p.Topic(t, topic).Channels {
		if c.ChannelName == channel {
			return c
		}
	}
	return httpapi.Channel{}
}

// Topic returns a broker's figures of a topic, the zero value when it or the broker is not there.
func (p *Process) Topic(t testing.TB, topic string) httpapi.Topic {
	t.Helper()
	var stats httpapi.Stats
	address := "http://" + p.HTTP + "/stats?format=json&include_mem=false&topic=" + url.QueryEscape(topic)
	if p.client.Get(t.Context(), address, &stats) != nil || len(stats.Topics) != 1 {
		return httpapi.Topic{}
	}
	return stats.Topics[0]
}

// Eventually asks again until the answer is yes, and fails the test when that takes too long.
func Eventually(t testing.TB, what string, within time.Duration, ask func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !ask() {
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

// lastPort is the last one that was given out in this process; it begins elsewhere in each process.
var lastPort atomic.Int32

// FreeAddress returns a loopback address that nobody listens on, that the system will not give to anybody by itself, and that no
// other test of this process gets.
func FreeAddress(t testing.TB) string {
	t.Helper()
	const first, ports = 20000, 10000
	lastPort.CompareAndSwap(0, int32(os.Getpid()*100%ports))
	var failed error
	for range 100 {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+lastPort.Add(1)%ports))
		if err == nil {
			listener.Close()
			return listener.Addr().String()
		}
		failed = errors.Join(failed, err)
	}
	t.Fatal(failed)
	return ""
}
