package peer

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Limits of a link.
const (
	queueBytes   = 16 << 20         // that wait to be sent; more is lost, as with a broken connection
	pingEvery    = 2 * time.Second  // over Control, which tells how far away the peer is
	aliveEvery   = 3 * time.Second  // over other lanes, which need only not be silent
	silence      = 10 * time.Second // after which a connection is taken for dead
	writeTimeout = 10 * time.Second
)

// ErrGivenUp is a frame that was not sent, as who sends it does not wait any more.
var ErrGivenUp = errors.New("who wanted to send to the peer has given up")

// ErrFull is a frame that was not sent: too much waits already.
var ErrFull = errors.New("too much waits to be sent to the peer")

// Distance is how far away a peer is, and by how much its clock is ahead.
type Distance struct {
	RoundTrip time.Duration // the shortest of the last pings
	Offset    time.Duration // of its clock to ours, known to half of the round trip
	Known     bool
}

// link is one connection after the handshake.
type link struct {
	conn   net.Conn
	raw    syscall.RawConn // of conn, where something can be written to it without waiting; nil: nowhere
	other  Hello
	lower  bool      // it was dialled by the node whose folder's id is the lower one: of two that have dialled each other this link stays
	begin  time.Time // what pings count from
	serial uint64    // of all links of the node, from 1 on; guarded by Node.mu
	rate   int       // bytes a second that are sent at most; 0: no limit

	skew time.Duration // see Options

	gone chan struct{} // closed when it has ended, and is not the link of its lane any more

	mu      sync.Mutex
	queue   []byte // frames to be sent
	free    int    // bytes of it that the rate does not hold back
	begun   []byte // what is left of frames that a send has begun to write, before those in the queue
	spare   []byte
	writes  bool // somebody writes
	closed  bool
	wake    chan struct{}
	room    chan struct{} // closed when the queue was taken over; nil: nobody waits for that
	pinged  time.Time
	samples [8]Distance
	pings   int
}

func newLink(c net.Conn, other Hello, lower bool) *link {
	l := &link{conn: c, other: other, lower: lower, begin: time.Now(), wake: make(chan struct{}, 1), gone: make(chan struct{})}
	if sc, ok := c.(syscall.Conn); ok {
		l.raw, _ = sc.SyscallConn() // without it the writer writes
	}
	return l
}

// lengthOf returns how many bytes a payload has, if it may have so many.
func lengthOf(payload [][]byte) (length int, err error) {
	for _, p := range payload {
		length += len(p)
	}
	if length > MaxFrame {
		return 0, fmt.Errorf("%w: %d bytes, %d are allowed", ErrFrame, length, MaxFrame)
	}
	return length, nil
}

// when says how soon a frame leaves.
type when uint8

const (
	soon  when = iota // the writer is woken for it
	first             // the same, whatever rate there is
	now               // who sends it writes it, if that can be without waiting and nobody else writes: to wake the writer takes longer, and costs more
	later             // with the next one that does, or with beat: nobody is woken
)

// send puts a frame into the queue and waits for nothing.
func (l *link) send(leaves when, kind Kind, stream uint32, payload ...[]byte) error {
	length, err := lengthOf(payload)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return net.ErrClosed
	case len(l.queue) > 0 && len(l.queue)+length > queueBytes:
		return ErrFull
	}
	l.putLocked(leaves, kind, stream, payload...)
	return nil
}

// putLocked puts a frame into the queue.
func (l *link) putLocked(leaves when, kind Kind, stream uint32, payload ...[]byte) {
	before := len(l.queue)
	l.queue = appendFrame(l.queue, kind, stream, payload...)
	switch leaves {
	case now:
		l.leaveLocked()
	case first:
		l.free += len(l.queue) - before
		kick(l.wake)
	case soon:
		kick(l.wake)
	}
}

