package load

import (
	"context"
	"encoding/binary"
	"errors"
	"strconv"
	"time"

	"brokerd/protocol"
)

// frames makes publish commands in one buffer: room for a command line, then the body, of which only times and numbers
// change. It belongs to one publisher.
type frames struct {
	buffer []byte
	lines  [][]byte // a command line for each topic
	turn   int
	size   int // of a body
	tag    uint64
	keys   uint32 // 0: there are none
	single bool   // PUB and DPUB: no count in front
}

// lineRoom is room for the longest command line: DPUB, a topic, a number of milliseconds.
const lineRoom = 128

// newFrames returns frames of up to batch messages. A delay makes them DPUB.
func newFrames(topics []string, batch, size int, delay time.Duration, tag uint64) *frames {
	f := &frames{size: size, tag: tag, single: batch == 1}
	for _, topic := range topics {
		line := "MPUB " + topic + "\n"
		switch {
		case delay > 0:
			line = "DPUB " + topic + " " + strconv.FormatInt(delay.Milliseconds(), 10) + "\n"
		case f.single:
			line = "PUB " + topic + "\n"
		}
		f.lines = append(f.lines, []byte(line))
	}
	f.buffer = make([]byte, lineRoom, lineRoom+8+batch*(4+size))
	if !f.single {
		f.buffer = append(f.buffer, make([]byte, 8)...) // size and count
	}
	for range batch {
		f.buffer = binary.BigEndian.AppendUint32(f.buffer, uint32(size))
		for i := range size {
			f.buffer = append(f.buffer, byte('a'+i%26))
		}
	}
	return f
}

// next returns the command that publishes n messages with numbers from first on to the next topic in turn, stamped. It is
// valid until the call after.
func (f *frames) next(stamp time.Time, first int64, n int) []byte {
	line := f.lines[f.turn]
	if f.turn++; f.turn == len(f.lines) {
		f.turn = 0
	}
	end := lineRoom + n*(4+f.size)
	at := lineRoom + 4
	if !f.single {
		end += 8
		at += 8
		binary.BigEndian.PutUint32(f.buffer[lineRoom:], uint32(end-lineRoom-4))
		binary.BigEndian.PutUint32(f.buffer[lineRoom+4:], uint32(n))
	}
	for i := range n {
		body := f.buffer[at+i*(4+f.size):]
		binary.BigEndian.PutUint64(body, uint64(stamp.UnixNano()))
		binary.BigEndian.PutUint64(body[8:], f.tag|uint64(first+int64(i)))
		if f.keys > 0 {
			mixed := uint64(first+int64(i)) * 0x9e3779b97f4a7c15
			binary.BigEndian.PutUint32(body[16:], uint32(mixed>>32)%f.keys)
		}
	}
	start := lineRoom - len(line)
	copy(f.buffer[start:], line)
	return f.buffer[start:end]
}

// publisher is one connection that publishes. Its figures are read after run has returned.
type publisher struct {
	*conn
	run    *run
	frames *frames
	pace   pace
	depth  int
	delay  time.Duration
	batch  int

	acks     Histogram
	lag      Histogram
	refusals int
}

// maxRefusals is how often a publisher is refused before it gives up.
const maxRefusals = 1000

var errTooManyRefusals = errors.New("gave up after 1000 refused publishes")

// publish sends until there is nothing left to send, time is up or ctx ends.
func (p *publisher) publish(ctx context.Context) error {
	if p.depth > 1 {
		return p.publishAhead(ctx)
	}
	for {
		intended, first, n := p.claim(ctx)
		if n == 0 {
			return nil
		}
		p.noteLag(intended)
		if _, err := p.Write(p.frames.next(intended.Add(p.delay), first, n)); err != nil {
			return err
		}
		if err := p.answer(intended, n); err != nil {
			return err
		}
	}
}

// catchUp is for how long behind the duration what was to be sent before is sent still. Who is later than that does not reach the rate, and would need any time.
const catchUp = time.Second

// claim waits for the next send and takes numbers for it; n is 0 at the end.
func (p *publisher) claim(ctx context.Context) (intended time.Time, first int64, n int) {
	intended = p.pace.wait(ctx)
	if ctx.Err() != nil || p.run.over(intended) {
		return intended, 0, 0
	}
	if p.pace.every > 0 && p.run.over(time.Now().Add(-catchUp)) {
		p.run.unsent.Add(p.run.stillDue(intended, p.pace.every) * int64(p.batch))
		return intended, 0, 0
	}
	first, n = p.run.claim(p.batch)
	return intended, first, n
}

func (p *publisher) noteLag(intended time.Time) {
	if p.pace.every > 0 {
		p.lag.Add(time.Since(intended))
	}
}

// answer reads the answer to a publish of n messages.
func (p *publisher) answer(intended time.Time, n int) error {
	err := p.awaitOK()
	var refused refusal
	switch {
	case err == nil:
		p.acks.Add(p.arrived.Sub(intended))
		p.run.ack(n)
		return nil
	case errors.As(err, &refused):
		p.run.fail(string(refused))
		if p.refusals++; p.refusals == maxRefusals {
			return errTooManyRefusals
		}
		return nil
	}
	return err
}

// sent is a publish that was not answered yet.
type sent struct {
	at time.Time
	n  int
}

// flushAt is how many bytes are gathered before they are written, while the window has room.
const flushAt = 32 << 10

// publishAhead sends up to depth publishes before the first is answered. A goroutine of its own reads the answers; it is
// joined before this returns.
func (p *publisher) publishAhead(ctx context.Context) error {
	window := make(chan sent, p.depth)
	answered := make(chan error, 1)
	go func() {
		var failed error
		for s := range window {
			if failed == nil {
				if failed = p.answer(s.at, s.n); failed != nil {
					p.Close() // so that the sender stops, too
				}
			}
		}
		answered <- failed
	}()
	err := p.sendAhead(ctx, window)
	close(window)
	if failed := <-answered; failed != nil {
		return failed
	}
	return err
}

func (p *publisher) sendAhead(ctx context.Context, window chan<- sent) error {
	var out []byte
	for {
		intended, first, n := p.claim(ctx)
		if n == 0 {
			_, err := p.Write(out)
			return err
		}
		p.noteLag(intended)
		out = append(out, p.frames.next(intended.Add(p.delay), first, n)...)
		s := sent{intended, n}
		select {
		case window <- s:
			if len(out) < flushAt && p.pace.every == 0 {
				continue
			}
		default: // the window is full: what was gathered must go before there can be room
			if _, err := p.Write(out); err != nil {
				return err
			}
			out = out[:0]
			window <- s
			continue
		}
		if _, err := p.Write(out); err != nil {
			return err
		}
		out = out[:0]
	}
}

// hello is what publishers say of themselves: no heartbeats, which they would have to read while they have nothing to wait
// for.
func (p *publisher) hello() protocol.IdentifyRequest {
	return protocol.IdentifyRequest{HeartbeatInterval: -1}
}
