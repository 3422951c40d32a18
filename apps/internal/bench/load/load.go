package load

import (
	"context"
	"errors"
	"fmt"
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
	case Replay:
		return r.readAgain(ctx, result)
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
	if result.Kind == Subscribe || result.Kind == Replay || result.Kind == EndToEnd || result.Kind == Deferred {
		c.Expected = c.Acked * int64(r.spec.Channels)
		if r.spec.Take > 0 {
			c.Expected = min(c.Expected, c.Received)
		}
		if !result.Interrupted {
			c.Lost = max(c.Expected-c.Received, 0)
		}
	}
	if n := r.unsent.Load(); n > 0 {
		result.note("the rate was not reached: %d messages more were to be sent in the time", n)
	}
	if !result.Interrupted && c.Acked > 0 {
		c.ByBroker = r.countedByBroker(ctx)
	}
}

// publishAll makes the topics and their channels, and publishes everything.
func (r *run) publishAll(ctx context.Context) (*publishers, error) {
	if err := r.create(ctx); err != nil {
		return nil, err
	}
	p, err := r.dialPublishers(ctx)
	if err == nil {
		p.publish(ctx)
	}
	return p, err
}

// publishOnly is the load Publish.
func (r *run) publishOnly(ctx context.Context, result *Result) error {
	p, err := r.publishAll(ctx)
	if err != nil {
		return err
	}
	p.report(result)
	return nil
}

// received returns how many different messages came, over all channels.
func (r *run) received() (n int64) {
	for _, s := range r.seen {
		n += s.unique.Load()
	}
	return n
}

const (
	lookEvery = time.Millisecond
	mostPause = 10 * lookEvery // that counts between two looks: when there were more, this process has stood still, and not the broker
)

// drain waits until so many different messages came, or nothing came for some time. It returns when the last of them came, to
// a millisecond.
func (r *run) drain(ctx context.Context, expected int64, patience time.Duration) (last time.Time) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	before, quiet, looked := int64(-1), time.Duration(0), time.Now()
	for {
		got, now := r.received(), time.Now()
		quiet += min(now.Sub(looked), mostPause)
		if looked = now; got != before {
			before, last, quiet = got, now, 0
		}
		if got >= expected || quiet > patience {
			return last
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return last
		}
	}
}

// fillAndDrain is the load Subscribe.
func (r *run) fillAndDrain(ctx context.Context, result *Result) error {
	p, err := r.publishAll(ctx)
	if err != nil {
		return err
	}
	result.Fill = &Result{Kind: Publish}
	p.report(result.Fill)
	if r.spec.AfterFill != nil {
		r.spec.AfterFill()
	}
	return r.consume(ctx, result)
}

// readAgain is the load Replay. What is measured is the second reading.
func (r *run) readAgain(ctx context.Context, result *Result) error {
	if r.http == nil {
		return errors.New("reading again needs the broker's HTTP address")
	}
	if err := r.fillAndDrain(ctx, result); err != nil || ctx.Err() != nil {
		return err
	}
	fill, lost := result.Fill, r.acked.Load()*int64(r.spec.Channels)-r.received()
	if *result = (Result{Kind: Replay, Fill: fill}); lost > 0 {
		return fmt.Errorf("%d messages did not come the first time", lost)
	}
	for i := range r.seen {
		r.seen[i] = new(seen)
	}
	for _, topic := range r.topics {
		for i := range r.spec.Channels {
			if err := r.post(ctx, "/channel/rewind", topic, channelName(i), "to", "beginning"); err != nil {
				return err
			}
		}
	}
	return r.consume(ctx, result)
}

// consume measures how what waits is consumed.
func (r *run) consume(ctx context.Context, result *Result) error {
	all, err := r.subscribeAll(ctx)
	if err != nil {
		return err
	}
	r.live.Done.Store(0)
	meter := startMeter(r.broker)
	began := time.Now()
	all.start(ctx)
	wanted := r.acked.Load()
	if r.spec.Take > 0 {
		wanted = min(wanted, r.spec.Take)
	}
	last := r.drain(ctx, wanted*int64(r.spec.Channels), r.spec.Patience)
	result.Broker = meter.stop(r.received())
	result.rate(r.received(), last.Sub(began), r.spec.Size)
	all.leave()
	all.report(result)
	r.diskAfter(ctx, result)
	return nil
}

// letGo is how long a broker has to give up files that it does not need any more.
const letGo = time.Second

// diskAfter writes down what is left on disk after everything was consumed.
func (r *run) diskAfter(ctx context.Context, result *Result) {
	if r.broker.DataPath != "" && result.Broker != nil {
		pause(ctx, letGo)
		result.Broker.Disk = folderSize(r.broker.DataPath)
	}
}

// endToEnd is the loads EndToEnd and Deferred.
func (r *run) endToEnd(ctx context.Context, result *Result) error {
	if err := r.create(ctx); err != nil {
		return err
	}
	all, err := r.subscribeAll(ctx)
	if err != nil {
		return err
	}
	all.start(ctx)
	p, err := r.dialPublishers(ctx)
	if err != nil {
		all.leave()
		return err
	}
	meter := startMeter(r.broker)
	p.publish(ctx)
	wait := r.spec.Patience
	if r.spec.Kind == Deferred {
		wait += r.spec.Delay
	}
	last := r.drain(ctx, r.acked.Load()*int64(r.spec.Channels), wait)
	result.Broker = meter.stop(r.received())
	result.rate(r.received(), last.Sub(p.began), r.spec.Size)
	all.leave()
	all.report(result)
	p.latencies(result)
	return nil
}
