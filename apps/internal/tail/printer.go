package tail

import (
	"fmt"
	"io"
	"sync/atomic"

	"github.com/nsqio/go-nsq"

	"brokerd/apps/internal/delivery"
)

// maxPiece is how many bytes are gathered for one write, unless a single message is longer.
const maxPiece = 64 << 10

// line is one message to print.
type line struct {
	topic string
	m     *nsq.Message
}

// printer writes messages out and finishes them.
type printer struct {
	// Set at construction.
	out     io.Writer
	format  format
	endless bool
	hands   *delivery.Hands
	queue   *delivery.Queue[line]

	printed atomic.Int64 // messages; read by who tells how many there were

	// Owned by print, and read when it has returned.
	left int // messages to print, unless endless
	err  error
}

// handler queues a topic's messages.
func (p *printer) handler(topic string) nsq.HandlerFunc {
	return func(m *nsq.Message) error {
		p.hands.Take(m)
		if !p.queue.Put(line{topic, m}) {
			p.hands.Return(m)
		}
		return nil
	}
}

// close gives back what is not printed, and ends print.
func (p *printer) close() {
	for _, l := range p.queue.Close() {
		p.hands.Return(l.m)
	}
}

// print writes messages until the queue is closed, as many were written as were asked for, or writing fails.
func (p *printer) print() {
	var lines []line
	var piece []byte
	for p.endless || p.left > 0 {
		taken, size := 1, 0
		var ok bool
		lines, ok = p.queue.Take(lines[:0], func(next line) bool {
			taken++
			size += len(next.m.Body)
			return size <= maxPiece && (p.endless || taken <= p.left)
		})
		if !ok {
			return
		}
		piece = piece[:0]
		for _, l := range lines {
			piece = p.format.appendTo(piece, l.topic, l.m)
		}
		if _, err := p.out.Write(piece); err != nil {
			p.err = fmt.Errorf("writing out: %w", err)
			for _, l := range lines {
				p.hands.Return(l.m)
			}
			return
		}
		for _, l := range lines {
			p.hands.Finish(l.m)
		}
		p.left -= len(lines)
		p.printed.Add(int64(len(lines)))
	}
}
