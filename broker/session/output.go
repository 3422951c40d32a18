package session

import (
	"io"
	"sync"

	"brokerd/broker/topic"
	"brokerd/protocol"
)

// flusher is a writer that holds bytes back until it is flushed: a compressor.
type flusher interface {
	io.Writer
	Flush() error
}

// output collects frames and writes them. The session's reader and who sends messages share it.
type output struct {
	mu    sync.Mutex // guards what follows
	dst   io.Writer
	link  *link   // not nil when dst is the bare socket, to which can be written without waiting
	comp  flusher // not nil when the connection is compressed; then it writes to dst
	buf   []byte  // from the pool; nil when empty
	held  bool    // the compressor holds bytes back
	asked bool    // a response or an error waits
	limit int     // bytes that are collected at most before they are written
	holds bool    // messages wait for company, so that even long ones are collected as far as limit goes
	err   error   // of the first write that failed: all that follow fail with it
}

// redirect writes to dst from now on, through comp when that is not nil. Nothing may be buffered.
func (o *output) redirect(dst io.Writer, comp flusher) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dst, o.comp, o.link = dst, comp, nil
	if l, ok := dst.(*link); ok && l.raw != nil && comp == nil {
		o.link = l
	}
}

func (o *output) setLimit(n int, holds bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.limit, o.holds = n, holds
}

// frame appends a response or an error. It is sent with the next flush.
func (o *output) frame(t protocol.FrameType, payload string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.reserveLocked(protocol.FrameHeaderSize + len(payload)); err != nil {
		return err
	}
	o.buf = protocol.AppendFrame(o.buf, t, payload)
	o.asked = true
	return nil
}

// oks appends n answers OK.
func (o *output) oks(n int) error {
	for range n {
		if err := o.frame(protocol.FrameResponse, protocol.OK); err != nil {
			return err
		}
	}
	return nil
}

// deliver appends messages and writes whenever the limit is reached.
func (o *output) deliver(d *topic.Delivery) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range d.Runs {
		if err := o.runLocked(&d.Runs[i]); err != nil {
			return err
		}
	}
	if len(o.buf) >= o.limit {
		return o.flushLocked()
	}
	return o.err
}

// sendReady takes and sends what can be sent without waiting, and reports whether that is all. If not, what is in d is to be sent
// next, and then all that may have been taken.
func (o *output) sendReady(sub *topic.Subscription, d *topic.Delivery) (done bool) {
	if !o.mu.TryLock() {
		return false
	}
	defer o.mu.Unlock()
	if o.link == nil {
		return false
	}
	for {
		n, more := sub.TakeReady(d)
		if n == 0 {
			return !more && o.flushNowLocked()
		}
		size := 0
		for i := range d.Runs {
			size += len(d.Runs[i].Frames)
		}
		if len(o.buf)+size > bufferSize {
			return false
		}
		for i := range d.Runs {
			if o.runLocked(&d.Runs[i]) != nil {
				return false
			}
		}
		d.Clear()
	}
}

// room reports whether that many answers OK can be appended now without waiting.
func (o *output) room(oks int) bool {
	if !o.mu.TryLock() {
		return false
	}
	defer o.mu.Unlock()
	return len(o.buf)+oks*(protocol.FrameHeaderSize+len(protocol.OK)) <= bufferSize
}

// flushNow is flushResponses as far as that goes without waiting, and reports whether that was all.
func (o *output) flushNow() bool {
	if !o.mu.TryLock() {
		return false
	}
	defer o.mu.Unlock()
	return !o.asked || o.flushNowLocked()
}

func (o *output) flushNowLocked() bool {
	if o.link == nil || o.err != nil {
		return false
	}
	if len(o.buf) == 0 {
		return true
	}
	var n int
	if n, o.err = o.link.writeNow(o.buf); n < len(o.buf) {
		o.buf = o.buf[:copy(o.buf, o.buf[n:])]
		return false
	}
	o.asked = false
	putBuffer(o.buf)
	o.buf = nil
	return true
}

// runLocked appends one run. Long ones are written without being copied.
func (o *output) runLocked(r *topic.Run) error {
	held := o.holds && len(o.buf)+len(r.Frames) <= o.limit
	if r.Attempts == 0 && len(r.Frames) >= bufferSize/2 && !held {
		if err := o.writeLocked(); err != nil {
			return err
		}
		return o.writeOutLocked(r.Frames)
	}
	if err := o.reserveLocked(len(r.Frames)); err != nil {
		return err
	}
	at := len(o.buf)
	o.buf = append(o.buf, r.Frames...)
	if r.Attempts > 0 {
		protocol.MessageFrame(o.buf[at:]).SetAttempts(r.Attempts)
	}
	return nil
}

// reserveLocked makes room for n more bytes, as far as one buffer goes, or the larger one that the client asked for.
func (o *output) reserveLocked(n int) error {
	if len(o.buf)+n > max(bufferSize, o.limit) {
		if err := o.writeLocked(); err != nil {
			return err
		}
	}
	if o.buf == nil {
		o.buf = getBuffer()[:0]
	}
	return o.err
}

// flush sends all that was appended.
func (o *output) flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.flushLocked()
}

func (o *output) flushLocked() error {
	o.asked = false
	if err := o.writeLocked(); err != nil {
		return err
	}
	if o.held {
		o.held = false
		o.err = o.comp.Flush()
	}
	return o.err
}

// writeLocked hands what was appended on, to the socket or the compressor.
func (o *output) writeLocked() error {
	if o.err == nil && len(o.buf) > 0 {
		_ = o.writeOutLocked(o.buf)
	}
	putBuffer(o.buf)
	o.buf = nil
	return o.err
}

func (o *output) writeOutLocked(p []byte) error {
	if o.err != nil {
		return o.err
	}
	if o.comp != nil {
		o.held = true
		_, o.err = o.comp.Write(p)
	} else {
		_, o.err = o.dst.Write(p)
	}
	return o.err
}

// buffered reports whether something waits to be sent.
func (o *output) buffered() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.buf) > 0 || o.held
}

// flushResponses sends all that was appended if there is a response among it: only messages may wait for company.
func (o *output) flushResponses() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.asked {
		return o.err
	}
	return o.flushLocked()
}

// release gives the buffer back for good; nothing is sent any more.
func (o *output) release(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
	putBuffer(o.buf)
	o.buf = nil
}
