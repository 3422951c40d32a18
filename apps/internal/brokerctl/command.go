package brokerctl

import (
	"brokerd/apps/appkit"
	"brokerd/apps/internal/bench"
	"brokerd/apps/internal/demo"
	"brokerd/apps/internal/democluster"
	"brokerd/apps/internal/pub"
	"brokerd/apps/internal/relay"
	"brokerd/apps/internal/ship"
	"brokerd/apps/internal/stat"
	"brokerd/apps/internal/tail"
	"brokerd/apps/internal/tofile"
	"brokerd/apps/internal/tohttp"
)

const where = `Daemons are named by --lookupd-http-address and --nsqd-http-address, which may be given together, by the variables
BROKERCTL_LOOKUPD_HTTP_ADDRESS and BROKERCTL_NSQD_HTTP_ADDRESS, or once and for all by a context: see brokerctl context --help.`

// New returns the command with all that is in it.
func New() appkit.Command {
	topic := group("topic", "make, pause, empty, delete and show topics", topicVerbs...)
	channel := group("channel", "make, pause, empty, delete and show channels", channelVerbs...)
	topic.Sub = append(topic.Sub, group("config", "show and set a topic's options", topicConfigVerbs...))
	channel.Sub = append(channel.Sub, group("config", "show and set a channel's options", channelConfigVerbs...))
	node := group("node", "show brokers, drain them, and set their options", nodeVerbs...)
	node.Sub = append(node.Sub, group("config", "show and set options of running brokers", nodeConfigVerbs...))
	return appkit.Command{
		Name:    "brokerctl",
		Summary: "everything for looking after brokers, and every tool",
		Help: where + `

Shells complete all of it: see brokerctl completion --help. brokerctl links DIR makes NSQ's tools of it: called as nsq_tail it is
brokerctl tail, with nsq_tail's flags.`,
		Example: `brokerctl context add local --lookupd-http-address=127.0.0.1:4161
brokerctl topic create orders
brokerctl pub orders 'two pens' 'three cups'
brokerctl sub orders/billing -n 2
brokerctl topic stats
brokerctl channel empty orders billing`,
		Sub: []appkit.Command{
			topic, channel, node,
			group("cluster", "show a cluster of brokers and change who is in it (a preview)", clusterVerbs...),
			peekVerb.command(), traceVerb.command(), finishVerb.command(), retainVerb.command(), deferredVerb.command(), cancelVerb.command(), releaseVerb.command(),
			dumpVerb.command(), applyVerb.command(), contextGroup(), tokenGroup(),
			pub.Command, tail.Command, stat.Command, tofile.Command, tohttp.Command, relay.Command, ship.Command,
			bench.Command, demo.Command, demo.Doomed, democluster.Command, links(), completion(), manual(),
		},
		Names: names,
	}
}

func group(name, summary string, verbs ...verb) appkit.Command {
	c := appkit.Command{Name: name, Summary: summary, Help: where}
	for _, v := range verbs {
		c.Sub = append(c.Sub, v.command())
	}
	return c
}
