package broker_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"brokerd/broker"
	"brokerd/protocol/httpapi"
)

// exported returns the sum over all topics and channels of each metric that a broker tells.
func (n *node) exported() map[string]int64 {
	n.t.Helper()
	sums := map[string]int64{}
	for line := range strings.Lines(n.get("/metrics")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if rest := strings.LastIndexByte(line, '}'); rest > 0 {
			name, value = line[:strings.IndexByte(line, '{')], strings.TrimSpace(line[rest+1:])
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil && line[0] != '#' {
			sums[name] += int64(v)
		}
	}
	return sums
}

// TestSumOverNodesIsWhatThereIs: three brokers, of whose topics only one each is told by itself. After each thing that could make a
// figure stale or count twice (options, a reload, a restart, a deleted channel) the sum over the nodes is what was published and not finished.
func TestSumOverNodesIsWhatThereIs(t *testing.T) {
	t.Parallel()
	const topics, each = 3, 20
	var nodes []*node
	var opts []broker.Options
	for range 3 {
		o := options(t)
		o.MetricsMaxTopics, o.MemQueueSize = 1, 5
		opts = append(opts, o)
		nodes = append(nodes, startWith(t, o))
	}
	left := int64(0)
	check := func(step string) {
		t.Helper()
		sum := map[string]int64{}
		for _, n := range nodes {
			for name, v := range n.exported() {
				sum[name] += v
			}
		}
		got := sum["brokerd_channel_waiting_messages"] + sum["brokerd_channel_in_flight_messages"] + sum["brokerd_channel_deferred_messages"]
		if got != left || sum["brokerd_channel_unbalanced"] != 0 || sum["brokerd_topic_waiting_messages"] != 0 {
			t.Errorf("%s: %d messages are told, %d are there; %d channels do not add up, topics themselves have %d", step, got, left,
				sum["brokerd_channel_unbalanced"], sum["brokerd_topic_waiting_messages"])
		}
		if on := sum["brokerd_channel_waiting_disk_messages"]; on > sum["brokerd_channel_waiting_messages"] {
			t.Errorf("%s: %d of %d waiting messages are on disk", step, on, sum["brokerd_channel_waiting_messages"])
		}
	}
	for i, n := range nodes {
		for k := range topics {
			name := fmt.Sprintf("t%d", k)
			n.post("/topic/create?topic="+name, "")
			n.post("/channel/create?topic="+name+"&channel=c", "")
			for m := range each + i {
				n.publish(name, strconv.Itoa(m))
				left++
			}
		}
	}
	check("published")
	for _, n := range nodes {
		c := n.subscribe("t0", "c", 3)
		c.Send("FIN " + c.Next().Message().ID + "\n")
		left--
		c.Send("REQ " + c.Next().Message().ID + " 3600000\n")
		c.Next() // it stays out
		eventually(t, "the answers are in", func() bool { s := n.channel("t0", "c"); return s.DeferredCount == 1 && s.InFlightCount >= 1 })
	}
	check("some are finished, deferred, out")
	for i, n := range nodes {
		n.post("/topic/config?topic=t0", `{"max_depth":1000000,"ttl":"2h"}`)
		n.post("/channel/config?topic=t1&channel=c", `{"msg_timeout":"90s"}`)
		opts[i].TopicOptions, opts[i].MaxRdyCount = []string{"t* idle_delete=1h"}, 100
		if err := n.Reload(opts[i], httpapi.Origins{}); err != nil {
			t.Fatal(err)
		}
	}
	check("options have changed, and settings were read anew")
	for i, n := range nodes {
		n.stop()
		nodes[i] = startWith(t, opts[i])
		check(fmt.Sprintf("node %d was started again", i))
	}
	for _, n := range nodes {
		left -= n.channel("t2", "c").Depth
		n.post("/channel/delete?topic=t2&channel=c", "")
		left -= n.channel("t1", "c").Depth
		n.post("/channel/empty?topic=t1&channel=c", "")
	}
	check("a channel is deleted, another one emptied")
	if status, _ := nodes[0].ask(http.MethodPost, "/topic/delete?topic=t0", ""); status != http.StatusOK {
		t.Fatal(status)
	}
	left = nodes[1].channel("t0", "c").Depth + int64(nodes[1].channel("t0", "c").DeferredCount) + nodes[2].channel("t0", "c").Depth + int64(nodes[2].channel("t0", "c").DeferredCount)
	check("a topic is deleted on one")
}
