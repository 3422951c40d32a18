package registrar

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"brokerd/protocol/lookupwire"
)

const (
	timeout  = time.Second // of dialling, of a write, of the wait for one answer
	maxReply = 5 << 20     // bytes, as nsqd's default
	batch    = 64          // commands sent before their answers are read
)

var (
	errNoAnswer    = fmt.Errorf("no answer within %s", timeout)
	errUnsolicited = errors.New("an answer to nothing")
	errNotOK       = errors.New("answer is not OK")
)

// link is one connection to a lookup. Its methods belong to one goroutine, but for hangUp. A second goroutine, started
// by newLink and joined by close, reads the answers, so that the end of the connection is seen at once.
type link struct {
	conn    net.Conn
	pending []byte // commands not sent yet
	count   int    // their number
	refused string // what was last logged of topics that were not taken
	log     *slog.Logger

	replies chan []byte // room for a batch, so that the reader never stops a lookup; closed at the end
	readErr error       // what ended the reader; read after replies is closed
}

func newLink(conn net.Conn, log *slog.Logger) *link {
	l := &link{conn: conn, log: log, replies: make(chan []byte, batch)}
	go l.read()
	return l
}

// read ends when the connection does, or when a lookup sends more answers than there are questions.
func (l *link) read() {
	defer close(l.replies)
	r := bufio.NewReader(l.conn)
	for {
		reply, err := lookupwire.ReadReply(r, nil, maxReply)
		if err != nil {
			l.readErr = err
			return
		}
		select {
		case l.replies <- reply:
		default:
			l.readErr = errUnsolicited
			return
		}
	}
}

// hangUp ends the connection from any goroutine; what the link is doing fails.
func (l *link) hangUp() { _ = l.conn.Close() } // an error would change nothing

// close ends the connection and joins the reader.
func (l *link) close() {
	l.hangUp()
	for range l.replies { // until it is closed
	}
}

// identify opens the conversation. In clear a lookup is shown a token only once it has answered: one that takes nothing but TLS refuses before.
func (l *link) identify(info Info) (lookupwire.LookupInfo, error) {
	begin := []byte(lookupwire.Magic)
	if _, secure := l.conn.(*tls.Conn); info.Token != "" && !secure {
		if err := l.write(lookupwire.AppendPing(begin)); err != nil {
			return lookupwire.LookupInfo{}, err
		}
		reply, err := l.answer()
		if err == nil {
			err = checkOK(reply)
		}
		if err != nil {
			return lookupwire.LookupInfo{}, err
		}
		begin = nil
	}
	if err := l.write(lookupwire.AppendIdentify(begin, info)); err != nil {
		return lookupwire.LookupInfo{}, err
	}
	reply, err := l.answer()
	if err != nil {
		return lookupwire.LookupInfo{}, err
	}
	return lookupwire.ParseIdentifyReply(reply)
}

// send queues a command and sends the batch when it is full.
func (l *link) send(line []byte) error {
	l.pending = append(l.pending, line...)
	l.count++
	if l.count < batch {
		return nil
	}
	return l.flush()
}

// flush sends the queued commands and reads their answers.
func (l *link) flush() error {
	count := l.count
	err := l.write(l.pending)
	l.pending, l.count = l.pending[:0], 0
	for range count {
		if err != nil {
			break
		}
		var reply []byte
		if reply, err = l.answer(); err == nil {
			err = l.check(reply)
		}
	}
	return err
}

// check is checkOK, but that a lookup which has no room for a topic, or does not want it of this broker, keeps the others.
func (l *link) check(reply []byte) error {
	refused := lookupwire.ReplyError(reply)
	if refused != nil && (refused.Code == lookupwire.CodeFull || refused.Code == lookupwire.CodeUnauthorized) {
		if text := refused.Error(); text != l.refused {
			l.refused = text
			l.log.Error("lookup does not take a topic", "error", refused)
		}
		return nil
	}
	return checkOK(reply)
}

// checkOK takes any word but an error for consent, as nsqd does.
func checkOK(reply []byte) error {
	if refused := lookupwire.ReplyError(reply); refused != nil {
		return fmt.Errorf("%w: %w", errNotOK, refused)
	}
	return nil
}

func (l *link) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if err := l.conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	_, err := l.conn.Write(b)
	return err
}

func (l *link) answer() ([]byte, error) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case reply, ok := <-l.replies:
		if !ok {
			return nil, l.ended()
		}
		return reply, nil
	case <-timer.C:
		return nil, errNoAnswer
	}
}

// ended says why the reader stopped, which it has.
func (l *link) ended() error {
	if errors.Is(l.readErr, io.EOF) {
		return fmt.Errorf("the lookup closed the connection: %w", l.readErr)
	}
	return l.readErr
}

// unasked turns what came while nothing was asked into an error.
func (l *link) unasked(reply []byte, ok bool) error {
	if !ok {
		return l.ended()
	}
	return errors.Join(errUnsolicited, checkOK(reply))
}
