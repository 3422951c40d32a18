package pub

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"time"

	"brokerd/apps/appkit"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/keyrule"
)

// Command is brokerd's to_nsq.
var Command = appkit.Command{
	Name:    "pub",
	NSQ:     "to_nsq",
	Summary: "publish messages, or the lines of the standard input",
	Args:    "[TOPIC] [MESSAGE...]",
	Help: `Publishes each MESSAGE. Without one it splits its input at a delimiter and publishes each piece that is not empty as a message, the last one also when no delimiter
follows it. It takes to_nsq's flags. With --lookupd-http-address each batch goes to one of the brokers that have the topic, or when none
has it, of all.

Pieces are published in order, as many at once as the input has ready. What a broker does not acknowledge within --retry, or
refuses, ends pub with exit code 1; what was acknowledged until then is said.`,
	Example: `brokerctl pub orders 'two pens' 'three cups' --nsqd-tcp-address=127.0.0.1:4150
seq 1000 | brokerctl pub --topic=numbers --nsqd-tcp-address=127.0.0.1:4150
find . -print0 | brokerctl pub --topic=files --delimiter='\0' --mode=one --nsqd-tcp-address=10.0.0.1:4150 --nsqd-tcp-address=10.0.0.2:4150`,
	Progress: true,
	Setup: func(flags *flag.FlagSet) appkit.RunFunc {
		return newOptions(flags).run
	},
}

// options are the flags.
type options struct {
	producer         *appkit.ProducerFlags
	http             *appkit.HTTPFlags
	brokers, lookups appkit.Strings
	topic, delimiter string
	mode             string
	rate             int // messages a second; 0 is no limit
	batch            int // messages
	batchBytes       int
	retry            time.Duration
	delay, ttl       time.Duration
	at               string
	due              time.Time // what at says, zero without it
	routeByKey       string
	rule             *keyrule.Rule // what routeByKey says, nil without it
}

const (
	modeAll = "all"
	modeOne = "one"
)

func newOptions(flags *flag.FlagSet) *options {
	o := &options{producer: appkit.AddProducerFlags(flags)}
	flags.StringVar(&o.topic, "topic", "", "the `topic` to publish to")
	flags.Var(&o.brokers, "nsqd-tcp-address", "TCP `address` of a broker")
	flags.Var(&o.lookups, "lookupd-http-address", "HTTP `address` of a lookup that tells which brokers there are")
	flags.StringVar(&o.delimiter, "delimiter", "\n", `what ends a message; \n, \t, \0 and \x1e are understood`)
	flags.StringVar(&o.mode, "mode", "", "all publishes each message to every broker, one to one of them, in turn (default all; one with lookups)")
	flags.StringVar(&o.routeByKey, "route-by-key", "",
		"publish all messages of a key to one broker; `rule` says where a body has it: json:NAME, until:C, bytes:FROM-TO or body")
	flags.IntVar(&o.rate, "rate", 0, "publish at most so many messages a second; 0 is no limit")
	flags.IntVar(&o.batch, "batch", 1000, "publish at most so many messages at once; 1 publishes each by itself")
	flags.IntVar(&o.batchBytes, "batch-bytes", 1<<20, "publish at most so many `bytes` at once, unless a single message has more")
	flags.DurationVar(&o.retry, "retry", 30*time.Second, "how long to try again what a broker does not acknowledge; 0 gives up at once")
	flags.DurationVar(&o.delay, "defer", 0, "have the messages delivered only after so long, up to the broker's --max-defer")
	flags.StringVar(&o.at, "at", "", "have them delivered at a `time`, as 2026-01-31T10:00:00Z or milliseconds since 1970; at once when that has passed")
	flags.DurationVar(&o.ttl, "ttl", 0, "how long the messages are of use; a brokerd that keeps the topic in its log discards them then, an nsqd does not look at it")
	o.http = appkit.AddHTTPFlags(flags, 2*time.Second, 5*time.Second)
	return o
}

// take reads what stands behind the flags: the topic, unless a flag has it, and messages.
func (o *options) take(args []string) (messages [][]byte, err error) {
	if o.topic == "" && len(args) > 0 {
		o.topic, args = args[0], args[1:]
	}
	for _, arg := range args {
		if arg == "" {
			return nil, appkit.Usagef("brokers take no empty message")
		}
		messages = append(messages, []byte(arg))
	}
	if o.mode == "" {
		o.mode = modeAll
		if len(o.lookups) > 0 || o.routeByKey != "" {
			o.mode = modeOne
		}
	}
	return messages, nil
}

// discover asks the lookups for brokers: those that have the topic, or all when none has.
func (o *options) discover(ctx context.Context, env *appkit.Env) error {
	if len(o.lookups) == 0 {
		return nil
	}
	client := o.http.Client(env)
	defer client.Close()
	discovery := appkit.NewDiscovery(client, o.lookups)
	producers, err := discovery.Producers(ctx, o.topic)
	if len(producers) == 0 {
		var nodes []httpapi.Node
		nodes, err = discovery.Nodes(ctx)
		for _, n := range nodes {
			producers = append(producers, n.Producer)
		}
	}
	if len(producers) == 0 {
		if err == nil {
			err = errors.New("the lookups know no broker")
		}
		return err
	}
	for _, p := range producers {
		o.brokers = append(o.brokers, p.TCPAddress())
	}
	return nil
}

