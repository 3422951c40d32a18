package bench

import (
	"flag"
	"time"

	"brokerd/apps/internal/bench/load"
)

// workload is one load as the command line offers it.
type workload struct {
	name, summary, help, example string

	spec  load.Spec // defaults
	flags []option  // what can be changed beside what all have
}

// option is one flag, and the part of a load that it sets: an int, an int64, a float64, a text or a duration.
type option struct {
	name, help string
	value      func(s *load.Spec) any // pointer
}

// base are the defaults of what a load does not read or not change.
var base = load.Spec{Limit: 10 * time.Minute, Size: 200, Batch: 0, Publishers: 2, Depth: 1, Topics: 1, Channels: 1,
	Consumers: 1, RDY: 2500, Buffering: 250 * time.Millisecond}

// with returns the defaults with some changed.
func with(kind load.Kind, change func(s *load.Spec)) load.Spec {
	s := base
	s.Kind = kind
	change(&s)
	return s
}

var workloads = []workload{
	{
		name: "pub", summary: "publish only",
		help: "Publishes to topics without channels. With --batch=1 each message is a PUB of its own; by default publishes are\n" +
			"MPUBs of 200 messages, or of as many as fit in 1 MiB. Each connection waits for the answer, or with --depth\n" +
			"goes on until so many answers are missing.\n",
		example: "brokerctl bench pub --batch=1 --publishers=32\nbrokerctl bench pub --topics=1000 --batch=20\nbrokerctl bench pub --size=1048576 --messages=1000",
		spec:    with(load.Publish, func(s *load.Spec) { s.Messages = 1_000_000 }),
		flags:   []option{messages, duration, rate, size, batch, publishers, depth, topics, topicOptions},
	},
	{
		name: "sub", summary: "publish, then consume all of it",
		help: "Publishes messages to channels that nobody consumes, then consumes them as fast as it goes: what is measured is\n" +
			"the consuming. With several consumers the table tells how evenly they were served.\n",
		example: "brokerctl bench sub --consumers=64\nbrokerctl bench sub --channels=4 --messages=300000",
		spec:    with(load.Subscribe, func(s *load.Spec) { s.Messages, s.Consumers = 1_000_000, 2 }),
		flags:   []option{messages, size, batch, publishers, topics, channels, consumers, rdy, buffering, topicOptions},
	},
	{
		name: "replay", summary: "publish and consume, then read all of it again",
		help: "Publishes messages to topics that keep them, consumes them, rewinds the channels to the beginning, and consumes them once more:\n" +
			"what is measured is that. The broker must be at level disk or fsync.\n",
		example: "brokerctl bench replay --messages=3000000",
		spec: with(load.Replay, func(s *load.Spec) {
			s.Messages, s.Consumers, s.Options = 1_000_000, 2, `{"retain_bytes":"100GiB"}`
		}),
		flags: []option{messages, size, batch, publishers, topics, channels, consumers, rdy, buffering, topicOptions},
	},
	{
		name: "e2e", summary: "publish and consume at the same time",
		help: "Publishes and consumes at once, as fast as the answers allow, or with --rate so many messages a second: then\n" +
			"publishes are single by default, and latency counts from when each was to be sent.\n",
		example: "brokerctl bench e2e --rate=5000 --duration=30s\nbrokerctl bench e2e --channels=8 --publishers=1\nbrokerctl bench e2e --consumers=64 --rdy=1",
		spec:    with(load.EndToEnd, func(s *load.Spec) { s.Duration, s.Consumers = 10*time.Second, 2 }),
		flags:   []option{duration, messages, rate, size, batch, publishers, depth, topics, channels, consumers, rdy, buffering, topicOptions},
	},
	{
		name: "defer", summary: "publish deferred messages and see how late they come",
		help: "Publishes at a rate with DPUB, and tells by how much later than asked for the messages came.\n",
		spec: with(load.Deferred, func(s *load.Spec) {
			s.Duration, s.Rate, s.Delay, s.Batch = 10*time.Second, 5000, 2*time.Second, 1
		}),
		flags: []option{duration, messages, rate, size, publishers, depth, delay, channels, consumers, rdy, buffering},
	},
	{
		name: "held", summary: "publish far deferred messages and see what they cost",
		help: "Publishes with DPUB, far into the future, and tells by how much the broker's memory grew for each. Needs --pid.\n",
		spec: with(load.Held, func(s *load.Spec) {
			s.Messages, s.Duration, s.Delay, s.Publishers, s.Depth = 300_000, 5*time.Second, 10*time.Minute, 4, 64
		}),
		flags: []option{messages, watched, size, publishers, depth, delay},
	},
	{
		name: "topics", summary: "make topics and see what they cost while idle",
		help:  "Makes topics with channels, and tells the broker's memory for each and its CPU while nothing happens. Needs --pid.\n",
		spec:  with(load.Topics, func(s *load.Spec) { s.Duration, s.Topics = 5*time.Second, 1000 }),
		flags: []option{watched, topics, channels},
	},
	{
		name: "conns", summary: "connect consumers and see what they cost while idle",
		help:  "Connects consumers, and tells the broker's memory for each and its CPU while nothing happens. Needs --pid.\n",
		spec:  with(load.Conns, func(s *load.Spec) { s.Duration, s.Consumers = 5*time.Second, 1000 }),
		flags: []option{watched, topics, channels, connected, buffering},
	},
}

