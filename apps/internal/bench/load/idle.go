package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"brokerd/protocol"
)

// settleFor is how long a broker is left alone before it is measured idle.
const settleFor = 2 * time.Second

// hold is the load Held: deferred messages that wait while the broker is watched.
func (r *run) hold(ctx context.Context, result *Result) error {
	if err := r.create(ctx); err != nil {
		return err
	}
	before, known := r.memory(result)
	p, err := r.dialPublishers(ctx)
	if err != nil {
		return err
	}
	p.publish(ctx)
	p.report(result)
	return r.watch(ctx, result, known, before, r.acked.Load())
}

// idleTopics is the load Topics.
func (r *run) idleTopics(ctx context.Context, result *Result) error {
	before, known := r.memory(result)
	began := time.Now()
	if err := r.create(ctx); err != nil {
		return err
	}
	result.SetupPerSec = float64(len(r.topics)) / time.Since(began).Seconds()
	return r.watch(ctx, result, known, before, int64(len(r.topics)))
}

// idleConns is the load Conns.
func (r *run) idleConns(ctx context.Context, result *Result) error {
	if err := r.create(ctx); err != nil {
		return err
	}
	before, known := r.memory(result)
	began := time.Now()
	list, err := openAll(r.spec.Consumers, func(i int) (*conn, error) {
		topic := r.topics[i%len(r.topics)]
		c, err := r.subscribe(ctx, topic, channelName(i/len(r.topics)%r.spec.Channels), 512)
		if err != nil {
			return nil, fmt.Errorf("connection %d: %w", i+1, err)
		}
		r.live.Done.Add(1)
		return c, nil
	})
	if err != nil {
		return err
	}
	idle := &idlers{list: list}
	defer idle.close()
	result.SetupPerSec = float64(r.spec.Consumers) / time.Since(began).Seconds()
	idle.start(r)
	return r.watch(ctx, result, known, before, int64(r.spec.Consumers))
}

// idlers are consumers that only answer heartbeats.
type idlers struct {
	list []*conn
	wg   sync.WaitGroup
}

func (l *idlers) start(r *run) {
	for _, c := range l.list {
		l.wg.Go(func() {
			_, err := c.Write([]byte("RDY 1\n"))
			for err == nil {
				var t protocol.FrameType
				var payload []byte
				if t, payload, err = c.next(); err != nil {
					break
				}
				switch {
				case t == protocol.FrameError:
					r.fail(string(payload))
				case string(payload) == protocol.Heartbeat:
					_, err = c.Write(nop)
				}
			}
			// It ends by being closed; a broker that closes it shows as an error of its own.
			if err != nil && !errors.Is(err, net.ErrClosed) {
				r.fail("an idle connection ended: " + err.Error())
			}
		})
	}
}

// close ends the connections and joins their goroutines.
func (l *idlers) close() {
	closeAll(l.list)
	l.wg.Wait()
}

// memory returns the broker's memory; known is false when it cannot be told, which the result says.
func (r *run) memory(result *Result) (bytes int64, known bool) {
	if r.broker.PID == 0 {
		result.note("give the broker's process (--pid) to know its CPU and memory")
		return 0, false
	}
	now, err := readProcess(r.broker.PID)
	if err != nil {
		result.note("no CPU and memory: %v", err)
		return 0, false
	}
	return now.memory, true
}

// watch lets the broker settle, then watches it do nothing, and writes what n things cost it into the result.
func (r *run) watch(ctx context.Context, result *Result, known bool, before, n int64) error {
	if n == 0 {
		return errors.New("there is nothing to watch: the broker took none of it")
	}
	if !known {
		return nil
	}
	pause(ctx, settleFor)
	meter := startMeter(r.broker)
	began := time.Now()
	pause(ctx, r.spec.Duration)
	idle := meter.stop(0)
	if idle == nil {
		return nil // it ended, or the load was interrupted
	}
	result.Each = float64(idle.Memory-before) / float64(n)
	percent := 100 * idle.CPUSeconds / time.Since(began).Seconds()
	result.IdlePercent = &percent
	if result.Broker == nil {
		result.Broker = idle
	} else {
		result.Broker.Memory, result.Broker.Disk = idle.Memory, idle.Disk
	}
	return nil
}
