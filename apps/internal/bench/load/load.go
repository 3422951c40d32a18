package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Run carries out a load and returns what came of it. When ctx ends it ends at once, with the result so far and
// Interrupted set. The error is that nothing could be measured: bad settings, or a broker that does not answer; what went
// wrong later stands in the result's counts.
func Run(ctx context.Context, b Broker, s Spec, live *Live) (*Result, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.Limit)
	defer cancel()
	r := newRun(b, s, live)
	result := &Result{Kind: s.Kind}
	defer r.cleanUp(result)
	err := r.measure(ctx, result)
	if ctx.Err() != nil {
		result.Interrupted = true
		if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			result.note("ended by the limit of %v", s.Limit)
		}
		err = nil
	}
	if err != nil {
		return nil, err
	}
	r.tally(ctx, result)
	if b.PID != 0 && result.Broker == nil && !result.Interrupted {
		_, err := readProcess(b.PID)
		result.note("no CPU and memory: %v", err)
	}
	return result, nil
}

// measure does what the kind says.
func (r *run) measure(ctx context.Context, result *Result) error {
	switch r.spec.Kind {
	case Publish:
		return r.publishOnly(ctx, result)
	case Subscribe:
		return r.fillAndDrain(ctx, result)
	case EndToEnd, Deferred:
		return r.endToEnd(ctx, result)
	case Held:
		return r.hold(ctx, result)
	case Topics:
		return r.idleTopics(ctx, result)
	case Conns:
		return r.idleConns(ctx, result)
	}
	return fmt.Errorf("there is no load %q", r.spec.Kind)
}

// tally completes the counts of the result.
func (r *run) tally(ctx context.Context, result *Result) {
	c := &result.Counts
	c.Sent, c.Acked = min(r.taken.Load(), r.count), r.acked.Load()
	r.mu.Lock()
	for text, n := range r.errors {
		if c.Errors == nil {
			c.Errors = make(map[string]int64)
		}
		c.Errors[text] = n
	}
	r.mu.Unlock()
	for _, s := range r.seen {
		c.Received += s.unique.Load()
		c.Duplicated += s.duplicated.Load()
	}
	if result.Kind == Subscribe || result.Kind == EndToEnd || result.Kind == Deferred {
		c.Expected = c.Acked * int64(r.spec.Channels)
		if r.spec.Take > 0 {
			c.Expected = min(c.Expected, c.Received)
		}
		if !result.Interrupted {
			c.Lost = max(c.Expected-c.Received, 0)
		}
	}
	if !result.Interrupted && c.Acked > 0 {
		c.ByBroker = r.countedByBroker(ctx)
	}
}

// publishOnly is the load Publish.
func (r *run) publishOnly(ctx context.Context, result *Result) error {
	if err := r.create(ctx); err != nil {
		return err
	}
	p, err := r.dialPublishers(ctx)
	if err != nil {
		return err
	}
	p.publish(ctx)
	p.report(result)
	return nil
}

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
		one.frames.turn = i * len(r.topics) / s.Publishers // so that not all begin with the same topic
		one.conn, err = dial(ctx, r.broker.TCP, one.hello(), 4<<10)
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

// rate notes how many messages there were in which time.
func (r *Result) rate(messages int64, d time.Duration, size int) {
	r.Messages, r.Seconds = messages, d.Seconds()
	if d > 0 {
		r.PerSecond = float64(messages) / d.Seconds()
		r.MBPerSecond = r.PerSecond * float64(size) / 1e6
	}
}