// register adds the flags of the load; s holds their defaults.
func (w *workload) register(flags *flag.FlagSet, s *load.Spec) {
	flags.StringVar(&s.Topic, "topic", s.Topic, "the `topic`, with --topics the start of their names; it is not deleted\n"+
		"(default one made up for the run)")
	flags.DurationVar(&s.Limit, "limit", s.Limit, "end everything after this `time`")
	for _, o := range w.flags {
		o.register(flags, s)
	}
}

// register adds the flag; s holds its default.
func (o option) register(flags *flag.FlagSet, s *load.Spec) {
	switch v := o.value(s).(type) {
	case *int:
		flags.IntVar(v, o.name, *v, o.help)
	case *int64:
		flags.Int64Var(v, o.name, *v, o.help)
	case *string:
		flags.StringVar(v, o.name, *v, o.help)
	case *float64:
		flags.Float64Var(v, o.name, *v, o.help)
	case *time.Duration:
		flags.DurationVar(v, o.name, *v, o.help)
	}
}

// What loads can be told beside what all have.
var (
	messages = option{"messages", "how `many` are published; 0 = until the duration is over",
		func(s *load.Spec) any { return &s.Messages }}
	duration = option{"duration", "how `long` is published; 0 = until all messages are",
		func(s *load.Spec) any { return &s.Duration }}
	watched = option{"duration", "how `long` the broker is watched while nothing happens",
		func(s *load.Spec) any { return &s.Duration }}
	rate = option{"rate", "`messages` per second of all publishers; 0 = as fast as it goes",
		func(s *load.Spec) any { return &s.Rate }}
	size  = option{"size", "`bytes` of a message, 16 or more", func(s *load.Spec) any { return &s.Size }}
	batch = option{"batch", "`messages` in one publish; 1 = PUB; 0 = up to 200 that fit in 1 MiB, 1 with a rate",
		func(s *load.Spec) any { return &s.Batch }}
	publishers   = option{"publishers", "`connections` that publish", func(s *load.Spec) any { return &s.Publishers }}
	depth        = option{"depth", "`publishes` of a connection that may be unanswered", func(s *load.Spec) any { return &s.Depth }}
	topics       = option{"topics", "how `many`, published to in turn", func(s *load.Spec) any { return &s.Topics }}
	channels     = option{"channels", "how `many` each topic has", func(s *load.Spec) any { return &s.Channels }}
	consumers    = option{"consumers", "`connections` that consume each channel", func(s *load.Spec) any { return &s.Consumers }}
	connected    = option{"consumers", "`connections` in all", func(s *load.Spec) any { return &s.Consumers }}
	rdy          = option{"rdy", "`messages` that a consumer may have in flight", func(s *load.Spec) any { return &s.RDY }}
	delay        = option{"delay", "by how `much` messages are deferred, in whole milliseconds", func(s *load.Spec) any { return &s.Delay }}
	topicOptions = option{"options", "`options` of the topics, a JSON object as POST /topic/config takes it", func(s *load.Spec) any { return &s.Options }}
	buffering    = option{"output-buffer-timeout", "how `long` consumers let the broker hold output back: 250ms is what\n" +
		"client libraries ask for; 0 = the broker's default, -1ns = not at all", func(s *load.Spec) any { return &s.Buffering }}
)
