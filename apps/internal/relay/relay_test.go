package relay_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"brokerd/apps/internal/apptest"
	"brokerd/apps/internal/delivery"
	"brokerd/cmd/cmdtest"
)

func TestMain(m *testing.M) { cmdtest.Main(m, "cmd/brokerd", "cmd/lookupd", "apps/brokerctl") }

// quick makes go-nsq try again soon, where an operator would leave it at minutes.
var quick = []string{
	"--consumer-opt=default_requeue_delay,100ms", "--consumer-opt=max_backoff_duration,500ms",
	"--consumer-opt=backoff_multiplier,100ms", "--consumer-opt=lookupd_poll_interval,200ms",
}

func relayTool(t *testing.T, args ...string) *cmdtest.Process {
	t.Helper()
	return cmdtest.Verb(t, "relay", slices.Concat(args, quick, cmdtest.ConsumerOpts, cmdtest.ProducerOpts)...)
}

func numbered(label string, n int) []string {
	bodies := make([]string, n)
	for i := range bodies {
		bodies[i] = fmt.Sprintf("%s %d", label, i)
	}
	return bodies
}

// awaitAll returns once the inbox has each of the bodies, and says how many came twice.
func awaitAll(t *testing.T, inbox *apptest.Inbox, bodies []string, within time.Duration) {
	t.Helper()
	cmdtest.Eventually(t, "every message arrives", within, func() bool { return len(inbox.Bodies()) >= len(bodies) })
	got, deliveries := inbox.Bodies(), 0
	for _, b := range bodies {
		if got[b] == 0 {
			t.Fatalf("%q did not arrive", b)
		}
		deliveries += got[b]
	}
	t.Logf("%d messages arrived, %d of them twice", len(bodies), deliveries-len(bodies))
}

// brokers is the make of the two brokers of a test.
type brokers struct{ source, target string }

var makes = []brokers{{"brokerd", "brokerd"}, {"nsqd", "brokerd"}, {"brokerd", "nsqd"}}

// TestRelayLosesNothingWhileTargetsGo: the target is killed and comes back; its messages and the source's are all there.
func TestRelayLosesNothingWhileTargetsGo(t *testing.T) {
	for _, m := range makes {
		t.Run(m.source+" to "+m.target, func(t *testing.T) {
			t.Parallel()
			source := cmdtest.Broker(t, m.source, nil)
			target := cmdtest.Broker(t, m.target, nil)
			source.Create(t, "orders", "nsq_to_nsq")
			target.Create(t, "orders", "check")
			relay := relayTool(t, "--topic=orders", "--nsqd-tcp-address="+source.TCP, "--destination-nsqd-tcp-address="+target.TCP)
			first := numbered("before", 3000)
			apptest.Publish(t, source, "orders", first...)
			arrived := func(n int) func() bool {
				return func() bool { return target.Topic(t, "orders").MessageCount >= uint64(n) }
			}
			cmdtest.Eventually(t, "the first arrive", 20*time.Second, arrived(len(first)))
			target.Stop(t)
			second := numbered("while it was down", 3000)
			apptest.Publish(t, source, "orders", second...)
			cmdtest.Eventually(t, "the relay notices", 20*time.Second, func() bool {
				return source.Channel(t, "orders", "nsq_to_nsq").RequeueCount > 0
			})
			target.Start(t)
			inbox := apptest.Consume(t, "orders", "check", target)
			awaitAll(t, inbox, append(first, second...), 30*time.Second)
			cmdtest.Eventually(t, "the source is empty", 20*time.Second, func() bool {
				f := source.Topic(t, "orders")
				c := cmdtest.ChannelOf(f, "nsq_to_nsq")
				return f.Depth+c.Depth == 0 && c.InFlightCount == 0 && c.DeferredCount == 0
			})
			relay.Stop(t)
		})
	}
}

// TestRelayCarriesTopicsByPattern: topics that exist and ones that come up are relayed under other names, others are not, and the
// state tells of each.
func TestRelayCarriesTopicsByPattern(t *testing.T) {
	t.Parallel()
	lookup := cmdtest.Lookup(t, "lookupd")
	source := cmdtest.Broker(t, "brokerd", []*cmdtest.Process{lookup})
	target := cmdtest.Broker(t, "brokerd", nil)
	apptest.Publish(t, source, "eu.orders", "1")
	apptest.Publish(t, source, "us.orders", "never")
	address := cmdtest.FreeAddress(t)
	relay := relayTool(t, "--topic-pattern=^eu\\.", "--rename=^eu\\.(.*)$=from-eu.$1", "--lookupd-http-address="+lookup.HTTP,
		"--destination-nsqd-tcp-address="+target.TCP, "--topic-refresh=100ms", "--http-address="+address, "--status-interval=100ms")
	cmdtest.Eventually(t, "the first topic arrives", 20*time.Second, func() bool {
		return target.Topic(t, "from-eu.orders").MessageCount == 1
	})
	apptest.Publish(t, source, "eu.bills", "2", "3")
	cmdtest.Eventually(t, "a new topic arrives", 20*time.Second, func() bool {
		return target.Topic(t, "from-eu.bills").MessageCount == 2
	})
	if n := target.Topic(t, "us.orders").MessageCount; n != 0 {
		t.Errorf("%d messages of a topic that does not match", n)
	}
	defer http.DefaultClient.CloseIdleConnections()
	cmdtest.Eventually(t, "its state tells of both", 10*time.Second, func() bool { // the target has a message a moment before it is finished
		resp, err := http.Get("http://" + address + "/stats")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		var state delivery.State
		return json.NewDecoder(resp.Body).Decode(&state) == nil && len(state.Topics) == 2 && state.Aggregate.Messages == 3 &&
			state.Targets[0].Address == target.TCP && state.Topics[1].Destination == "from-eu.bills" && state.Topics[1].Finished == 2
	})
	cmdtest.Eventually(t, "its log tells what is done and left", 10*time.Second, func() bool {
		return strings.Contains(relay.LastWords(), "msg=progress messages=3 ") && strings.Contains(relay.LastWords(), " left=0")
	})
	relay.Stop(t)
}

