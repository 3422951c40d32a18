package browser

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
)

// refresh has admind ask its daemons more often than the 3 s that it takes by itself, so that tests wait less; each time a page is drawn anew, which takes most of
// what these tests take.
const refresh = "--refresh-interval=700ms"

// cluster is a lookup, some brokers and an admin.
type cluster struct {
	lookup  *cmdtest.Process
	brokers []*cmdtest.Process
	admin   *cmdtest.Process
	base    string // URL of the page, with a slash at its end
}

// newCluster starts the daemons. flags are admind's.
func newCluster(t *testing.T, brokers int, flags ...string) *cluster {
	t.Helper()
	needBrowser(t)
	c := &cluster{lookup: cmdtest.Lookup(t, "lookupd")}
	for range brokers {
		c.brokers = append(c.brokers, cmdtest.Broker(t, "brokerd", []*cmdtest.Process{c.lookup}))
	}
	c.admin = cmdtest.NewAdmin(t, "admind", append([]string{"--lookupd-http-address=" + c.lookup.HTTP, refresh}, flags...)...)
	c.base = "http://" + c.admin.HTTP + c.admin.Base + "/"
	c.admin.Start(t)
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
		c.lookup.Get(t, "/nodes", &nodes)
		return len(nodes.Producers) == n
	})
}

// ask returns what admind answers to a GET.
func (c *cluster) ask(t *testing.T, path string) string {
	t.Helper()
	answer, err := http.Get(c.base + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", path, answer.Status, err)
	}
	return string(body)
}

// create makes a topic and a channel on each of the brokers.
func (c *cluster) create(t *testing.T, topic, channel string) {
	t.Helper()
	for _, b := range c.brokers {
		b.Create(t, topic, channel)
	}
}

// consume connects a consumer to every broker; handle may be nil, which finishes everything.
func (c *cluster) consume(t *testing.T, topic, channel, name string, handle nsq.HandlerFunc) {
	t.Helper()
	config := cmdtest.ClientConfig()
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
		if err := consumer.ConnectToNSQD(b.TCP); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		consumer.Stop()
		<-consumer.StopChan
	})
}

// patience is how long a test waits for what must come: so long that only what never comes fails it, however busy the machine is.
const patience = 2 * time.Minute

// eventually asks again until the answer is yes, and fails the test when that takes too long.
func eventually(t *testing.T, what string, ask func() bool) {
	t.Helper()
	cmdtest.Eventually(t, what, patience, ask)
}
