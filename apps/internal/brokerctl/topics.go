package brokerctl

import (
	"flag"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/fleet"
	"brokerd/apps/internal/stat"
	"brokerd/protocol/httpapi"
)

var topicVerbs = []verb{
	{
		name: "list", summary: "print the names of all topics", run: listTopics,
		example: "topic list --lookupd-http-address=127.0.0.1:4161",
	},
	{
		name: "lookup", summary: "print the channels of a topic and the brokers that have it", args: "TOPIC", run: lookupTopic,
		example: "topic lookup orders --lookupd-http-address=127.0.0.1:4161",
	},
	{
		name: "stats", summary: "print the figures of topics and their channels, summed over brokers", args: "[TOPIC]",
		example: "topic stats orders --nsqd-http-address=127.0.0.1:4151", run: func(c *call) error { return stats(c, c.args[0], "") },
	},
	{
		name: "create", summary: "make a topic", args: "TOPIC", changes: true, run: createTopic,
		help: `Makes the topic known to the lookups, and creates it on the brokers that are given by their addresses, or else on every broker that
the lookups know. With --replicas=3 it is one topic of their cluster, of which three brokers have every message: a preview, see docs/cluster.md.`,
		example: "topic create orders --lookupd-http-address=127.0.0.1:4161\ntopic create payments --replicas=3 --nsqd-http-address=127.0.0.1:4151",
		flags: func(c *call, flags *flag.FlagSet) {
			flags.IntVar(&c.replicas.count, "replicas", 1, "how many brokers of a cluster have every message: 1, or 3")
			flags.StringVar(&c.replicas.serve, "serve", "", "which of these three tell lookups that they have it: all, or leader; all for one that is not there yet")
		},
	},
	{
		name: "delete", summary: "delete a topic with its channels and messages", args: "TOPIC", changes: true, destroys: true,
		example: "topic delete orders --lookupd-http-address=127.0.0.1:4161",
		run:     func(c *call) error { return remove(c, "/topic/delete") },
	},
	{
		name: "empty", summary: "delete the messages that wait in a topic for its first channel", args: "TOPIC", changes: true, destroys: true,
		help: "What has gone to channels already stays there: see brokerctl channel empty.",
		run:  func(c *call) error { return empty(c, "/topic/empty") },
	},
	{
		name: "pause", summary: "let nothing go from a topic to its channels", args: "TOPIC", changes: true,
		example: "topic pause orders --lookupd-http-address=127.0.0.1:4161",
		run:     func(c *call) error { return everywhere(c, "/topic/pause") },
	},
	{
		name: "unpause", summary: "let messages go from a topic to its channels again", args: "TOPIC", changes: true,
		run: func(c *call) error { return everywhere(c, "/topic/unpause") },
	},
	{
		name: "tombstone", summary: "hide a broker from consumers of a topic, and delete the topic there", args: "TOPIC NODE", changes: true, destroys: true,
		help: `NODE is the broker's HTTP address as brokerctl node list prints it. Lookups hide it for as long as their
--tombstone-lifetime says, so that no consumer reconnects before the broker has deleted the topic.`,
		example: "topic tombstone orders 10.0.0.2:4151 --lookupd-http-address=127.0.0.1:4161", run: tombstone,
	},
}

// listTopics prints what lookups and brokers know.
func listTopics(c *call) error {
	topics, failures := c.fleet.Topics(c.ctx)
	for _, a := range c.fleet.Stats(c.ctx, c.direct, fleet.Query{}) {
		if a.Err != nil {
			failures = append(failures, fleet.Failure{Address: a.Address, Err: a.Err})
		}
		for _, t := range a.Value.Topics {
			topics = append(topics, t.TopicName)
		}
	}
	return c.showNames(topics, failures)
}

// showNames prints each name once, sorted.
func (c *call) showNames(names []string, failures []fleet.Failure) error {
	slices.Sort(names)
	names = slices.Compact(names)
	if names == nil {
		names = []string{}
	}
	return c.show(names, failures, func(w io.Writer) {
		for _, n := range names {
			fmt.Fprintln(w, n)
		}
	})
}