// TestRelayRefusesLoops: what would come back to it again and again is an error at the start.
func TestRelayRefusesLoops(t *testing.T) {
	t.Parallel()
	broker := cmdtest.Broker(t, "brokerd", nil)
	_, port, _ := strings.Cut(broker.TCP, ":")
	relay := relayTool(t, "--topic=orders", "--nsqd-tcp-address=localhost:"+port, "--destination-nsqd-tcp-address="+broker.TCP)
	if code := relay.Wait(t, 10*time.Second); code != 1 || !strings.Contains(relay.LastWords(), "would be relayed to itself") {
		t.Errorf("exit code %d\n%s", code, relay.LastWords())
	}
	broker.Create(t, "copy", "check")
	relay = relayTool(t, "--topic=orders", "--destination-topic=copy", "--nsqd-tcp-address=localhost:"+port,
		"--destination-nsqd-tcp-address="+broker.TCP)
	apptest.Publish(t, broker, "orders", "1")
	cmdtest.Eventually(t, "under another name it is no loop", 10*time.Second, func() bool {
		return broker.Topic(t, "copy").MessageCount == 1
	})
	relay.Stop(t)
}

// TestRelayFiltersJSON: what is left out is finished, the rest arrives with the fields that are wanted.
func TestRelayFiltersJSON(t *testing.T) {
	t.Parallel()
	source, target := cmdtest.Broker(t, "brokerd", nil), cmdtest.Broker(t, "brokerd", nil)
	target.Create(t, "kept", "check")
	inbox := apptest.Consume(t, "kept", "check", target)
	apptest.Publish(t, source, "all", `{"kind":"a","n":1,"x":0}`, `{"kind":"b","n":2}`, `no JSON`, `{"n":3}`, `{"kind":"a","n":4}`)
	relay := relayTool(t, "--topic=all", "--destination-topic=kept", "--nsqd-tcp-address="+source.TCP, "--require-json-field=kind",
		"--require-json-value=a", "--whitelist-json-field=n", "--destination-nsqd-tcp-address="+target.TCP)
	awaitAll(t, inbox, []string{`{"n":1}`, `{"n":4}`}, 10*time.Second)
	cmdtest.Eventually(t, "all are finished", 10*time.Second, func() bool {
		c := source.Channel(t, "all", "nsq_to_nsq")
		return c.Depth == 0 && c.InFlightCount == 0 && c.DeferredCount == 0
	})
	relay.Stop(t)
	if n := len(inbox.Bodies()); n != 2 {
		t.Errorf("%d messages arrived", n)
	}
}

// TestRelaySaysWhatIsWrong covers NSQ's texts for flags, and that an unknown mode is an error.
func TestRelaySaysWhatIsWrong(t *testing.T) {
	const to = "--destination-nsqd-tcp-address=127.0.0.1:1"
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{}, "--nsqd-tcp-address or --lookupd-http-address required"},
		{[]string{"--nsqd-tcp-address=a:1", "--lookupd-http-address=a:2"}, "use --nsqd-tcp-address or --lookupd-http-address not both"},
		{[]string{"--nsqd-tcp-address=a:1", to}, "--topic or --topic-pattern required"},
		{[]string{"--nsqd-tcp-address=a:1", to, "--topic=a$"}, "--topic is invalid"},
		{[]string{"--nsqd-tcp-address=a:1", to, "--topic=a", "--channel=$"}, "--channel is invalid"},
		{[]string{"--nsqd-tcp-address=a:1", "--topic=a"}, "--destination-nsqd-tcp-address required"},
		{[]string{"--nsqd-tcp-address=a:1", to, "--topic=a", "--destination-topic=$"}, "no valid name"},
		{[]string{"--nsqd-tcp-address=a:1", to, "--topic=a", "--mode=random"}, "--mode must be one of"},
		{[]string{"--nsqd-tcp-address=a:1", to, "--topic-pattern=a"}, "needs --lookupd-http-address"},
		{[]string{"--lookupd-http-address=a:1", to, "--topic-pattern=("}, "--topic-pattern"},
	} {
		p := cmdtest.Verb(t, "relay", test.args...)
		if code := p.Wait(t, 10*time.Second); code != 2 || !strings.Contains(p.LastWords(), test.want) {
			t.Errorf("%q: exit code %d, %s; want %s", test.args, code, p.LastWords(), test.want)
		}
	}
}
