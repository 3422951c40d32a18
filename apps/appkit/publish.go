package appkit

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nsqio/go-nsq"
)

// ProducerFlags are the flags of a tool that publishes.
type ProducerFlags struct{ options clientOptions }

// AddProducerFlags registers --producer-opt.
func AddProducerFlags(flags *flag.FlagSet) *ProducerFlags {
	p := &ProducerFlags{}
	flags.Var(&p.options, "producer-opt", "`option,value` of go-nsq's producer")
	return p
}

// Config returns go-nsq's settings as the flags ask for them.
func (p *ProducerFlags) Config(env *Env) (*nsq.Config, error) {
	config := nsq.NewConfig()
	if err := p.options.apply(config); err != nil {
		return nil, Usagef("--producer-opt: %w", err)
	}
	config.UserAgent = env.UserAgent()
	if config.AuthSecret == "" {
		config.AuthSecret = env.Token()
	}
	env.secure(config)
	return config, config.Validate()
}

// Publisher publishes to one broker. It connects when there is something to publish, and anew after a failure. Calls may be made
// at the same time; what they publish leaves in the order of the calls over one connection, without waiting for each other.
type Publisher struct {
	address string
	config  *nsq.Config
	log     *slog.Logger

	mu       sync.Mutex
	producer *nsq.Producer // nil until it is needed, and after it failed
	closed   bool
}

// ErrClosed is what a closed Publisher returns.
var ErrClosed = errors.New("the publisher is closed")

// NewPublisher returns a publisher that is not connected yet. Close ends it.
func NewPublisher(address string, config *nsq.Config, log *slog.Logger) *Publisher {
	return &Publisher{address: address, config: config, log: log}
}

// Addr returns the broker's address.
func (p *Publisher) Addr() string { return p.address }

// Publish sends one message and returns once the broker has accepted it, has refused it, cannot be reached, or ctx is done. In the
// last two cases it may have the message all the same.
func (p *Publisher) Publish(ctx context.Context, topic string, body []byte) error {
	return p.send(ctx, func(producer *nsq.Producer, done chan *nsq.ProducerTransaction) error {
		return producer.PublishAsync(topic, body, done)
	})
}

// PublishDeferred is Publish of a message that the broker holds back for the delay.
func (p *Publisher) PublishDeferred(ctx context.Context, topic string, delay time.Duration, body []byte) error {
	return p.send(ctx, func(producer *nsq.Producer, done chan *nsq.ProducerTransaction) error {
		return producer.DeferredPublishAsync(topic, delay, body, done)
	})
}

// PublishAll sends messages in one piece: the broker accepts all or none.
func (p *Publisher) PublishAll(ctx context.Context, topic string, bodies [][]byte) error {
	switch len(bodies) {
	case 0:
		return nil
	case 1:
		return p.Publish(ctx, topic, bodies[0])
	}
	return p.send(ctx, func(producer *nsq.Producer, done chan *nsq.ProducerTransaction) error {
		return producer.MultiPublishAsync(topic, bodies, done)
	})
}

// PublishApart is PublishAll for messages that need not all be accepted: when the broker refuses them as a whole, they are sent in
// halves, so that all in front of the one at fault get there. done is how many from the front were acknowledged; the error is about the
// next one.
func (p *Publisher) PublishApart(ctx context.Context, topic string, bodies [][]byte) (done int, err error) {
	err = p.PublishAll(ctx, topic, bodies)
	if err == nil {
		return len(bodies), nil
	}
	if !Permanent(err) || len(bodies) == 1 {
		return 0, err
	}
	for _, half := range [][][]byte{bodies[:len(bodies)/2], bodies[len(bodies)/2:]} {
		n, err := p.publishHalf(ctx, topic, half)
		if done += n; err != nil {
			return done, err
		}
	}
	return done, nil
}

// publishHalf publishes after a refusal. That may have cost the connection, so that a failure right after it means nothing.
func (p *Publisher) publishHalf(ctx context.Context, topic string, bodies [][]byte) (done int, err error) {
	backoff := Backoff{Max: time.Second}
	for range 5 {
		var n int
		n, err = p.PublishApart(ctx, topic, bodies[done:])
		if done += n; err == nil || Permanent(err) {
			return done, err
		}
		if backoff.Wait(ctx) != nil {
			return done, err
		}
	}
	return done, err
}

// send hands something to go-nsq and waits for the broker's word on it.
func (p *Publisher) send(
	ctx context.Context, publish func(*nsq.Producer, chan *nsq.ProducerTransaction) error,
) error {
	producer, err := p.current()
	if err != nil {
		return err
	}
	done := make(chan *nsq.ProducerTransaction, 1) // so that go-nsq never waits for a call that was given up
	if err := publish(producer, done); err != nil {
		p.drop(producer)
		return fmt.Errorf("publishing to %s: %w", p.address, err)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case transaction := <-done:
		err = transaction.Error
	}
	if err == nil {
		return nil
	}
	if !errors.As(err, new(nsq.ErrProtocol)) {
		p.drop(producer)
	}
	return fmt.Errorf("publishing to %s: %w", p.address, err)
}

func (p *Publisher) current() (*nsq.Producer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	if p.producer == nil {
		producer, err := nsq.NewProducer(p.address, p.config)
		if err != nil {
			return nil, err
		}
		producer.SetLogger(ClientLog{p.log}, clientLevel(p.log))
		p.producer = producer
	}
	return p.producer, nil
}

// drop stops a producer whose connection failed. Go-nsq's could connect again by itself, but not without a data race.
func (p *Publisher) drop(producer *nsq.Producer) {
	p.mu.Lock()
	mine := p.producer == producer
	if mine {
		p.producer = nil
	}
	p.mu.Unlock()
	if mine {
		producer.Stop()
	}
}

// Close leaves the broker. What is still waiting for its word fails. It may be called more than once.
func (p *Publisher) Close() {
	p.mu.Lock()
	producer := p.producer
	p.producer, p.closed = nil, true
	p.mu.Unlock()
	if producer != nil {
		producer.Stop()
	}
}

// refusals begin a broker's answers that are about what was sent, and that it will give again.
var refusals = []string{"E_INVALID", "E_BAD_TOPIC", "E_BAD_MESSAGE", "E_BAD_BODY", "E_AUTH_FAILED", "E_UNAUTHORIZED"}

// Permanent reports whether err is a broker's refusal that trying again will not change.
func Permanent(err error) bool {
	var refused nsq.ErrProtocol
	if !errors.As(err, &refused) {
		return false
	}
	for _, code := range refusals {
		if strings.HasPrefix(refused.Reason, code) {
			return true
		}
	}
	return false
}