// beat has what is in the queue leave, and a ping when it is time for one.
func (l *link) beat(now time.Time) {
	every := pingEvery
	if l.other.Lane != Control {
		every = aliveEvery
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pingLocked(now, every)
	if !l.closed && !l.writes && len(l.begun)+len(l.queue) > 0 { // else there is nothing, or who writes sees to it
		l.leaveLocked()
	}
}

// pingLocked puts a ping into the queue unless there was one lately.
func (l *link) pingLocked(now time.Time, every time.Duration) {
	if now.Sub(l.pinged) < every || l.closed {
		return
	}
	l.pinged = now
	l.queue = appendFrame(l.queue, kindPing, 0, binary.BigEndian.AppendUint64(nil, uint64(now.Sub(l.begin))))
}

// leaveLocked writes the queue, or has the writer do it where that may take time.
func (l *link) leaveLocked() {
	if l.raw != nil && l.rate == 0 && !l.writes && len(l.begun) == 0 {
		l.writeNowLocked()
	} else {
		kick(l.wake)
	}
}

// writeNowLocked writes what of the queue can be written without waiting, and leaves the rest to the writer.
func (l *link) writeNowLocked() {
	out := l.takeLocked()
	l.mu.Unlock()
	n, err := writeNow(l.raw, out)
	l.mu.Lock()
	if err != nil {
		l.closeLocked()
		return
	}
	l.gaveLocked(out, n)
	if len(l.begun)+len(l.queue) > 0 {
		kick(l.wake)
	}
}

// takeLocked takes what is to be written next, by one at a time.
func (l *link) takeLocked() (out []byte) {
	l.writes = true
	if out = l.begun; len(out) > 0 {
		l.begun = nil
		return out
	}
	out = l.queue
	l.queue, l.spare = l.spare[:0], nil
	l.roomLocked()
	return out
}

// heldLocked returns how many bytes of the queue the rate holds back.
func (l *link) heldLocked() (held int) {
	held = len(l.queue) - l.free
	l.free = 0
	return held
}

// gaveLocked says how much of what was taken is written.
func (l *link) gaveLocked(out []byte, n int) {
	l.writes = false
	switch {
	case n < len(out):
		l.begun = out[n:]
	case cap(out) <= mostSpare:
		l.spare = out
	}
}

// mostSpare is the largest buffer that is kept for the next frames.
const mostSpare = 1 << 20

// paceLocked returns with l.mu held once fewer bytes than that wait to be sent, or fails without it when the link or done ends.
func (l *link) paceLocked(done <-chan struct{}, most int) error {
	for {
		l.mu.Lock()
		switch {
		case l.closed:
			l.mu.Unlock()
			return net.ErrClosed
		case len(l.queue) < most:
			return nil
		case l.room == nil:
			l.room = make(chan struct{})
		}
		room := l.room
		l.mu.Unlock()
		select {
		case <-room:
		case <-done:
			return ErrGivenUp
		}
	}
}

// roomLocked tells who waits that the queue is empty, or will never be.
func (l *link) roomLocked() {
	if l.room != nil {
		close(l.room)
		l.room = nil
	}
}

// sendPaced is send once fewer bytes than that wait to be sent.
func (l *link) sendPaced(leaves when, done <-chan struct{}, most int, kind Kind, stream uint32, payload ...[]byte) error {
	length, err := lengthOf(payload)
	if err != nil {
		return err
	}
	if err := l.paceLocked(done, max(1, min(most, queueBytes-length))); err != nil {
		return err
	}
	defer l.mu.Unlock()
	l.putLocked(leaves, kind, stream, payload...)
	return nil
}

func kick(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// close ends both goroutines.
func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closeLocked()
}

func (l *link) closeLocked() {
	if !l.closed {
		l.closed = true
		l.roomLocked()
		l.conn.Close() // what was not sent is lost, as links may
		kick(l.wake)
	}
}

// run reads and writes until the connection ends, and returns why.
func (l *link) run(received func(Kind, uint32, []byte, bool)) error {
	var writer sync.WaitGroup
	writer.Go(l.write)
	err := l.read(received)
	l.close()
	writer.Wait()
	return err
}

func (l *link) write() {
	silent := time.NewTimer(untilSilent()) // as nobody calls beat
	defer silent.Stop()
	for {
		runtime.Gosched() // several groups beat at the same time: one write carries them
		l.mu.Lock()
		var out []byte
		held := 0
		if !l.writes && len(l.begun)+len(l.queue) > 0 { // else who writes wakes this goroutine if something is left
			held = l.heldLocked()
			out = l.takeLocked()
		}
		closed := l.closed
		l.mu.Unlock()
		if closed {
			return
		}
		if len(out) > 0 {
			if err := l.writeAll(out); err != nil {
				l.close()
				return
			}
			l.rest(held)
			continue
		}
		select {
		case <-l.wake:
		case now := <-silent.C:
			l.mu.Lock()
			l.pingLocked(now, silence/3)
			l.mu.Unlock()
			silent.Reset(untilSilent())
		}
	}
}

// untilSilent returns how long a writer waits for something to do: all links of a node look at the same moment, so that one that rests is woken once.
func untilSilent() time.Duration {
	return silence/2 - time.Duration(time.Now().UnixNano())%(silence/2)
}

// writeAll writes what was taken, and waits for that.
func (l *link) writeAll(out []byte) error {
	n, err := 0, error(nil)
	if l.raw != nil {
		n, err = writeNow(l.raw, out)
	}
	if err == nil && n < len(out) {
		_ = l.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		_, err = l.conn.Write(out[n:])
		_ = l.conn.SetWriteDeadline(time.Time{}) // or what is written without waiting would fail once it is over
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gaveLocked(out, len(out))
	return nil
}

// rest waits until so many bytes may have been sent.
func (l *link) rest(bytes int) {
	if l.rate == 0 {
		return
	}
	until := time.NewTimer(time.Duration(bytes) * time.Second / time.Duration(l.rate))
	defer until.Stop()
	for {
		select {
		case <-until.C:
			return
		case <-l.wake: // something more is to be sent, or it is over
			l.mu.Lock()
			closed := l.closed
			l.mu.Unlock()
			if closed {
				kick(l.wake)
				return
			}
		}
	}
}

func (l *link) read(received func(Kind, uint32, []byte, bool)) error {
	r := bufio.NewReaderSize(&reader{conn: l.conn, raw: l.raw}, 64<<10)
	for {
		f, err := readFrame(r, MaxFrame)
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
				return io.EOF
			}
			return err
		}
		switch {
		case f.kind >= FirstFree:
			received(f.kind, f.stream, f.payload, r.Buffered() == 0)
		case f.kind == kindPing && len(f.payload) == 8:
			if l.other.Lane == Control { // by the others the peer measures nothing
				_ = l.send(now, kindPong, 0, f.payload, binary.BigEndian.AppendUint64(nil, uint64(time.Now().Add(l.skew).UnixNano())))
			}
		case f.kind == kindPong && len(f.payload) == 16:
			l.measured(f.payload)
		default:
			return fmt.Errorf("%w: kind %d with %d bytes", ErrFrame, f.kind, len(f.payload))
		}
	}
}

// measured takes an answer to a ping.
func (l *link) measured(b []byte) {
	sent, theirs := time.Duration(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:]))
	trip := time.Since(l.begin) - sent
	if sent < 0 || trip < 0 {
		return // not of this link
	}
	ours := time.Now().Add(l.skew - trip/2).UnixNano()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.samples[l.pings%len(l.samples)] = Distance{RoundTrip: trip, Offset: time.Duration(theirs - ours), Known: true}
	l.pings++
}

// distance returns the sample with the shortest round trip: it knows the offset best.
func (l *link) distance() (best Distance) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range l.samples {
		if d.Known && (!best.Known || d.RoundTrip < best.RoundTrip) {
			best = d
		}
	}
	return best
}
