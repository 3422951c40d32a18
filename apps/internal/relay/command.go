package relay

import (
	"context"
	"flag"
	"fmt"
	"regexp"
	"time"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/targets"
	"brokerd/protocol/keyrule"
)

// Command is brokerd's nsq_to_nsq.
var Command = appkit.Command{
	Name:    "relay",
	NSQ:     "nsq_to_nsq",
	Summary: "publish what comes on topics to other brokers",
	Help: `Consumes topics and publishes each message to one of the destinations, which are brokers' TCP addresses.
A message is finished at its source when a destination has acknowledged it. While no destination takes
messages they are requeued with growing delays: nothing is lost, and a message may arrive twice.

Topics are given by name, or found at the lookups by a pattern. --rename changes their names on the way;
the first that matches counts, and $1 stands for what its first group matched.

With --route-by-key all messages of a key go to one destination, chosen by the key and the destinations' addresses: so an order by key
(brokerd's option ordered) holds across several brokers. What has no key goes as --mode says. While a key's destination does not take
messages, those of that key wait, and go to no other. A destination that is added takes its share of keys over from the others.

--http-address tells at /stats how many messages each topic and each destination took, with times and errors.`,
	Example: `brokerctl relay --topic=orders --lookupd-http-address=127.0.0.1:4161 --destination-nsqd-tcp-address=10.0.0.2:4150
brokerctl relay --topic-pattern='^eu\.' --rename='^eu\.(.*)=from-eu.$1' --lookupd-http-address=127.0.0.1:4161 \
  --destination-nsqd-tcp-address=10.0.0.2:4150 --destination-nsqd-tcp-address=10.0.0.3:4150 --http-address=127.0.0.1:4180`,
	Progress: true,
	Service:  true,
	OneKind:  true,
	Setup: func(flags *flag.FlagSet) appkit.RunFunc {
		return newOptions(flags).run
	},
}

// options is what the flags say.
type options struct {
	consumer *appkit.ConsumerFlags
	producer *appkit.ProducerFlags
	http     *appkit.HTTPFlags

	topics         appkit.Strings
	pattern        string
	refresh        time.Duration
	channel        string
	destination    string
	renames        appkit.Lines
	addresses      appkit.Strings
	mode           string
	statusEvery    int
	batch          int
	publishTimeout time.Duration
	httpAddress    string
	filter         filter
	whitelist      appkit.Strings
	routeByKey     string
}

func newOptions(flags *flag.FlagSet) *options {
	o := &options{
		consumer: appkit.AddConsumerFlags(flags, 200),
		producer: appkit.AddProducerFlags(flags),
		http:     appkit.AddHTTPFlags(flags, 2*time.Second, 5*time.Second),
	}
	flags.Var(&o.topics, "topic", "`name` of a topic to relay")
	flags.StringVar(&o.pattern, "topic-pattern", "",
		"relay every topic that the lookups know and whose name has a match of this `regexp`; beside --topic it chooses among those")
	flags.DurationVar(&o.refresh, "topic-refresh", time.Minute, "how often to look for new topics of the pattern")
	flags.StringVar(&o.channel, "channel", "nsq_to_nsq", "`name` of the channel to consume")
	flags.StringVar(&o.destination, "destination-topic", "", "`name` of the topic to publish to (default the source's)")
	flags.Var(&o.renames, "rename", "`regexp=replacement` for the names of topics at the destination")
	flags.Var(&o.addresses, "destination-nsqd-tcp-address", "TCP `address` of a broker to publish to")
	flags.StringVar(&o.mode, "mode", string(targets.HostPool), "how to choose a destination: round-robin, hostpool or epsilon-greedy")
	flags.StringVar(&o.routeByKey, "route-by-key", "",
		"send each key to one destination and to no other; `rule` says where a body has it: json:NAME, until:C, bytes:FROM-TO or body")
	flags.IntVar(&o.statusEvery, "status-every", 250, "after how many messages to log the destinations' times; 0 never does")
	flags.IntVar(&o.batch, "batch-size", 200, "how many messages may be published together; 1 publishes each by itself")
	flags.DurationVar(&o.publishTimeout, "publish-timeout", 20*time.Second, "how long to wait for a destination's answer")
	flags.StringVar(&o.httpAddress, "http-address", "", "`address` on which to tell the state over HTTP (default none)")
	flags.Var(&o.whitelist, "whitelist-json-field", "`name` of a top-level field of JSON messages that is kept; others are removed")
	flags.StringVar(&o.filter.field, "require-json-field", "", "`name` of a top-level field without which a JSON message is left out")
	flags.StringVar(&o.filter.value, "require-json-value", "", "`value` that the required field must have")
	return o
}

