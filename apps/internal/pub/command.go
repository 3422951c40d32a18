package pub

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"brokerd/apps/appkit"
)

// Command is brokerd's to_nsq.
var Command = appkit.Command{
	Name:    "pub",
	Summary: "publish the lines of the standard input",
	Help: `Splits its input at a delimiter and publishes each piece that is not empty as a message, the last one also when no delimiter
follows it. It takes to_nsq's flags.

Pieces are published in order, as many at once as the input has ready. What a broker does not acknowledge within --retry, or
refuses, ends pub with exit code 1; what was acknowledged until then is said.`,
	Example: `seq 1000 | pub --topic=numbers --nsqd-tcp-address=127.0.0.1:4150
find . -print0 | pub --topic=files --delimiter='\0' --mode=one --nsqd-tcp-address=10.0.0.1:4150 --nsqd-tcp-address=10.0.0.2:4150`,
	Progress: true,
	Setup: func(flags *flag.FlagSet) appkit.RunFunc {
		return newOptions(flags).run
	},
}

// options are the flags.
type options struct {
	producer         *appkit.ProducerFlags
	brokers          appkit.Strings
	topic, delimiter string
	mode             string
	rate             int // messages a second; 0 is no limit
	batch            int // messages
	batchBytes       int
	retry            time.Duration
}

const (
	modeAll = "all"
	modeOne = "one"
)

func newOptions(flags *flag.FlagSet) *options {
	o := &options{producer: appkit.AddProducerFlags(flags)}
	flags.StringVar(&o.topic, "topic", "", "the `topic` to publish to")
	flags.Var(&o.brokers, "nsqd-tcp-address", "TCP `address` of a broker")
	flags.StringVar(&o.delimiter, "delimiter", "\n", `what ends a message; \n, \t, \0 and \x1e are understood`)
	flags.StringVar(&o.mode, "mode", modeAll, "all publishes each message to every broker, one to one of them, in turn")
	flags.IntVar(&o.rate, "rate", 0, "publish at most so many messages a second; 0 is no limit")
	flags.IntVar(&o.batch, "batch", 1000, "publish at most so many messages at once; 1 publishes each by itself")
	flags.IntVar(&o.batchBytes, "batch-bytes", 1<<20, "publish at most so many `bytes` at once, unless a single message has more")
	flags.DurationVar(&o.retry, "retry", 30*time.Second, "how long to try again what a broker does not acknowledge; 0 gives up at once")
	return o
}

// sender returns what the flags ask for.
func (o *options) sender(env *appkit.Env) (*sender, error) {
	switch {
	case o.topic == "":
		return nil, appkit.Usagef("--topic required")
	case len(o.brokers) == 0:
		return nil, appkit.Usagef("--nsqd-tcp-address required")
	case o.delimiter == "":
		return nil, appkit.Usagef("--delimiter must be at least a single byte")
	case o.mode != modeAll && o.mode != modeOne:
		return nil, appkit.Usagef("--mode must be %s or %s, not %q", modeAll, modeOne, o.mode)
	case o.rate < 0 || o.retry < 0 || o.batch < 1 || o.batchBytes < 1:
		return nil, appkit.Usagef("--rate and --retry must not be negative, --batch and --batch-bytes must be at least 1")
	}
	if err := appkit.CheckNames(o.topic, ""); err != nil {
		return nil, err
	}
	config, err := o.producer.Config(env)
	if err != nil {
		return nil, err
	}
	s := &sender{
		topic: o.topic, all: o.mode == modeAll, limiter: appkit.NewLimiter(o.rate), batch: o.batch, bytes: o.batchBytes, retry: o.retry, log: env.Log,
	}
	if o.rate > 0 {
		s.batch = max(1, min(s.batch, o.rate/20)) // so that they leave evenly
	}
	for _, address := range o.brokers {
		s.brokers = append(s.brokers, appkit.NewPublisher(address, config, env.Log))
	}
	return s, nil
}

// run is the command's work. When it is stopped while the input has nothing ready, the goroutine that reads that stays until there is
// something, or the process ends.
func (o *options) run(ctx context.Context, env *appkit.Env) error {
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
	err = s.sendAll(ctx, &splitter{input: env.Stdin, delimiter: delimiter})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%d messages were published, then: %w", s.progress.Done.Load(), err)
	}
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
