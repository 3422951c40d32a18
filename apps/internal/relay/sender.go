package relay

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/delivery"
	"brokerd/apps/internal/targets"
	"brokerd/protocol/keyrule"
)

const (
	// sendersEach is how many batches go to a target at once: one is on its way while the next is made. By key it is one, so that they arrive
	// in the order in which they came.
	sendersEach = 2
	// maxBatchBytes keeps a batch well below nsqd's --max-body-size of 5 MiB.
	maxBatchBytes = 1 << 20
)

// route is one source topic with its counters.
type route struct {
	source, destination          string
	received, finished, requeued atomic.Uint64
	unwanted                     atomic.Uint64    // those of finished that the filter left out
	consumer                     *appkit.Consumer // set before the route is in any list
}

// item is one message on its way.
type item struct {
	m     *nsq.Message
	route *route
	body  []byte
	tried uint64 // targets that failed with it, by bit
	keyed bool   // it has a key, and goes to the target of that and to no other
}

// publisher is what the core needs of an appkit.Publisher.
type publisher interface {
	PublishAll(ctx context.Context, topic string, bodies [][]byte) error
	Close()
}

// core hands messages from routes to targets. All of it is set at construction.
type core struct {
	pool      *targets.Pool
	hands     *delivery.Hands
	queues    []*delivery.Queue[item] // by target
	pubs      []publisher             // by target
	report    func(messages int)      // called after messages were handed on
	batch     int                     // how many messages are published together, 1 or more
	timeout   time.Duration           // of one publish
	permanent func(error) bool        // whether a target refused the messages themselves
	log       *slog.Logger

	rule      *keyrule.Rule // takes the key out of a body that says where it goes; nil: none says
	addresses []string      // of the targets
}

// accept gives a message to the queue of a target.
func (c *core) accept(it item) {
	var target int
	if key := c.rule.Key(it.body); len(key) > 0 {
		target, it.keyed = targets.Owner(key, c.addresses), true
	} else {
		target = c.pool.Pick(time.Now())
	}
	if !c.queues[target].Put(it) {
		c.giveBack(it)
	}
}

// giveBack returns a message untried: the relay is stopping.
func (c *core) giveBack(it item) {
	it.route.requeued.Add(1)
	c.hands.Return(it.m)
}

// send is one sender of a target. It ends when the target's queue is closed, after the batch that it has.
func (c *core) send(target int) {
	var batch []item
	for {
		room, size := c.batch, 0
		var ok bool
		batch, ok = c.queues[target].Take(batch[:0], func(next item) bool {
			room--
			size += len(next.body)
			return room > 0 && size <= maxBatchBytes
		})
		if !ok {
			return
		}
		slices.SortStableFunc(batch, func(a, b item) int { return strings.Compare(a.route.destination, b.route.destination) })
		for rest := batch; len(rest) > 0; {
			n := 1
			for n < len(rest) && rest[n].route.destination == rest[0].route.destination {
				n++
			}
			c.publish(target, rest[:n])
			rest = rest[n:]
		}
	}
}

// publish sends messages of one destination topic to a target and answers for each of them.
func (c *core) publish(target int, batch []item) {
	bodies := make([][]byte, len(batch))
	for i, it := range batch {
		bodies[i] = it.body
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	err := c.pubs[target].PublishAll(ctx, batch[0].route.destination, bodies)
	cancel()
	now := time.Now()
	switch {
	case err == nil:
		c.pool.Done(target, len(batch), now.Sub(start), now)
		for _, it := range batch {
			it.route.finished.Add(1)
			c.hands.Finish(it.m)
		}
		c.report(len(batch))
	case c.permanent(err) && len(batch) > 1: // one of them is to blame
		for i := range batch {
			c.publish(target, batch[i:i+1])
		}
	case c.permanent(err):
		c.pool.Refused(target, 1, err)
		c.requeue(target, batch, err)
	default:
		c.pool.Failed(target, len(batch), err, now)
		c.requeue(target, c.elsewhere(target, batch, now), err)
	}
}

// elsewhere gives messages that a target did not take to others that work, and returns those for which there is none.
func (c *core) elsewhere(target int, batch []item, now time.Time) (left []item) {
	for _, it := range batch {
		if it.keyed {
			left = append(left, it)
			continue
		}
		if target < 64 {
			it.tried |= 1 << target
		}
		i, ok := c.pool.Alternative(it.tried, now)
		switch {
		case !ok:
			left = append(left, it)
		case !c.queues[i].Put(it):
			c.giveBack(it)
		}
	}
	return left
}

// requeue gives failed messages back to their broker, which delivers them later, and makes the consumer slow down.
func (c *core) requeue(target int, batch []item, cause error) {
	if len(batch) == 0 {
		return
	}
	each, _ := c.pool.States()
	c.log.Warn("not relayed, requeued", "target", each[target].Address, "topic", batch[0].route.destination,
		"messages", len(batch), "error", cause)
	for _, it := range batch {
		it.route.requeued.Add(1)
		c.hands.Requeue(it.m, -1)
	}
}