// lookupTopic prints what the lookups say of a topic.
func lookupTopic(c *call) error {
	if len(c.fleet.Lookups()) == 0 {
		return appkit.Nowhere("--lookupd-http-address required")
	}
	var failures []fleet.Failure
	answers := fleet.Each(c.fleet.Lookups(), func(address string) (found httpapi.Lookup, err error) {
		err = c.fleet.Get(c.ctx, address, query("/lookup", c.args[0], ""), &found)
		return found, err
	})
	all, known := httpapi.Lookup{Channels: []string{}, Producers: []httpapi.Producer{}}, false
	for _, a := range answers {
		if a.Err != nil && !fleet.IsNotFound(a.Err) {
			failures = append(failures, fleet.Failure{Address: a.Address, Err: a.Err})
		}
		known = known || a.Err == nil
		all.Channels = append(all.Channels, a.Value.Channels...)
		for _, p := range a.Value.Producers {
			if !slices.ContainsFunc(all.Producers, func(o httpapi.Producer) bool { return o.HTTPAddress() == p.HTTPAddress() }) {
				all.Producers = append(all.Producers, p)
			}
		}
	}
	if !known && len(failures) == 0 {
		return appkit.Missingf("nobody knows %s", c.what())
	}
	slices.Sort(all.Channels)
	all.Channels = slices.Compact(all.Channels)
	return c.show(all, failures, func(w io.Writer) {
		for _, name := range all.Channels {
			fmt.Fprintln(w, "channel ", name)
		}
		for _, p := range all.Producers {
			fmt.Fprintf(w, "broker   tcp %s  http %s  %s %s\n", p.TCPAddress(), p.HTTPAddress(), appkit.Plain(p.Hostname), appkit.Plain(p.Version))
		}
	})
}

// stats prints what brokers tell of a topic and a channel, or of all.
func stats(c *call, topic, channel string) error {
	brokers, failures := c.fleet.Brokers(c.ctx, topic)
	answers := c.fleet.Stats(c.ctx, brokers, fleet.Query{Topic: topic, Channel: channel})
	for _, a := range answers {
		if a.Err != nil {
			failures = append(failures, fleet.Failure{Address: a.Address, Err: a.Err})
		}
	}
	rows := stat.Sum(answers)
	if topic != "" && len(failures) == 0 && !slices.ContainsFunc(rows, func(r stat.Row) bool {
		return channel == "" || r.Channel == channel
	}) {
		return appkit.Missingf("nobody knows %s", c.what())
	}
	return c.show(rows, failures, func(w io.Writer) { stat.Table(rows).Write(w, c.env.Width()) })
}

// replicasFlags say how a topic is kept in a cluster.
type replicasFlags struct {
	count int
	serve string
}

// replicated is how many replicas a topic has that has several.
const replicated = 3

// createReplicated makes a topic of a cluster, by one of its brokers.
func createReplicated(c *call) error {
	if c.replicas.count != replicated {
		return appkit.Usagef("--replicas must be 1 or %d, not %d", replicated, c.replicas.count)
	}
	at, _, err := c.clusterAt()
	if err != nil {
		return err
	}
	return c.do(nil, steps([]string{at}, replicatedPath(c.args[0], c.replicas.serve)))
}

// replicatedPath is the request that makes a replicated topic; serve says which brokers lookups name, empty: all.
func replicatedPath(topic, serve string) string {
	path := query("/topic/create", topic, "") + "&replicas=" + strconv.Itoa(replicated)
	if serve != "" {
		path += "&serve=" + url.QueryEscape(serve)
	}
	return path
}

func createTopic(c *call) error {
	if c.replicas.count != 1 {
		return createReplicated(c)
	}
	path := query("/topic/create", c.args[0], "")
	brokers, failures := c.direct, []fleet.Failure(nil)
	if len(brokers) == 0 {
		if brokers, failures = c.fleet.Brokers(c.ctx, ""); len(brokers) == 0 && len(failures) == 0 {
			return appkit.Missingf("the lookups know no broker to make the topic on")
		}
		failures = nil // they are asked, and so counted, again
	}
	return c.do(failures, steps(c.fleet.Lookups(), path), steps(brokers, path))
}

// everywhere sends a request about a topic, or a channel of it, to every broker that has the topic.
func everywhere(c *call, path string) error {
	brokers, failures := c.brokersOf(c.args[0])
	return c.do(failures, steps(brokers, query(path, c.args[0], c.channel())))
}

// channel is the channel that the verb is about; empty when it is about a topic.
func (c *call) channel() string {
	if len(c.args) > 1 {
		return c.args[1]
	}
	return ""
}

