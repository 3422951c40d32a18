package interop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"brokerd/protocol/httpapi"
)

// ours is the folder of our binaries, set once before any test runs.
var ours string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "interop-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ours = dir
	build := exec.Command("go", "build", "-o", dir, "brokerd/cmd/brokerd", "brokerd/cmd/lookupd", "brokerd/cmd/admind")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the daemons: %v\n%s", err, out)
		os.RemoveAll(dir)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// find returns the path of a daemon's binary. The test is skipped when it is one of NSQ's that is not on PATH.
func find(t *testing.T, name string) string {
	t.Helper()
	if !strings.HasPrefix(name, "nsq") {
		return filepath.Join(ours, name)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("NOT RUN: %s is not on PATH; get it with: make nsq", name)
	}
	return path
}

// daemon is a process that can be ended and started again with the same arguments.
type daemon struct {
	name      string // of its binary
	label     string // of this one, for tables
	path      string
	args      []string
	tcp, http string // addresses; tcp is empty for an admin
	log       string // file
	client    *httpapi.HTTPClient
	process   *exec.Cmd
	exited    chan struct{} // closed when process ended
	exitErr   error         // why, read after exited
}

// newDaemon prepares a daemon; start starts it. The test kills it at the end and shows the end of its log if it failed.
func newDaemon(t *testing.T, name, label string, args ...string) *daemon {
	t.Helper()
	d := &daemon{
		name: name, label: label, path: find(t, name), http: freeAddress(t), log: filepath.Join(t.TempDir(), "log"),
		client: httpapi.NewHTTPClient(httpapi.ClientConfig{ConnectTimeout: time.Second, RequestTimeout: 5 * time.Second}),
	}
	d.args = append(args, "--http-address="+d.http)
	t.Cleanup(func() {
		if d.process != nil {
			d.process.Process.Kill() // an error means that it is gone
			<-d.exited
		}
		d.client.Close()
		if t.Failed() {
			t.Logf("the end of %s's log:\n%s", d.label, d.lastWords())
		}
	})
	return d
}

func newLookup(t *testing.T, name, label string) *daemon {
	t.Helper()
	tcp := freeAddress(t)
	d := newDaemon(t, name, label, "--tcp-address="+tcp, "--broadcast-address=127.0.0.1")
	d.tcp = tcp
	return d
}

func newBroker(t *testing.T, name, label, folder string, args ...string) *daemon {
	t.Helper()
	tcp := freeAddress(t)
	d := newDaemon(t, name, label, append(args, "--tcp-address="+tcp, "--broadcast-address=127.0.0.1", "--data-path="+folder)...)
	d.tcp = tcp
	return d
}

// atLevel adds to a broker's flags what gives it a level of durability. nsqd has but one, which is memory here.
func atLevel(name, level string, flags ...string) []string {
	flags = slices.Clone(flags)
	if name == "brokerd" {
		flags = append(flags, "--durability="+level)
	}
	return flags
}

// start runs the process and returns once it answers /ping.
func (d *daemon) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	d.process = exec.Command(d.path, d.args...)
	d.process.Stdout, d.process.Stderr = log, log
	d.exited = make(chan struct{})
	if err := d.process.Start(); err != nil {
		t.Fatalf("starting %s: %v", d.label, err)
	}
	go func() {
		d.exitErr = d.process.Wait()
		close(d.exited)
	}()
	eventually(t, d.label+" answers", 10*time.Second, func() bool {
		select {
		case <-d.exited:
			t.Fatalf("%s ended at its start: %v\n%s", d.label, d.exitErr, d.lastWords())
		default:
		}
		return d.client.Get(t.Context(), "http://"+d.http+"/ping", nil) == nil
	})
}

// stop ends the process as an operator does, and expects it to leave in good order.
func (d *daemon) stop(t *testing.T) {
	t.Helper()
	d.end(t, syscall.SIGTERM)
	if d.exitErr != nil {
		t.Errorf("%s, stopped: %v", d.label, d.exitErr)
	}
}

// kill ends the process without a word.
func (d *daemon) kill(t *testing.T) {
	t.Helper()
	d.end(t, syscall.SIGKILL)
}

func (d *daemon) end(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if err := d.process.Process.Signal(signal); err != nil {
		t.Fatalf("%s was gone already: %v\n%s", d.label, err, d.lastWords())
	}
	select {
	case <-d.exited:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s is still there 30 seconds after %v", d.label, signal)
	}
}

// lastWords returns the end of the daemon's log.
func (d *daemon) lastWords() string {
	text, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// get asks the daemon, and decodes its answer.
func (d *daemon) get(t *testing.T, path string, answer any) {
	t.Helper()
	if err := d.client.Get(t.Context(), "http://"+d.http+path, answer); err != nil {
		t.Fatalf("%s %s: %v", d.label, path, err)
	}
}

// post tells the daemon to do something to a topic, or to a channel when there is one.
func (d *daemon) post(t *testing.T, verb, topic, channel string) {
	t.Helper()
	address := "http://" + d.http + verb + "?topic=" + url.QueryEscape(topic)
	if channel != "" {
		address += "&channel=" + url.QueryEscape(channel)
	}
	if err := d.client.Post(t.Context(), address, nil, nil); err != nil {
		t.Fatalf("%s %s %s %s: %v", d.label, verb, topic, channel, err)
	}
}

// topic returns the broker's own figures of a topic.
func (d *daemon) topic(t *testing.T, name string) httpapi.Topic {
	t.Helper()
	var stats httpapi.Stats
	d.get(t, "/stats?format=json&include_mem=false&topic="+url.QueryEscape(name), &stats)
	if len(stats.Topics) != 1 {
		t.Fatalf("%s tells of %d topics named %s", d.label, len(stats.Topics), name)
	}
	return stats.Topics[0]
}

// channelOf returns the figures of one channel, the zero value when it is not there.
func channelOf(topic httpapi.Topic, name string) httpapi.Channel {
	for _, c := range topic.Channels {
		if c.ChannelName == name {
			return c
		}
	}
	return httpapi.Channel{}
}

// eventually asks again until the answer is yes, and fails the test when that takes too long.
func eventually(t *testing.T, what string, within time.Duration, ask func() bool) {
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

// lastPort is the last one that was given to a daemon of this process; it begins elsewhere in each process.
var lastPort atomic.Int32

// freeAddress returns a loopback address that nobody listens on, that the system will not give to anybody by itself, and that
// no other test of this process gets.
func freeAddress(t *testing.T) string {
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
