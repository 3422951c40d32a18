package tail

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/delivery"
)

// Command is brokerd's nsq_tail.
var Command = appkit.Command{
	Name:    "tail",
	Aliases: []string{"sub"},
	Args:    "[TOPIC/CHANNEL...]",
	NSQ:     "nsq_tail",
	Summary: "print the messages of topics",
	Help: `Consumes topics and prints each message to the standard output, followed by the delimiter. Without --channel it has an
ephemeral channel of its own, so that it takes nothing from other consumers and sees what is published from now on.
A message is finished after it was written out; with --n exactly so many are.`,
	Example: `brokerctl tail orders
brokerctl sub orders/billing -n 2
brokerctl tail --topic=orders --lookupd-http-address=127.0.0.1:4161
brokerctl tail --topic=orders --topic=billing --print-topic --n=10 --nsqd-tcp-address=127.0.0.1:4150
brokerctl tail --topic=orders --json --nsqd-tcp-address=127.0.0.1:4150 | jq .body`,
	OneKind: true,
	Setup: func(flags *flag.FlagSet) appkit.RunFunc {
		return newOptions(flags).run
	},
}

// options is what the flags say.
type options struct {
	consumer  *appkit.ConsumerFlags
	topics    appkit.Strings
	channel   string
	channels  map[string]string // of topics that were named with one, by topic
	total     int
	delimiter string
	format    format
}

func newOptions(flags *flag.FlagSet) *options {
	o := &options{consumer: appkit.AddConsumerFlags(flags, 200)}
	flags.Var(&o.topics, "topic", "`name` of a topic to print")
	flags.StringVar(&o.channel, "channel", "", "`name` of the channel to consume (default an ephemeral one of this tool's own)")
	flags.IntVar(&o.total, "n", 0, "how many messages to print, of all topics together, before ending; 0 never ends")
	flags.BoolVar(&o.format.printTopic, "print-topic", false, "print the topic's name in front of each message")
	flags.BoolVar(&o.format.json, "json", false, "print a JSON object of each message with its topic, id, time and attempts")
	flags.StringVar(&o.delimiter, "delimiter", `\n`, "`text` to print behind each message, with escapes such as \\t or \\x00")
	return o
}

// take reads what stands behind the flags.
func (o *options) take(args []string) {
	o.channels = make(map[string]string)
	for _, arg := range args {
		topic, channel := appkit.SplitTopic(arg, "")
		o.topics = append(o.topics, topic)
		if channel != "" {
			o.channels[topic] = channel
		}
	}
}

// channelOf is the channel to consume of a topic.
func (o *options) channelOf(topic string) string { return cmp.Or(o.channels[topic], o.channel) }

// check completes the options, or says what is wrong with them.
func (o *options) check() (err error) {
	if o.channel == "" {
		o.channel = fmt.Sprintf("tail%06d#ephemeral", rand.IntN(1000000))
	}
	switch {
	case len(o.topics) == 0:
		return appkit.Usagef("--topic or an argument required: which topic to print")
	case o.total < 0:
		return appkit.Usagef("--n must be 0 or more, not %d", o.total)
	}
	for _, topic := range o.topics {
		if err := appkit.CheckNames(topic, o.channelOf(topic)); err != nil {
			return err
		}
	}
	if o.format.delimiter, err = parseDelimiter(o.delimiter); err != nil {
		return appkit.Usagef("%w", err)
	}
	if o.total > 0 {
		o.consumer.MaxInFlight = min(o.consumer.MaxInFlight, o.total)
	}
	return o.consumer.Check()
}

// run prints until ctx is done, or what was asked for is.
func (o *options) run(ctx context.Context, env *appkit.Env) error {
	o.take(env.Args)
	if err := o.check(); err != nil {
		return err
	}
	config, err := o.consumer.Config(env)
	if err != nil {
		return err
	}
	ctx, done := context.WithCancel(ctx)
	defer done()
	p := &printer{
		out: env.Stdout, format: o.format, left: o.total, endless: o.total == 0,
		hands: delivery.NewHands(config.MsgTimeout), queue: delivery.NewQueue[line](),
	}
	keeping, quiet := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { p.hands.KeepAlive(keeping) })
	work.Go(func() {
		defer done()
		p.print()
	})
	err = o.consume(ctx, env, config, p)
	quiet()
	work.Wait()
	env.Note("%s", appkit.Counted(p.printed.Load(), "message"))
	if err != nil {
		return err
	}
	return p.err
}

// consume gives the printer messages until ctx is done. When it returns, what was not printed is given back.
func (o *options) consume(ctx context.Context, env *appkit.Env, config *nsq.Config, p *printer) error {
	var leaving sync.WaitGroup
	defer leaving.Wait()
	var consumers []*appkit.Consumer
	defer func() {
		p.close()
		for _, c := range consumers {
			leaving.Go(c.Close)
		}
	}()
	for _, topic := range o.topics {
		c, err := o.consumer.StartWith(env, config, topic, o.channelOf(topic), 1, p.handler(topic))
		if err != nil {
			return err
		}
		consumers = append(consumers, c)
	}
	if appkit.Sleep(ctx, quietFor) == nil && p.printed.Load() == 0 {
		for i, topic := range o.topics {
			what := "for messages of " + topic
			if consumers[i].Stats().Connections == 0 {
				what = "for a broker that has the topic " + topic
			}
			env.Note("waiting %s", what)
		}
	}
	<-ctx.Done()
	return nil
}

// quietFor is how long nothing comes until it is said that it is waited for.
const quietFor = time.Second
