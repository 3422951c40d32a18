package tohttp

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/delivery"
	"brokerd/apps/internal/fleet"
	"brokerd/apps/internal/targets"
	"brokerd/protocol/httpapi"
)

// deliver makes requests of what it consumes until ctx is done and those in progress have ended.
func (o *options) deliver(ctx context.Context, env *appkit.Env, p *plan) error {
	config, err := o.consumer.Config(env)
	if err != nil {
		return err
	}
	requests := p.requester
	requests.client = o.client(p)
	defer requests.client.CloseIdleConnections()
	asking := httpapi.NewHTTPClient(httpapi.ClientConfig{ConnectTimeout: 2 * time.Second, RequestTimeout: 5 * time.Second,
		UserAgent: env.UserAgent(), Token: env.Token(), TLS: env.TLS()})
	defer asking.Close()
	progress := env.Progress("messages", o.backlog(ctx, asking))
	defer progress.Stop()
	pool := targets.New(p.mode, requests.urls, max(o.statusEvery, 1), rand.NewPCG(rand.Uint64(), rand.Uint64()))
	reporter := delivery.NewReporter(pool, o.statusEvery, env.Log)
	c := &core{
		pool: pool, hands: delivery.NewHands(config.MsgTimeout), queue: delivery.NewQueue[*nsq.Message](), send: requests.send,
		multicast: p.mode == targets.Multicast, sample: o.sample, log: env.Log,
		report: func(messages int) {
			progress.Done.Add(int64(messages))
			reporter.Count(messages)
		},
	}
	keeping, quiet := context.WithCancel(context.Background())
	var work sync.WaitGroup
	for range o.workers {
		work.Go(c.work)
	}
	work.Go(func() { c.hands.KeepAlive(keeping) })
	err = o.consume(ctx, env, c, config)
	quiet()
	work.Wait()
	return err
}

// backlog says how much is left to do, if there are lookups to ask.
func (o *options) backlog(ctx context.Context, client *httpapi.HTTPClient) func() (int64, bool) {
	if len(o.consumer.Lookups) == 0 {
		return nil
	}
	f := fleet.New(client, nil, o.consumer.Lookups)
	return fleet.NewBacklog(ctx, f, o.channel, func() []string { return []string{o.topic} }).Left
}

// consume fills the queue until ctx is done. When it returns the queue is closed and every message is answered, unless go-nsq's
// 30 seconds for that have passed.
func (o *options) consume(ctx context.Context, env *appkit.Env, c *core, config *nsq.Config) error {
	giveBack := func() {
		for _, m := range c.queue.Close() {
			c.giveBack(m)
		}
	}
	consumer, err := o.consumer.StartWith(env, config, o.topic, o.channel, 1, c)
	if err != nil {
		giveBack()
		return err
	}
	defer consumer.Close()
	defer giveBack()
	if o.httpAddress != "" {
		began := time.Now()
		state, err := delivery.ServeState(o.httpAddress, func() delivery.State { return o.state(c, consumer, began) }, env.Log)
		if err != nil {
			return err
		}
		defer state.Close()
	}
	<-ctx.Done()
	return nil
}

// state is what /stats tells.
func (o *options) state(c *core, consumer *appkit.Consumer, began time.Time) delivery.State {
	s := delivery.State{Version: appkit.Version, StartTime: began.Unix(), InHand: c.hands.Len(), Topics: []delivery.TopicState{{
		Topic: o.topic, Channel: o.channel, Received: c.received.Load(), Finished: c.finished.Load(),
		Unwanted: c.unwanted.Load(), Waived: c.waived.Load(), Requeued: c.requeued.Load(), Connections: consumer.Stats().Connections,
	}}}
	s.Targets, s.Aggregate = c.pool.States()
	return s
}