// plan is what the flags come to.
type plan struct {
	mode    targets.Mode
	naming  naming
	pattern *regexp.Regexp // nil without
	rule    *keyrule.Rule  // nil without
}

// check returns the plan, or what is wrong with the flags.
func (o *options) check() (*plan, error) {
	if err := o.consumer.Check(); err != nil {
		return nil, err
	}
	if err := o.http.Check(); err != nil {
		return nil, err
	}
	switch {
	case len(o.topics) == 0 && o.pattern == "":
		return nil, appkit.Usagef("--topic or --topic-pattern required")
	case len(o.topics) == 0 && len(o.consumer.Lookups) == 0:
		return nil, appkit.Usagef("--topic-pattern without --topic needs --lookupd-http-address")
	case len(o.addresses) == 0:
		return nil, appkit.Usagef("--destination-nsqd-tcp-address required")
	case o.destination != "" && len(o.renames.Strings) > 0:
		return nil, appkit.Usagef("use --destination-topic or --rename not both")
	case o.batch < 1:
		return nil, appkit.Usagef("--batch-size must be at least 1, not %d", o.batch)
	case o.publishTimeout <= 0 || o.refresh <= 0:
		return nil, appkit.Usagef("--publish-timeout and --topic-refresh must be positive")
	case o.filter.value != "" && o.filter.field == "":
		return nil, appkit.Usagef("--require-json-value needs --require-json-field")
	}
	for _, topic := range o.topics {
		if err := appkit.CheckNames(topic, o.channel); err != nil {
			return nil, err
		}
	}
	p := &plan{naming: naming{all: o.destination}}
	if err := p.parse(o); err != nil {
		return nil, appkit.Usagef("%w", err)
	}
	return p, nil
}

func (p *plan) parse(o *options) (err error) {
	if p.mode, err = targets.ParseMode(o.mode, targets.RoundRobin, targets.HostPool, targets.EpsilonGreedy); err != nil {
		return err
	}
	if o.pattern != "" {
		if p.pattern, err = regexp.Compile(o.pattern); err != nil {
			return fmt.Errorf("--topic-pattern: %w", err)
		}
	}
	if o.routeByKey != "" {
		if p.rule, err = keyrule.Parse(o.routeByKey); err != nil || p.rule == nil {
			return fmt.Errorf("--route-by-key must be bytes:FROM-TO, until:C, json:NAME or body, as json:order_id, not %q", o.routeByKey)
		}
	}
	for _, text := range o.renames.Strings {
		r, err := parseRule(text)
		if err != nil {
			return err
		}
		p.naming.rules = append(p.naming.rules, r)
	}
	o.filter.whitelist = o.whitelist
	for _, topic := range o.topics {
		if _, err := p.naming.destination(topic); err != nil {
			return err
		}
	}
	return nil
}

// run relays until ctx is done.
func (o *options) run(ctx context.Context, env *appkit.Env) error {
	p, err := o.check()
	if err != nil {
		return err
	}
	r, err := newRelay(o, p, env)
	if err != nil {
		return err
	}
	if err := r.start(ctx); err != nil {
		r.stop()
		return err
	}
	r.follow(ctx)
	r.stop()
	return nil
}
