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

// subscribeAll connects and subscribes the consumers; they ask for nothing yet. Only leave ends them, not ctx: what one has been sent and has
// not finished when its connection closes goes to the others, and would count as a duplicate.
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
		if err == nil {
			c.stop()
		}
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