// empty deletes messages, once that is confirmed.
func empty(c *call, path string) error {
	if err := c.ask("delete the messages of %s", c.what()); err != nil {
		return err
	}
	return everywhere(c, path)
}

// remove deletes a topic or channel, once that is confirmed: at the lookups first, so that it is not announced anew. Lookups answer
// that all is well whether they knew it or not, so that they are asked before.
func remove(c *call, path string) error {
	path = query(path, c.args[0], c.channel())
	brokers, failures := c.brokersOf(c.args[0])
	if len(failures) == 0 && len(c.direct) == 0 && !c.lookedUp(c.args[0], c.channel()) {
		return appkit.Missingf("nobody knows %s", c.what())
	}
	if err := c.ask("delete %s with its messages, on %s", c.what(), counted(len(brokers), "broker")); err != nil {
		return err
	}
	known := len(c.fleet.Lookups()) == 0 || len(c.direct) == 0 || c.lookedUp(c.args[0], c.channel())
	err := c.do(nil, steps(c.fleet.Lookups(), path), steps(brokers, path)) // lookups that failed before are asked, and so counted, again
	if err == nil && !known && c.tally().absent == len(brokers) {
		return appkit.Missingf("nobody knows %s", c.what())
	}
	return err
}

// lookedUp reports whether a lookup knows the topic, and the channel unless that is empty.
func (c *call) lookedUp(topic, channel string) bool {
	for _, a := range fleet.Each(c.fleet.Lookups(), func(address string) (found httpapi.Lookup, err error) {
		err = c.fleet.Get(c.ctx, address, query("/lookup", topic, ""), &found)
		return found, err
	}) {
		if a.Err == nil && (channel == "" || slices.Contains(a.Value.Channels, channel)) {
			return true
		}
	}
	return false
}

// tombstone hides a broker at the lookups, then deletes the topic there.
func tombstone(c *call) error {
	topic, node := c.args[0], c.args[1]
	nodes, failures := c.fleet.Nodes(c.ctx)
	i := slices.IndexFunc(nodes, func(n httpapi.Node) bool { return n.HTTPAddress() == node })
	if i < 0 {
		if len(failures) > 0 {
			return fmt.Errorf("no lookup that answered knows the broker %s, and one did not answer: %w", node, failures[0])
		}
		return appkit.Missingf("no lookup knows the broker %s: see brokerctl node list", node)
	}
	for _, a := range c.fleet.Stats(c.ctx, []string{node}, fleet.Query{Topic: topic}) {
		if len(a.Value.Topics) > 0 && a.Value.Topics[0].Role != "" {
			return appkit.Usagef("the topic %s is replicated: deleted on one broker it is deleted on all", topic)
		}
	}
	if err := c.ask("hide the broker %s from consumers of the topic %s, and delete the topic there with its messages", node, topic); err != nil {
		return err
	}
	// nsqlookupd compares with address:port without the brackets of an IPv6 address.
	plain := fmt.Sprintf("%s:%d", nodes[i].BroadcastAddress, nodes[i].HTTPPort)
	hide := steps(c.fleet.Lookups(), query("/topic/tombstone", topic, "")+"&node="+plain)
	return c.do(nil, hide, steps([]string{node}, query("/topic/delete", topic, "")))
}

// showAnswers asks each broker and prints its answer behind its address.
func (c *call) showAnswers(brokers []string, failures []fleet.Failure, ask func(address string) (any, error)) error {
	if len(brokers) == 0 && len(failures) == 0 {
		return appkit.Missingf("the lookups know no broker of %s", c.what())
	}
	answers := fleet.Each(brokers, ask)
	values := make(map[string]any)
	for _, a := range answers {
		if a.Err != nil {
			failures = append(failures, fleet.Failure{Address: a.Address, Err: a.Err})
			continue
		}
		values[a.Address] = a.Value
	}
	if len(values) == 0 && len(failures) == len(answers) && !slices.ContainsFunc(failures, func(f fleet.Failure) bool { return !fleet.IsUnknown(f.Err) }) {
		return appkit.Missingf("nobody knows %s", c.what())
	}
	return c.show(values, failures, func(w io.Writer) {
		for _, a := range answers {
			if t, ok := a.Value.(told); ok && a.Err == nil {
				c.writeOptions(w, a.Address, &t.options)
			} else if a.Err == nil {
				fmt.Fprintf(w, "%s  %s\n", a.Address, a.Value)
			}
		}
	})
}
