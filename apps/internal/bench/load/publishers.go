package load

import (
	"context"
	"sync"
	"time"
)

// publishers are the connections that publish, and what came of it.
type publishers struct {
	run   *run
	list  []*publisher
	began time.Time
	ended time.Time
	usage *Usage
}

// dialPublishers connects them; nothing is sent yet.
func (r *run) dialPublishers(ctx context.Context) (*publishers, error) {
	s := &r.spec
	p := &publishers{run: r}
	delay := time.Duration(0)
	if s.Kind == Deferred || s.Kind == Held {
		delay = s.Delay
	}
	var err error
	p.list, err = openAll(s.Publishers, func(i int) (_ *publisher, err error) {
		one := &publisher{run: r, frames: newFrames(r.topics, s.Batch, s.Size, delay, r.tag), depth: s.Depth, delay: delay,
			batch: s.Batch}
		one.frames.keys = s.Keys
		one.frames.turn = i * len(r.topics) / s.Publishers // so that not all begin with the same topic
		one.conn, err = dial(ctx, r.broker, one.hello(), 4<<10)
		return one, err
	})
	return p, err
}

// publish sends everything, waits for the answers and closes the connections.
func (p *publishers) publish(ctx context.Context) {
	s := &p.run.spec
	meter := startMeter(p.run.broker)
	acked := p.run.acked.Load()
	p.began = time.Now()
	if s.Duration > 0 && s.Kind != Held {
		p.run.until.Store(p.began.Add(s.Duration).UnixNano())
	}
	var wg sync.WaitGroup
	for i, one := range p.list {
		if s.Rate > 0 {
			one.pace.every = time.Duration(float64(time.Second) * float64(s.Publishers) * float64(s.Batch) / s.Rate)
			one.pace.next = p.began.Add(one.pace.every * time.Duration(i) / time.Duration(s.Publishers))
		}
		wg.Go(func() {
			if err := one.publish(ctx); err != nil && ctx.Err() == nil {
				p.run.fail("a publisher ended: " + err.Error())
			}
		})
	}
	wg.Wait()
	p.ended = time.Now()
	p.usage = meter.stop(p.run.acked.Load() - acked)
	closeAll(p.list)
}

// report writes what the publishers measured into the result, as the result of publishing only.
func (p *publishers) report(result *Result) {
	result.rate(p.run.acked.Load(), p.ended.Sub(p.began), p.run.spec.Size)
	result.Broker = p.usage
	p.latencies(result)
}

// latencies writes how long answers took, and how late the generator was.
func (p *publishers) latencies(result *Result) {
	var acks, lag Histogram
	for _, one := range p.list {
		acks.Merge(&one.acks)
		lag.Merge(&one.lag)
	}
	result.Ack, result.Lag = acks.Summary(), lag.Summary()
}