// check validates the flags.
func (o *options) check() error {
	switch {
	case o.topic == "":
		return appkit.Usagef("--topic or an argument required: which topic to publish to")
	case len(o.brokers) == 0 && len(o.lookups) == 0:
		return appkit.Nowhere("--nsqd-tcp-address required")
	case len(o.brokers) > 0 && len(o.lookups) > 0:
		return appkit.Usagef("use --nsqd-tcp-address or --lookupd-http-address not both")
	case o.delimiter == "":
		return appkit.Usagef("--delimiter must be at least a single byte")
	case o.delay < 0 || o.at != "" && o.delay != 0:
		return appkit.Usagef("either --at or --defer, which must not be negative")
	case o.ttl != 0 && o.ttl < time.Millisecond:
		return appkit.Usagef("--ttl must be 1ms or more, not %v", o.ttl)
	case o.mode == modeAll && o.routeByKey != "":
		return appkit.Usagef("--route-by-key chooses one broker for each message, and --mode=all is every broker")
	case o.mode != modeAll && o.mode != modeOne:
		return appkit.Usagef("--mode must be %s or %s, not %q", modeAll, modeOne, o.mode)
	case o.rate < 0 || o.retry < 0 || o.batch < 1 || o.batchBytes < 1:
		return appkit.Usagef("--rate and --retry must not be negative, --batch and --batch-bytes must be at least 1")
	}
	if err := cmp.Or(o.parseAt(), o.parseRule(), o.http.Check()); err != nil {
		return err
	}
	return appkit.CheckNames(o.topic, "")
}

// words returns what stands behind the topic of each publish.
func (o *options) words() string {
	if o.ttl == 0 {
		return ""
	}
	return " ttl=" + strconv.FormatInt(o.ttl.Milliseconds(), 10) + "ms"
}

// parseRule reads --route-by-key.
func (o *options) parseRule() (err error) {
	if o.routeByKey == "" {
		return nil
	}
	if o.rule, err = keyrule.Parse(o.routeByKey); err != nil || o.rule == nil {
		return appkit.Usagef("--route-by-key must be bytes:FROM-TO, until:C, json:NAME or body, as json:order_id, not %q", o.routeByKey)
	}
	return nil
}

// parseAt reads --at.
func (o *options) parseAt() (err error) {
	if o.at == "" {
		return nil
	}
	if ms, err := strconv.ParseInt(o.at, 10, 64); err == nil {
		o.due = time.UnixMilli(ms)
		return nil
	}
	if o.due, err = time.Parse(time.RFC3339Nano, o.at); err != nil {
		return appkit.Usagef("--at must be a time such as 2026-01-31T10:00:00Z, or milliseconds since 1970, not %q", o.at)
	}
	return nil
}

// sender returns what the flags ask for.
func (o *options) sender(env *appkit.Env) (*sender, error) {
	config, err := o.producer.Config(env)
	if err != nil {
		return nil, err
	}
	s := &sender{
		topic: o.topic, words: o.words(), delay: o.delay, due: o.due, all: o.mode == modeAll, limiter: appkit.NewLimiter(o.rate), batch: o.batch, bytes: o.batchBytes, retry: o.retry, log: env.Log, rule: o.rule,
	}
	if o.rate > 0 {
		s.batch = max(1, min(s.batch, o.rate/20)) // so that they leave evenly
	}
	for _, address := range o.brokers {
		s.brokers = append(s.brokers, appkit.NewPublisher(address, config, env.ClientLog()))
	}
	return s, nil
}

// run is the command's work. When it is stopped while the input has nothing ready, the goroutine that reads that stays until there is
// something, or the process ends.
func (o *options) run(ctx context.Context, env *appkit.Env) error {
	messages, err := o.take(env.Args)
	if err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	if err := o.discover(ctx, env); err != nil {
		return err
	}
	s, err := o.sender(env)
	if err != nil {
		return err
	}
	delimiter, err := parseDelimiter(o.delimiter)
	if err != nil {
		return appkit.Usagef("--delimiter: %w", err)
	}
	defer func() {
		for _, broker := range s.brokers {
			broker.Close()
		}
	}()
	s.progress = env.Progress("messages", nil)
	defer s.progress.Stop()
	if len(messages) > 0 {
		err = s.send(ctx, messages)
	} else {
		err = s.sendAll(ctx, &splitter{input: env.Stdin, delimiter: delimiter})
	}
	done := appkit.Counted(s.progress.Done.Load(), "message")
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("published %s, then: %w", done, err)
	}
	env.Note("published %s to %s", done, o.topic)
	return nil
}

// sendAll publishes the whole input. While it publishes one chunk the next is read.
func (s *sender) sendAll(ctx context.Context, from *splitter) error {
	full, empty, ended := make(chan *chunk), make(chan *chunk, 2), make(chan error, 1)
	empty <- new(chunk)
	empty <- new(chunk)
	quit := make(chan struct{})
	defer close(quit)
	go func() {
		for {
			var c *chunk
			select {
			case c = <-empty:
			case <-quit:
				return
			}
			if err := from.next(c); err != nil {
				ended <- err
				return
			}
			select {
			case full <- c:
			case <-quit:
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		case c := <-full:
			if err := s.send(ctx, c.pieces); err != nil {
				return err
			}
			empty <- c
		}
	}
}
