package brokerctl

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"brokerd/apps/appkit"
	"brokerd/protocol/httpapi"
)

const setHelp = `A VALUE is taken for JSON if it is, and otherwise for text; null puts the default back. Each broker sets all of them or none.`

var topicConfigVerbs = []verb{
	{
		name: "get", summary: "print a topic's options on each broker, and where each value comes from", args: "TOPIC",
		example: "topic config get orders --nsqd-http-address=127.0.0.1:4151", run: func(c *call) error { return getOptions(c, "/topic/config") },
	},
	{
		name: "set", summary: "set a topic's options on each broker", args: "TOPIC KEY=VALUE...", changes: true, help: setHelp,
		example: "topic config set orders durability=fsync --lookupd-http-address=127.0.0.1:4161\ntopic config set orders max_depth=1000000 overflow=reject",
		run:     func(c *call) error { return setOptions(c, "/topic/config", c.given[1:]) },
	},
}

var channelConfigVerbs = []verb{
	{
		name: "get", summary: "print a channel's options on each broker, and where each value comes from", args: "TOPIC CHANNEL",
		example: "channel config get orders billing --nsqd-http-address=127.0.0.1:4151", run: func(c *call) error { return getOptions(c, "/channel/config") },
	},
	{
		name: "set", summary: "set a channel's options on each broker", args: "TOPIC CHANNEL KEY=VALUE...", changes: true, help: setHelp,
		example: "channel config set orders billing max_attempts=10 backoff=exponential:1s..15m",
		run:     func(c *call) error { return setOptions(c, "/channel/config", c.given[2:]) },
	},
}

// named returns the topic, and the channel of a verb that is about one.
func (c *call) named(path string) (topic, channel string) {
	if path == "/channel/config" {
		return c.args[0], c.args[1]
	}
	return c.args[0], ""
}

// told is what a broker answers: as it is for JSON, with its options for people.
type told struct {
	raw     json.RawMessage
	options httpapi.Options
}

// MarshalJSON returns the answer as it came.
func (t told) MarshalJSON() ([]byte, error) { return t.raw, nil }

// getOptions prints the options as each broker tells them.
func getOptions(c *call, path string) error {
	topic, channel := c.named(path)
	brokers, failures := c.brokersOf(topic)
	return c.showAnswers(brokers, failures, func(address string) (any, error) {
		var t told
		err := c.fleet.Get(c.ctx, address, query(path, topic, channel), &t.raw)
		if err == nil {
			err = json.Unmarshal(t.raw, &t.options)
		}
		return t, err
	})
}

// writeOptions prints the options of one broker as a table.
func (c *call) writeOptions(w io.Writer, address string, o *httpapi.Options) {
	t := appkit.Table{Columns: []appkit.Column{{Name: "BROKER", Left: true}, {Name: "OPTION", Left: true}, {Name: "VALUE", Left: true}, {Name: "FROM", Left: true}}}
	for _, name := range slices.Sorted(maps.Keys(o.Options)) {
		v := o.Options[name]
		from := strings.TrimSpace(strings.ReplaceAll(v.Source, "-", " ") + " " + v.Pattern)
		if v.Off != "" {
			from += ", not in force: " + v.Off
		}
		t.Add(address, name, strings.Trim(fmt.Sprint(v.Value), "\n"), from)
	}
	t.Write(w, 0)
}

// setOptions sets options on each broker that has the topic.
func setOptions(c *call, path string, given []string) error {
	body, err := options(given)
	if err != nil {
		return err
	}
	topic, channel := c.named(path)
	brokers, failures := c.brokersOf(topic)
	requests := steps(brokers, query(path, topic, channel))
	for i := range requests {
		requests[i].body, requests[i].answer = body, strings.Join(given, " ")
	}
	return c.do(failures, requests)
}

// options makes a JSON object of KEY=VALUE arguments.
func options(texts []string) ([]byte, error) {
	values := make(map[string]any)
	for _, text := range texts {
		key, value, ok := strings.Cut(text, "=")
		if !ok || key == "" {
			return nil, appkit.Usagef("wants KEY=VALUE, not %q", text)
		}
		values[key] = value
		if json.Valid([]byte(value)) {
			values[key] = json.RawMessage(value)
		}
	}
	return json.Marshal(values)
}
