package browser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/protocol/httpapi"
)

// cluster is a lookup, some brokers and an admin.
type cluster struct {
	lookup  *daemon
	brokers []*daemon
	admin   *daemon
	base    string // URL of the page, with a slash at its end
}

// newCluster starts the daemons. flags are admind's.
func newCluster(t *testing.T, brokers int, flags ...string) *cluster {
	t.Helper()
	needBrowser(t)
	c := &cluster{lookup: newDaemon(t, "lookupd", "--broadcast-address=127.0.0.1")}
	c.lookup.start(t)
	for range brokers {
		b := newDaemon(t, "brokerd", "--broadcast-address=127.0.0.1", "--data-path="+t.TempDir(), "--lookupd-tcp-address="+c.lookup.tcp)
		b.start(t)
		c.brokers = append(c.brokers, b)
	}
	c.admin = newDaemon(t, "admind", append([]string{"--lookupd-http-address=" + c.lookup.http, "--refresh-interval=300ms"}, flags...)...)
	c.base = "http://" + c.admin.http + "/"
	for _, f := range flags {
		if path, ok := strings.CutPrefix(f, "--base-path="); ok {
			c.base = "http://" + c.admin.http + path + "/"
		}
	}
	c.admin.start(t)
	c.waitForNodes(t, brokers)
	return c
}

// waitForNodes returns once admind has heard from n brokers.
func (c *cluster) waitForNodes(t *testing.T, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("admind knows %d nodes", n), func() bool {
		answer, err := http.Get(c.base + "api/session")
		if err != nil {
			return false
		}
		answer.Body.Close()
		var nodes struct{ Producers []httpapi.Node }
		c.lookup.get(t, "/nodes", &nodes)
		return len(nodes.Producers) == n
	})
}

// create makes a topic and a channel on each of the brokers.
func (c *cluster) create(t *testing.T, topic, channel string) {
	t.Helper()
	for _, b := range c.brokers {
		b.post(t, "/topic/create?topic="+url.QueryEscape(topic), "")
		b.post(t, "/channel/create?topic="+url.QueryEscape(topic)+"&channel="+url.QueryEscape(channel), "")
	}
}

// consume connects a consumer to every broker; handle may be nil, which finishes everything.
func (c *cluster) consume(t *testing.T, topic, channel, name string, handle nsq.HandlerFunc) {
	t.Helper()
	config := nsq.NewConfig()
	config.ClientID, config.Hostname, config.MaxInFlight, config.Snappy = name, name+".test", 10, true
	config.LookupdPollInterval, config.LookupdPollJitter = 100*time.Millisecond, 0 // between attempts to connect again
	consumer, err := nsq.NewConsumer(topic, channel, config)
	if err != nil {
		t.Fatal(err)
	}
	consumer.SetLogger(nil, nsq.LogLevelError)
	if handle == nil {
		handle = func(*nsq.Message) error { return nil }
	}
	consumer.AddHandler(handle)
	for _, b := range c.brokers {
		if err := consumer.ConnectToNSQD(b.tcp); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		consumer.Stop()
		<-consumer.StopChan
	})
}

// daemon is a process with a TCP and an HTTP address on the loopback.
type daemon struct {
	name, tcp, http, log string
	args                 []string
	process              *exec.Cmd
	exited               chan struct{} // closed when process ended
}

// newDaemon prepares a daemon. The test kills it at the end, and shows the end of its log if it failed.
func newDaemon(t *testing.T, name string, args ...string) *daemon {
	t.Helper()
	d := &daemon{name: name, http: freeAddress(t), log: filepath.Join(t.TempDir(), "log"), args: args}
	d.args = append(d.args, "--http-address="+d.http)
	if name != "admind" {
		d.tcp = freeAddress(t)
		d.args = append(d.args, "--tcp-address="+d.tcp)
	}
	t.Cleanup(func() {
		d.kill()
		if text, err := os.ReadFile(d.log); err == nil && t.Failed() {
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			t.Logf("the end of %s's log:\n%s", name, strings.Join(lines[max(0, len(lines)-12):], "\n"))
		}
	})
	return d
}

// start runs the process and returns once it answers.
func (d *daemon) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	d.process = exec.Command(filepath.Join(daemons, d.name), d.args...)
	d.process.Stdout, d.process.Stderr = log, log
	d.exited = make(chan struct{})
	if err := d.process.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		d.process.Wait() // the tests kill it: how it ended says nothing
		close(d.exited)
	}()
	eventually(t, d.name+" answers", func() bool {
		connection, err := net.Dial("tcp", d.http)
		if err == nil {
			connection.Close()
		}
		return err == nil
	})
}

// kill ends the process without a word.
func (d *daemon) kill() {
	if d.process == nil {
		return
	}
	d.process.Process.Kill() // an error means that it is gone
	<-d.exited
	http.DefaultClient.CloseIdleConnections()
}

// client asks the daemons; its connections end with the test's last one.
var client = httpapi.NewHTTPClient(httpapi.ClientConfig{ConnectTimeout: time.Second, RequestTimeout: 5 * time.Second})

// get asks the daemon, and decodes its answer.
func (d *daemon) get(t *testing.T, path string, answer any) {
	t.Helper()
	if err := client.Get(t.Context(), "http://"+d.http+path, answer); err != nil {
		t.Fatalf("%s %s: %v", d.name, path, err)
	}
}

// post tells the daemon something.
func (d *daemon) post(t *testing.T, path, body string) {
	t.Helper()
	answer, err := http.Post("http://"+d.http+path, "", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s %s", d.name, path, answer.Status, text)
	}
}

// topic returns the broker's own figures of a topic, and whether it has it.
func (d *daemon) topic(t *testing.T, name string) (httpapi.Topic, bool) {
	t.Helper()
	var stats httpapi.Stats
	d.get(t, "/stats?format=json&include_mem=false&topic="+url.QueryEscape(name), &stats)
	i := slices.IndexFunc(stats.Topics, func(t httpapi.Topic) bool { return t.TopicName == name })
	if i < 0 {
		return httpapi.Topic{}, false
	}
	return stats.Topics[i], true
}

// channel returns the broker's own figures of a channel, and whether it has it.
func (d *daemon) channel(t *testing.T, topic, name string) (httpapi.Channel, bool) {
	t.Helper()
	has, _ := d.topic(t, topic)
	i := slices.IndexFunc(has.Channels, func(c httpapi.Channel) bool { return c.ChannelName == name })
	if i < 0 {
		return httpapi.Channel{}, false
	}
	return has.Channels[i], true
}

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// eventually asks again until the answer is yes, and fails the test when that takes too long.
func eventually(t *testing.T, what string, ask func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !ask() {
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// lastPort is the last one that was given to a daemon of this process.
var lastPort = os.Getpid() * 100

// freeAddress returns a loopback address that nobody listens on, that the system will not give to anybody by itself, so that a
// daemon which is down for a moment keeps it, and that no other daemon of this process gets.
func freeAddress(t *testing.T) string {
	t.Helper()
	const first, ports = 12000, 8000
	var failed error
	for range 100 {
		lastPort++
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+lastPort%ports))
		if err == nil {
			listener.Close()
			return listener.Addr().String()
		}
		failed = errors.Join(failed, err)
	}
	t.Fatal(failed)
	return ""
}
