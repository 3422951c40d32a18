package tohttp

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/apps/internal/delivery"
	"brokerd/apps/internal/targets"
)

// patience is how many messages are refused in a row until that is taken for the targets' fault, and slows the consumer.
const patience = 10

// core hands messages to targets. What stands above the counters is set at construction.
type core struct {
	pool      *targets.Pool
	hands     *delivery.Hands
	queue     *delivery.Queue[*nsq.Message]
	send      func(ctx context.Context, target int, m *nsq.Message) (outcome, error)
	report    func(messages int) // called after messages were handed on
	multicast bool
	sample    float64 // share of the messages of which requests are made, 0 to 1
	log       *slog.Logger

	received, finished, requeued atomic.Uint64 // deliveries
	unwanted                     atomic.Uint64 // those of finished of which no request was made
	waived                       atomic.Uint64 // those of finished that no target took
	inARow                       atomic.Int64  // messages that were refused since one was taken
	partly                       partly        // with multicast
}

// HandleMessage puts a message into the queue. go-nsq reads on at once.
func (c *core) HandleMessage(m *nsq.Message) error {
	c.received.Add(1)
	c.hands.Take(m)
	switch {
	case c.sample < 1 && rand.Float64() >= c.sample:
		c.unwanted.Add(1)
		c.finished.Add(1)
		c.hands.Finish(m)
	case !c.queue.Put(m):
		c.giveBack(m)
	}
	return nil
}

// giveBack returns a message untried: the tool is stopping.
func (c *core) giveBack(m *nsq.Message) {
	c.requeued.Add(1)
	c.hands.Return(m)
}

// work is one worker. It ends when the queue is closed, after the message that it has.
func (c *core) work() {
	var next []*nsq.Message
	for {
		var ok bool
		if next, ok = c.queue.Take(next[:0], func(*nsq.Message) bool { return false }); !ok {
			return
		}
		if c.multicast {
			c.toAll(next[0])
		} else {
			c.toOne(next[0])
		}
	}
}

// toOne gets a message to one target, if need be one after another.
func (c *core) toOne(m *nsq.Message) {
	target := c.pool.Pick(time.Now())
	var tried uint64
	for {
		what, err := c.try(target, m)
		if what != failed {
			c.answer(m, what, err)
			return
		}
		if target < 64 {
			tried |= 1 << target
		}
		next, ok := c.pool.Alternative(tried, time.Now())
		if !ok {
			c.answer(m, failed, err)
			return
		}
		target = next
	}
}

// toAll gets a message to every target that has not taken it before.
func (c *core) toAll(m *nsq.Message) {
	has := c.partly.of(m, c.pool.Len())
	var mu sync.Mutex
	var all sync.WaitGroup
	worst, cause := taken, error(nil)
	for target := range has {
		if has[target] {
			continue
		}
		all.Go(func() {
			what, err := c.try(target, m)
			mu.Lock()
			defer mu.Unlock()
			has[target] = what == taken || what == waived
			if what > worst {
				worst, cause = what, err
			}
		})
	}
	all.Wait()
	if worst == taken || worst == waived {
		c.partly.forget(m)
	} else {
		c.partly.keep(m, has)
	}
	c.answer(m, worst, cause)
}

// try makes one request and takes note of what became of it.
func (c *core) try(target int, m *nsq.Message) (outcome, error) {
	start := time.Now()
	what, err := c.send(context.Background(), target, m) // a request in progress may end; its client bounds how long that takes
	now := time.Now()
	switch what {
	case taken:
		c.inARow.Store(0)
		c.pool.Done(target, 1, now.Sub(start), now)
	case waived, refused:
		c.pool.Refused(target, 1, err)
	case failed:
		c.pool.Failed(target, 1, err, now)
	}
	return what, err
}

// answer tells the broker what became of a message.
func (c *core) answer(m *nsq.Message, what outcome, err error) {
	switch what {
	case waived:
		c.waived.Add(1)
		c.log.Warn("refused and given up, as --finish-status asks", "id", string(m.ID[:]), "attempts", m.Attempts, "error", err)
		fallthrough
	case taken:
		c.finished.Add(1)
		c.hands.Finish(m)
		c.report(1)
		return
	}
	delay := time.Duration(-1)
	var status *statusError
	if errors.As(err, &status) && status.after > 0 {
		delay = status.after
	}
	c.requeued.Add(1)
	c.log.Warn("not taken, requeued", "id", string(m.ID[:]), "attempts", m.Attempts, "error", err)
	if what == refused && c.inARow.Add(1) <= patience {
		c.hands.Postpone(m, delay)
		return
	}
	c.hands.Requeue(m, delay)
}
