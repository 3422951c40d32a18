package brokerctl

import (
	"fmt"
	"slices"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/fleet"
	"brokerd/protocol/httpapi"
)

var channelVerbs = []verb{
	{
		name: "list", summary: "print the names of a topic's channels", args: "TOPIC", run: listChannels,
		example: "channel list orders --lookupd-http-address=127.0.0.1:4161",
	},
	{
		name: "stats", summary: "print the figures of a channel, summed over brokers", args: "TOPIC CHANNEL",
		example: "channel stats orders billing --nsqd-http-address=127.0.0.1:4151",
		run:     func(c *call) error { return stats(c, c.args[0], c.args[1]) },
	},
	{
		name: "create", summary: "make a channel, so that it gets every message from now on", args: "TOPIC CHANNEL", changes: true,
		help: `Makes the channel known to the lookups, and creates it on every broker that has the topic. On brokers that are
given by their addresses the topic is created too, if need be.`,
		example: "channel create orders billing --lookupd-http-address=127.0.0.1:4161", run: createChannel,
	},
	{
		name: "delete", summary: "delete a channel with its messages", args: "TOPIC CHANNEL", changes: true, destroys: true,
		example: "channel delete orders billing --lookupd-http-address=127.0.0.1:4161",
		run:     func(c *call) error { return remove(c, "/channel/delete") },
	},
	{
		name: "empty", summary: "delete the messages of a channel", args: "TOPIC CHANNEL", changes: true, destroys: true,
		example: "channel empty orders billing --lookupd-http-address=127.0.0.1:4161",
		run:     func(c *call) error { return empty(c, "/channel/empty") },
	},
	{
		name: "pause", summary: "give a channel's messages to no consumer", args: "TOPIC CHANNEL", changes: true,
		example: "channel pause orders billing --lookupd-http-address=127.0.0.1:4161",
		run:     func(c *call) error { return everywhere(c, "/channel/pause") },
	},
	{
		name: "unpause", summary: "give a channel's messages to consumers again", args: "TOPIC CHANNEL", changes: true,
		run: func(c *call) error { return everywhere(c, "/channel/unpause") },
	},
	redriveVerb, rewindVerb, skipVerb,
}

// listChannels prints what lookups and brokers know.
func listChannels(c *call) error {
	topic := c.args[0]
	var names []string
	known := false
	var failures []fleet.Failure
	for _, a := range fleet.Each(c.fleet.Lookups(), func(address string) (found httpapi.Channels, err error) {
		err = c.fleet.Get(c.ctx, address, query("/channels", topic, ""), &found)
		return found, err
	}) {
		if a.Err != nil {
			failures = append(failures, fleet.Failure{Address: a.Address, Err: a.Err})
		}
		names, known = append(names, a.Value.Channels...), known || len(a.Value.Channels) > 0
	}
	for _, a := range c.fleet.Stats(c.ctx, c.direct, fleet.Query{Topic: topic}) {
		if a.Err != nil {
			failures = append(failures, fleet.Failure{Address: a.Address, Err: a.Err})
		}
		for _, t := range a.Value.Topics {
			known = true
			for i := range t.Channels {
				names = append(names, t.Channels[i].ChannelName)
			}
		}
	}
	if !known && len(failures) == 0 {
		return c.unlessTopic(topic)
	}
	return c.showNames(names, failures)
}

// unlessTopic returns an error when nobody knows the topic, and shows that it has no channels otherwise.
func (c *call) unlessTopic(topic string) error {
	if !c.lookedUp(topic, "") {
		return appkit.Missingf("nobody knows the topic %s", topic)
	}
	return c.showNames(nil, nil)
}

func createChannel(c *call) error {
	topic, channel := c.args[0], c.args[1]
	brokers, _ := c.brokersOf(topic) // a lookup that fails is asked, and so counted, again
	path := query("/channel/create", topic, channel)
	there := steps(brokers, path)
	for i := range there {
		if slices.Contains(c.direct, there[i].address) {
			there[i].before = query("/topic/create", topic, "")
		}
	}
	if err := c.do(nil, steps(c.fleet.Lookups(), path), there); err != nil {
		return fmt.Errorf("making the channel: %w", err)
	}
	return nil
}
