package relay

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/delivery"
	"brokerd/apps/internal/fleet"
	"brokerd/apps/internal/targets"
	"brokerd/protocol/httpapi"
)

// relay is one run of the tool.
type relay struct {
	*core
	opts     *options
	plan     *plan
	env      *appkit.Env
	config   *nsq.Config // of the consumers
	reporter *delivery.Reporter
	client   *httpapi.HTTPClient
	lookups  *appkit.Discovery

	// Set by start.
	progress *appkit.Progress
	state    *delivery.StateServer // nil without --http-address
	began    time.Time
	senders  sync.WaitGroup
	quiet    context.CancelFunc // ends keeping alive
	keeping  sync.WaitGroup

	mu     sync.Mutex
	routes []*route
}

// newRelay builds a relay that does nothing yet.
func newRelay(o *options, p *plan, env *appkit.Env) (*relay, error) {
	config, err := o.consumer.Config(env)
	if err != nil {
		return nil, err
	}
	publishing, err := o.producer.Config(env)
	if err != nil {
		return nil, err
	}
	r := &relay{opts: o, plan: p, env: env, config: config, client: o.http.Client(env)}
	r.lookups = appkit.NewDiscovery(r.client, o.consumer.Lookups)
	r.core = &core{
		pool:  targets.New(p.mode, o.addresses, max(o.statusEvery, 1), rand.NewPCG(rand.Uint64(), rand.Uint64())),
		hands: delivery.NewHands(config.MsgTimeout), batch: o.batch, timeout: o.publishTimeout,
		permanent: appkit.Permanent, report: r.count, log: env.Log, rule: p.rule, addresses: o.addresses,
	}
	r.reporter = delivery.NewReporter(r.pool, o.statusEvery, env.Log)
	for _, address := range o.addresses {
		r.pubs = append(r.pubs, appkit.NewPublisher(address, publishing, env.Log))
		r.queues = append(r.queues, delivery.NewQueue[item]())
	}
	return r, nil
}

// start begins to relay the topics that are known by name. stop must follow, whatever it returns.
func (r *relay) start(ctx context.Context) error {
	r.began = time.Now()
	r.progress = r.env.Progress("messages", r.backlog(ctx))
	senders := sendersEach
	if r.rule != nil {
		senders = 1
	}
	for target := range r.pubs {
		for range senders {
			r.senders.Go(func() { r.send(target) })
		}
	}
	keeping, quiet := context.WithCancel(context.Background())
	r.quiet = quiet
	r.keeping.Go(func() { r.hands.KeepAlive(keeping) })
	if r.opts.httpAddress != "" {
		var err error
		if r.state, err = delivery.ServeState(r.opts.httpAddress, r.tell, r.env.Log); err != nil {
			return err
		}
	}
	for _, topic := range r.opts.topics {
		if r.plan.pattern != nil && !r.plan.pattern.MatchString(topic) {
			r.env.Log.Warn("left out: it does not match the pattern", "topic", topic)
			continue
		}
		if err := r.adopt(ctx, topic); err != nil {
			return err
		}
	}
	return nil
}

// backlog says how much is left to relay, if there are lookups to ask.
func (r *relay) backlog(ctx context.Context) func() (int64, bool) {
	if len(r.opts.consumer.Lookups) == 0 {
		return nil
	}
	return fleet.NewBacklog(ctx, fleet.New(r.client, nil, r.opts.consumer.Lookups), r.opts.channel, func() (topics []string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, to := range r.routes {
			topics = append(topics, to.source)
		}
		return topics
	}).Left
}

// follow adopts topics of the pattern as they come up, until ctx is done.
func (r *relay) follow(ctx context.Context) {
	if len(r.opts.topics) > 0 {
		<-ctx.Done()
		return
	}
	tick := time.NewTicker(r.opts.refresh)
	defer tick.Stop()
	refused := make(map[string]bool)
	for {
		topics, err := r.lookups.Topics(ctx)
		if err != nil && ctx.Err() == nil {
			r.env.Log.Warn("not every lookup told its topics", "error", err)
		}
		for _, topic := range topics {
			if !r.plan.pattern.MatchString(topic) || r.has(topic) || refused[topic] || ctx.Err() != nil {
				continue
			}
			err := r.adopt(ctx, topic)
			if errors.As(err, new(*refusal)) {
				refused[topic] = true
			}
			if err != nil {
				r.env.Log.Error("not relayed", "topic", topic, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (r *relay) has(topic string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.routes, func(known *route) bool { return known.source == topic })
}

// adopt consumes one more topic.
func (r *relay) adopt(ctx context.Context, topic string) error {
	destination, err := r.plan.naming.destination(topic)
	if err != nil {
		return &refusal{err}
	}
	if err := r.checkLoop(ctx, topic, destination); err != nil {
		return err
	}
	to := &route{source: topic, destination: destination}
	consumer, err := r.opts.consumer.StartWith(r.env, r.config, topic, r.opts.channel, 1, r.handler(to))
	if err != nil {
		return err
	}
	to.consumer = consumer
	r.mu.Lock()
	r.routes = append(r.routes, to)
	r.mu.Unlock()
	r.env.Log.Info("relaying", "topic", topic, "channel", r.opts.channel, "destination", destination)
	return nil
}

// handler takes a route's messages. It leaves go-nsq to read on at once, so that a target that hangs does not keep
// heartbeats unanswered.
func (r *relay) handler(to *route) nsq.HandlerFunc {
	return func(m *nsq.Message) error {
		to.received.Add(1)
		r.hands.Take(m)
		body, err := r.opts.filter.apply(m.Body)
		if err == nil {
			r.accept(item{m: m, route: to, body: body})
			return nil
		}
		if !errors.Is(err, errUnwanted) {
			r.log.Warn("left out", "topic", to.source, "id", string(m.ID[:]), "error", err)
		}
		to.unwanted.Add(1)
		to.finished.Add(1)
		r.hands.Finish(m)
		return nil
	}
}

// count takes note of messages that were handed on.
func (r *relay) count(messages int) {
	r.progress.Done.Add(int64(messages))
	r.reporter.Count(messages)
}

// tell returns the state for /stats.
func (r *relay) tell() delivery.State {
	s := delivery.State{Version: appkit.Version, StartTime: r.began.Unix(), InHand: r.hands.Len(), Topics: []delivery.TopicState{}}
	s.Targets, s.Aggregate = r.pool.States()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, to := range r.routes {
		s.Topics = append(s.Topics, delivery.TopicState{
			Topic: to.source, Channel: r.opts.channel, Destination: to.destination, Received: to.received.Load(),
			Finished: to.finished.Load(), Unwanted: to.unwanted.Load(), Requeued: to.requeued.Load(),
			Connections: to.consumer.Stats().Connections,
		})
	}
	return s
}

// stop gives back what no sender has begun with, lets batches in progress end, and leaves everybody.
func (r *relay) stop() {
	for _, q := range r.queues {
		for _, it := range q.Close() {
			r.giveBack(it)
		}
	}
	r.mu.Lock()
	routes := r.routes
	r.mu.Unlock()
	var leaving sync.WaitGroup
	for _, to := range routes {
		leaving.Go(to.consumer.Close)
	}
	leaving.Wait()
	r.senders.Wait()
	r.quiet()
	r.keeping.Wait()
	for _, p := range r.pubs {
		p.Close()
	}
	if r.state != nil {
		r.state.Close()
	}
	r.progress.Stop()
	r.client.Close()
}
