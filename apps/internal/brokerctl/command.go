package brokerctl

import (
	"brokerd/apps/appkit"
	"brokerd/apps/internal/bench"
	"brokerd/apps/internal/pub"
	"brokerd/apps/internal/relay"
	"brokerd/apps/internal/ship"
	"brokerd/apps/internal/stat"
	"brokerd/apps/internal/tail"
	"brokerd/apps/internal/tofile"
	"brokerd/apps/internal/tohttp"
)

// Environment finds a variable of the process's environment.
type Environment func(name string) (value string, ok bool)

// The variables that say where the daemons are when no flag does, several with commas between them.
const (
	brokersVariable = "BROKERCTL_NSQD_HTTP_ADDRESS"
	lookupsVariable = "BROKERCTL_LOOKUPD_HTTP_ADDRESS"
)

// New returns the command with all that is in it.
func New(lookupEnv Environment) appkit.Command {
	group := func(name, summary, help string, verbs ...verb) appkit.Command {
		c := appkit.Command{Name: name, Summary: summary, Help: help}
		for _, v := range verbs {
			c.Sub = append(c.Sub, v.command(lookupEnv))
		}
		return c
	}
	const where = `Daemons are named by --lookupd-http-address and --nsqd-http-address, which may be given together, or else by the
environment variables ` + lookupsVariable + ` and ` + brokersVariable + `.`
	topic := group("topic", "make, pause, empty, delete and show topics", where, topicVerbs...)
	topic.Sub = append(topic.Sub, group("config", "show and set a topic's options", where, topicConfigVerbs...))
	node := group("node", "show brokers, and set their options", where, nodeVerbs...)
	node.Sub = append(node.Sub, group("config", "show and set options of running brokers", where, nodeConfigVerbs...))
	return appkit.Command{
		Name:    "brokerctl",
		Summary: "everything for looking after brokers, and every tool",
		Help: where + `

Shells complete all of it: see brokerctl completion --help.`,
		Example: `brokerctl topic list --lookupd-http-address=127.0.0.1:4161
brokerctl channel create orders billing --lookupd-http-address=127.0.0.1:4161
brokerctl topic pause orders --nsqd-http-address=127.0.0.1:4151
brokerctl node list --lookupd-http-address=127.0.0.1:4161
brokerctl tail --topic=orders --nsqd-tcp-address=127.0.0.1:4150`,
		Sub: []appkit.Command{
			topic, group("channel", "make, pause, empty, delete and show channels", where, channelVerbs...), node,
			bench.Command, pub.Command, relay.Command, ship.Command, stat.Command, tail.Command, tofile.Command, tohttp.Command,
			completion(),
		},
	}
}

// Run is brokerctl from its arguments to its exit code.
func Run(proc appkit.Process, lookupEnv Environment) int {
	if len(proc.Args) > 0 && proc.Args[0] == completeCommand {
		return completeMain(proc, lookupEnv)
	}
	return appkit.Run(New(lookupEnv), proc)
}
