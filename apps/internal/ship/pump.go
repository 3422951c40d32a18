package ship

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"brokerd/apps/appkit"
)

// message is what is to be published of a file, and where in the file its end is. One without a body only moves the position.
type message struct {
	body  []byte
	entry *entry
	end   int64
}

// portionSize is how much of a file is read at once, in bytes.
const portionSize = 256 << 10

// pump publishes what the tracker's files have.
type pump struct {
	options   *options
	tracker   *tracker
	keeper    *keeper
	publisher *appkit.Publisher
	limiter   *rate.Limiter
	progress  *appkit.Progress
	log       *slog.Logger

	messages []message
	size     int      // bytes of messages' bodies
	buffers  [][]byte // that messages lie in, until they are published
	used     int      // of buffers
}

// run publishes until ctx is done, or, once is asked for, until all that there is is published.
func (p *pump) run(ctx context.Context, looked <-chan struct{}) error {
	for ctx.Err() == nil {
		p.collect(false)
		if len(p.messages) == 0 && p.options.once {
			if p.collect(true); len(p.messages) == 0 {
				return p.save(ctx)
			}
		}
		if len(p.messages) == 0 {
			if err := p.save(ctx); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
			case <-looked:
			}
			continue
		}
		if err := p.publishAll(ctx); err != nil {
			return err
		}
	}
	return nil
}

// collect gathers what is to be published next. At last nothing more will come: what is incomplete is gathered too.
func (p *pump) collect(last bool) {
	p.messages, p.size, p.used = p.messages[:0], 0, 0
	t := p.tracker
	t.mu.Lock()
	defer t.mu.Unlock()
	for more := true; more && !p.full(); {
		more = false
		for _, e := range t.entries { // a file that turns out to be truncated adds one, which has its turn the next time
			if e.finished || p.full() || e.before != nil && !e.before.ended {
				continue
			}
			if p.readFrom(e) {
				more = true
			} else {
				p.settle(e, last)
			}
		}
	}
}

func (p *pump) full() bool {
	return len(p.messages) >= p.options.batch || p.size >= p.options.batchBytes
}

// readFrom reads a portion of a file into messages, and reports whether there was any.
func (p *pump) readFrom(e *entry) bool {
	e.ended = true
	if e.file == nil {
		return false
	}
	data, err := e.portion(p.buffer())
	switch {
	case errors.Is(err, errTruncated):
		p.tracker.truncated(e)
		return false
	case err != nil:
		p.tracker.warnOnce(e.path, err)
		return false
	case len(data) == 0:
		return false
	}
	now := p.tracker.now()
	p.used++
	e.ended, e.grown, e.joining = false, now, now
	line := e.read - int64(len(e.lines.partial))
	e.read += int64(len(data))
	e.lines.split(data, func(text []byte, size int) {
		line += int64(size)
		e.joiner.add(text, line, func(body []byte, end int64) { p.add(e, body, end) })
	})
	return true
}

// buffer returns memory for a portion.
func (p *pump) buffer() []byte {
	if p.used == len(p.buffers) {
		p.buffers = append(p.buffers, make([]byte, portionSize))
	}
	return p.buffers[p.used]
}

func (p *pump) add(e *entry, body []byte, end int64) {
	p.messages = append(p.messages, message{body, e, end})
	p.size += len(body)
}

// settle sees to what is incomplete at the end of a file, when it waited for long enough or nothing more can come.
func (p *pump) settle(e *entry, last bool) {
	add := func(body []byte, end int64) { p.add(e, body, end) }
	quiet := p.tracker.now().Sub(e.grown)
	over := e.file == nil || e.detached && quiet > p.options.rotateWait
	if (last || over) && len(e.lines.partial) > 0 {
		e.joiner.add(e.lines.partial, e.read, add)
		e.lines.partial = nil
	}
	if last || over || e.joiner.lines > 0 && p.tracker.now().Sub(e.joining) > p.options.joinWait {
		e.joiner.flush(add)
	}
	if over {
		p.add(e, nil, e.read) // the position reaches the end, whatever was there
		e.finished = true
	}
}

// publishAll publishes the messages in batches, and writes the positions down after each.
func (p *pump) publishAll(ctx context.Context) error {
	for rest := p.messages; len(rest) > 0; {
		n, size := 0, 0
		for n < len(rest) && n < p.options.batch && (n == 0 || size+len(rest[n].body) <= p.options.batchBytes) {
			size += len(rest[n].body)
			n++
		}
		if err := p.publish(ctx, rest[:n]); err != nil {
			return err
		}
		p.tracker.acknowledge(rest[:n])
		p.progress.Bytes.Add(int64(size))
		if err := p.save(ctx); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// patience is how long a batch that is under way may take when the tool is to stop.
const patience = 5 * time.Second

// publish publishes a batch, however long it takes until the broker is there. It gives up only what the broker refuses for good, by an
// error, and when ctx is done.
func (p *pump) publish(ctx context.Context, batch []message) error {
	bodies := make([][]byte, 0, len(batch))
	for _, m := range batch {
		if len(m.body) > 0 {
			bodies = append(bodies, m.body)
		}
	}
	if err := p.limiter.WaitN(ctx, len(bodies)); err != nil {
		return err
	}
	return appkit.Retry(ctx, appkit.Backoff{Max: 2 * time.Second}, func() error {
		under, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		defer context.AfterFunc(ctx, func() { time.AfterFunc(patience, cancel) })()
		done, err := p.publisher.PublishApart(under, p.options.topic, bodies)
		p.progress.Done.Add(int64(done))
		bodies = bodies[done:]
		if appkit.Permanent(err) {
			return appkit.Stop(fmt.Errorf("the broker refuses a message of %d bytes of %s: %w", len(bodies[0]), p.tracker.pathOf(batch, bodies[0]), err))
		}
		if err != nil {
			p.progress.Failed.Add(1)
			p.log.Warn("could not publish, will try again", "error", err)
		}
		return err
	})
}

// save writes the positions down if they have changed. It waits when there is no room for that.
func (p *pump) save(ctx context.Context) error {
	s, changed := p.tracker.state()
	if !changed {
		return nil
	}
	return appkit.Retry(ctx, appkit.Backoff{Min: 500 * time.Millisecond, Max: 10 * time.Second}, func() error {
		err := p.keeper.write(s)
		if !appkit.NoRoom(err) {
			return appkit.Stop(err)
		}
		p.log.Error("no room for the state: waiting until there is", "error", err)
		return err
	})
}

// pathOf returns the path of the file that a body is of.
func (t *tracker) pathOf(batch []message, body []byte) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range batch {
		if len(m.body) > 0 && &m.body[0] == &body[0] {
			return m.entry.path
		}
	}
	return "a file"
}

// acknowledge moves the positions behind messages that are published.
func (t *tracker) acknowledge(messages []message) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range messages {
		m.entry.acked = m.end
	}
	t.changed = true
}
