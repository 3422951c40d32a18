package appkit

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/protocol"
)

// clientLibrary is how go-nsq names itself.
const clientLibrary = "go-nsq/" + nsq.VERSION

// How often go-nsq looks for brokers that it lost, unless --consumer-opt says otherwise. Its own default of a minute would
// leave messages waiting for as long after a broker's restart.
const (
	lookupInterval    = 10 * time.Second // one lookup after the other
	lookupTimeout     = 5 * time.Second  // Close may have to wait for it
	reconnectInterval = time.Second      // to a broker that was given by its address
)

// ConsumerFlags are the flags of a tool that consumes.
type ConsumerFlags struct {
	NSQDs       Strings // TCP addresses of brokers
	Lookups     Strings // HTTP addresses of lookups
	MaxInFlight int     // at least 1, over all brokers
	MaxAttempts int     // deliveries after which go-nsq gives a message up; 0 never does

	options clientOptions
}

// AddConsumerFlags registers NSQ's flags of a consumer, and --max-attempts.
func AddConsumerFlags(flags *flag.FlagSet, maxInFlight int) *ConsumerFlags {
	c := &ConsumerFlags{}
	flags.Var(&c.NSQDs, "nsqd-tcp-address", "TCP `address` of a broker")
	flags.Var(&c.Lookups, "lookupd-http-address", "HTTP `address` of a lookup that tells which brokers have the topic")
	flags.Var(&c.options, "consumer-opt", "`option,value` of go-nsq's consumer")
	flags.IntVar(&c.MaxInFlight, "max-in-flight", maxInFlight, "how many messages may be unanswered at a time")
	flags.IntVar(&c.MaxAttempts, "max-attempts", 0,
		"finish a message unseen when it comes for a further time after so many; 0 never gives one up")
	return c
}

// Check says in NSQ's words what is wrong with the flags.
func (c *ConsumerFlags) Check() error {
	switch {
	case len(c.NSQDs) == 0 && len(c.Lookups) == 0:
		return Nowhere("--nsqd-tcp-address or --lookupd-http-address required")
	case len(c.NSQDs) > 0 && len(c.Lookups) > 0:
		return Usagef("use --nsqd-tcp-address or --lookupd-http-address not both")
	case c.MaxInFlight < 1:
		return Usagef("--max-in-flight must be at least 1, not %d", c.MaxInFlight)
	case c.MaxAttempts < 0 || c.MaxAttempts > 65535:
		return Usagef("--max-attempts must be 0 to 65535, not %d", c.MaxAttempts)
	}
	return nil
}

// Config returns go-nsq's settings as the flags ask for them.
func (c *ConsumerFlags) Config(env *Env) (*nsq.Config, error) {
	config := nsq.NewConfig()
	config.MaxAttempts = 0
	config.LookupdPollInterval, config.LookupdPollTimeout = lookupInterval, lookupTimeout
	if len(c.NSQDs) > 0 {
		config.LookupdPollInterval = reconnectInterval
	}
	if err := c.options.apply(config); err != nil {
		return nil, Usagef("--consumer-opt: %w", err)
	}
	if c.MaxAttempts > 0 { // otherwise the option counts, for scripts that have it
		config.MaxAttempts = uint16(c.MaxAttempts)
	}
	config.MaxInFlight = c.MaxInFlight
	config.UserAgent = env.UserAgent()
	if config.AuthSecret == "" {
		config.AuthSecret = env.Token()
	}
	env.secure(config)
	return config, config.Validate()
}

// Consumer is a go-nsq consumer that goes on trying brokers which were not there at the start.
type Consumer struct {
	*nsq.Consumer
	stop context.CancelFunc
	join sync.WaitGroup
	once sync.Once
}

// Start consumes a topic's channel with so many concurrent calls of the handler. Close ends it; so does nothing else.
func (c *ConsumerFlags) Start(env *Env, topic, channel string, concurrency int, handler nsq.Handler) (*Consumer, error) {
	config, err := c.Config(env)
	if err != nil {
		return nil, err
	}
	return c.StartWith(env, config, topic, channel, concurrency, handler)
}

