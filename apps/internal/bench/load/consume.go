package load

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// consumers are the connections that consume, each channel of each topic with as many.
type consumers struct {
	run     *run
	list    []*consumer
	group   []int // of each consumer, its topic and channel as one number
	wg      sync.WaitGroup
	leaving chan struct{} // closed when connections end because they were asked to
}

// subscribeAll connects and subscribes the consumers; they ask for nothing yet.
func (r *run) subscribeAll(ctx context.Context) (*consumers, error) {
	s := &r.spec
	perTopic := s.Channels * s.Consumers
	n := len(r.topics) * perTopic
	all := &consumers{run: r, group: make([]int, n), leaving: make(chan struct{})}
	var err error
	all.list, err = openAll(n, func(i int) (*consumer, error) {
		topic, channel := i/perTopic, i%perTopic/s.Consumers
		all.group[i] = i / s.Consumers
		c, err := r.subscribe(ctx, r.topics[topic], channelName(channel), consumerBuffer)
		return &consumer{conn: c, run: r, seen: r.seen[channel]}, err
	})
	return all, err
}

// start lets them all consume. leave ends it.
func (all *consumers) start(ctx context.Context) {
	for _, c := range all.list {
		all.wg.Go(func() {
			err := c.start(all.run.spec.RDY)
			if err == nil {
				err = c.consume()
			}
			if err != nil && ctx.Err() == nil && !all.mayEnd(err) {
				all.run.fail("a consumer ended: " + err.Error())
			}
		})
	}
}

// mayEnd reports whether a connection was allowed to end like that: some brokers close it once CLS is answered.
func (all *consumers) mayEnd(err error) bool {
	select {
	case <-all.leaving:
		return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed)
	default:
		return false
	}
}

// closeWait is how long a consumer may take to say good-bye.
const closeWait = 5 * time.Second

// leave asks every consumer to stop, and returns when all have. What they counted may be read afterwards.
func (all *consumers) leave() {
	close(all.leaving)
	for _, c := range all.list {
		c.SetDeadline(time.Now().Add(closeWait))
		c.Write([]byte("CLS\n")) // if it fails, so does the consumer's read
	}
	all.wg.Wait()
	closeAll(all.list)
}

// report writes what the consumers measured into the result; only after leave.
func (all *consumers) report(result *Result) {
	var latency Histogram
	byGroup := make(map[int][]int64)
	for i, c := range all.list {
		latency.Merge(&c.latency)
		result.Counts.Redelivered += c.redelivered
		result.Counts.Foreign += c.foreign
		byGroup[all.group[i]] = append(byGroup[all.group[i]], c.got)
	}
	switch all.run.spec.Kind {
	case Deferred:
		result.Lateness = latency.Summary()
	case EndToEnd:
		result.Latency = latency.Summary()
	}
	if all.run.spec.Consumers == 1 {
		return
	}
	for _, counts := range byGroup { // of several channels, the one that was served least evenly
		if s := shareOf(counts); result.Share == nil || s.Spread() > result.Share.Spread() {
			result.Share = s
		}
	}
}

// received returns how many different messages came, over all channels.
func (r *run) received() (n int64) {
	for _, s := range r.seen {
		n += s.unique.Load()
	}
	return n
}

const lookEvery = time.Millisecond

// drain waits until so many different messages came, or nothing came for some time. It returns when the last of them came, to
// a millisecond.
func (r *run) drain(ctx context.Context, expected int64, patience time.Duration) (last time.Time) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	before := int64(-1)
	for {
		got := r.received()
		if got != before {
			before, last = got, time.Now()
		}
		if got >= expected || time.Since(last) > patience {
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
	if err := r.create(ctx); err != nil {
		return err
	}
	p, err := r.dialPublishers(ctx)
	if err != nil {
		return err
	}
	p.publish(ctx)
	result.Fill = &Result{Kind: Publish}
	p.report(result.Fill)
	if r.spec.AfterFill != nil {
		r.spec.AfterFill()
	}
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