// StartWith is Start with settings that Config returned and the tool has changed.
func (c *ConsumerFlags) StartWith(
	env *Env, config *nsq.Config, topic, channel string, concurrency int, handler nsq.Handler,
) (*Consumer, error) {
	if err := CheckNames(topic, channel); err != nil {
		return nil, err
	}
	inner, err := nsq.NewConsumer(topic, channel, config)
	if err != nil {
		return nil, fmt.Errorf("consuming %s: %w", topic, err)
	}
	log := env.ClientLog()
	inner.SetLogger(ClientLog{log}, clientLevel(log))
	inner.AddConcurrentHandlers(handler, concurrency)
	ctx, stop := context.WithCancel(context.Background())
	consumer := &Consumer{Consumer: inner, stop: stop}
	for _, address := range c.NSQDs {
		consumer.join.Go(func() {
			consumer.connect(ctx, env.Log, address, func(address string) error {
				err := inner.ConnectToNSQD(address)
				if errors.Is(err, nsq.ErrAlreadyConnected) || errors.Is(err, nsq.ErrStopped) {
					return err
				}
				return ExplainTCP(ctx, address, err)
			})
		})
	}
	for _, address := range c.Lookups {
		consumer.join.Go(func() { consumer.connect(ctx, env.Log, address, inner.ConnectToNSQLookupd) })
	}
	return consumer, nil
}

// connect tries until it is connected; from then on go-nsq itself goes on trying.
func (c *Consumer) connect(ctx context.Context, log *slog.Logger, address string, connect func(string) error) {
	backoff := Backoff{Max: 5 * time.Second}
	Retry(ctx, backoff, func() error { // the only error is that of ctx
		err := connect(address)
		switch {
		case err == nil, errors.Is(err, nsq.ErrAlreadyConnected):
			return nil
		case errors.Is(err, nsq.ErrStopped):
			return Stop(err)
		}
		log.Warn("cannot connect, will try again", "address", address, "error", err)
		return err
	})
}

// Close lets the handlers finish what they have, leaves the brokers, and waits until all that is over, go-nsq's 30 seconds at
// most. It may be called more than once.
func (c *Consumer) Close() {
	c.once.Do(func() {
		c.stop()
		c.join.Wait() // a consumer that is stopped while it connects keeps the connection
		c.Consumer.Stop()
	})
	<-c.Consumer.StopChan
}

// CheckNames says whether the topic and the channel have names that brokers accept. An empty channel stands for none.
func CheckNames(topic, channel string) error {
	if !protocol.ValidName(topic) {
		return Usagef("--topic is invalid: %q", topic)
	}
	if channel != "" && !protocol.ValidName(channel) {
		return Usagef("--channel is invalid: %q", channel)
	}
	return nil
}

// SplitTopic takes TOPIC/CHANNEL apart. Without a channel it is the one that is given.
func SplitTopic(text, channel string) (string, string) {
	topic, own, ok := strings.Cut(text, "/")
	if !ok {
		return topic, channel
	}
	return topic, own
}

// clientOptions is the value of --consumer-opt and --producer-opt: options of go-nsq's Config, tried as they are set.
type clientOptions []string

func (o *clientOptions) String() string { return strings.Join(*o, " ") }

// Set keeps key or key,value; without a value it is true.
func (o *clientOptions) Set(text string) error {
	if err := applyOption(nsq.NewConfig(), text); err != nil {
		return err
	}
	*o = append(*o, text)
	return nil
}

func (o *clientOptions) repeated() {}

// lines says that an option and its value stand on a line in the environment, as there is a comma between them.
func (o *clientOptions) lines() {}

func (o *clientOptions) apply(config *nsq.Config) error {
	for _, text := range *o {
		if err := applyOption(config, text); err != nil {
			return err
		}
	}
	return nil
}

func applyOption(config *nsq.Config, text string) error {
	key, value, ok := strings.Cut(text, ",")
	if !ok {
		value = strconv.FormatBool(true)
	}
	return config.Set(key, value)
}
