package session

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/broker/auth"
	"brokerd/broker/bodies"
	"brokerd/broker/topic"
	"brokerd/protocol"
)

// states of a session, as /stats shows them.
const (
	stateInit       = 0
	stateSubscribed = 3
	stateClosing    = 4
)

// Times that a new or leaving connection gets.
const (
	magicTimeout     = 10 * time.Second // for its first four bytes
	handshakeTimeout = 5 * time.Second  // for TLS
	lingerTimeout    = 250 * time.Millisecond
	lingerBytes      = 1 << 20
)

// Session is one client connection.
type Session struct {
	cfg   *Config
	conn  net.Conn
	since time.Time

	// Owned by the reader.
	link      *link
	in        input
	batch     topic.Batch    // publishes that are not appended yet
	to        *target        // their topic, or that of the last ones
	batchVerb protocol.Verb  // their command
	begun     topic.Mark     // where in it the messages of the last publish begin
	owedOKs   int            // their answers
	parting   bool           // the peer has been shown the end: only its answers count
	reading   bool           // a body is being read: the end of the batch is not whole
	arrival   arrival        // what is known of it
	body      bodies.Body    // its share of memory
	spent     spending       // against the client's quota
	answers   []topic.Answer // FIN, REQ and TOUCH that are not applied yet
	wakes     wakes          // whom the last publish, or the last answers, brought work
	secret    string         // of AUTH; set before auth is, and never again
	authed    bool           // AUTH was taken

	state    atomic.Int32
	auth     atomic.Pointer[auth.State]         // what the client may do, nil until it is asked; atomic because KeepGrants renews it
	asking   atomic.Bool                        // KeepGrants asks for it anew
	sub      atomic.Pointer[topic.Subscription] // set once by the reader; who sends and stats read it
	relay    atomic.Pointer[relayed]            // the same, in place of sub, of a replicated topic
	out      output
	duty     duty // whose it is to send
	batching batching

	mu       sync.Mutex // guards what follows
	settings settings
	pubs     map[string]*target // topics that were published to; only the reader changes it
}

func newSession(cfg *Config, conn net.Conn) *Session {
	s := &Session{cfg: cfg, conn: conn, since: time.Now(), link: newLink(conn)}
	s.link.leave = cfg.leave()
	s.settings = defaultSettings(cfg, remoteIP(conn))
	s.out.redirect(s.link, nil)
	s.out.limit = bufferSize
	s.setBatching()
	s.in.before, s.in.wakes = s.settle, &s.wakes
	if cfg.Unfinished != nil {
		s.body = cfg.Unfinished.Begin(s.Close)
	}
	s.in.reset(s.link)
	return s
}

// Close ends the connection; the session's goroutines end soon after.
func (s *Session) Close() { _ = s.conn.Close() }

// end has the session end soon, in order: what the client has sent is carried out and answered first.
func (s *Session) end() { s.link.end() }

// part shows a client the end that has messages in hand, so that it answers what it can and stops. It reports whether it did;
// the client's answers are heard a little longer then.
func (s *Session) part() bool {
	sub := s.consuming()
	if sub == nil || sub.Stats().InFlight == 0 {
		return false
	}
	half, ok := s.conn.(interface{ CloseWrite() error })
	s.parting = ok && half.CloseWrite() == nil
	return s.parting
}

// run serves the connection to its end.
func (s *Session) run() error {
	err := s.converse()
	if errors.Is(err, errEnding) && s.to != nil && !s.parting {
		s.linger(math.MaxInt64) // what a producer has on its way must not cost it the answers that it has not read yet
	}
	s.wakes.pass()
	_ = s.conn.Close() // the last write must not wait for a peer that has left
	if sub := s.consuming(); sub != nil {
		s.duty.retire()
		if s.batching.timer != nil {
			s.batching.timer.Stop()
		}
		if e := sub.Close(); err == nil {
			err = e
		}
	}
	s.endArrival()
	s.in.release()
	s.out.release(net.ErrClosed)
	s.batch.Release()
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, errEnding) {
		return nil
	}
	return err
}

// converse reads commands until the peer leaves or must leave.
func (s *Session) converse() error {
	if err := s.greet(); err != nil {
		return err
	}
	s.link.beat, s.link.part = s.beat, s.part
	s.setAccount()
	s.link.setHeartbeat(s.cfg.HeartbeatInterval)
	for {
		s.link.beginCommand()
		s.spent.commands++
		line, err := s.in.line()
		if err != nil {
			return err
		}
		c := protocol.ParseLine(line)
		if s.parting {
			if err := s.hear(&c); err != nil {
				return err
			}
			continue
		}
		if err := s.exec(&c); err != nil {
			return s.dismiss(err)
		}
	}
}

// hear carries out what a client says that has been shown the end: its answers.
func (s *Session) hear(c *protocol.Command) error {
	switch c.Verb {
	case protocol.Fin, protocol.Req, protocol.Touch:
		return s.exec(c)
	case protocol.Rdy, protocol.Nop, protocol.Cls:
		return nil
	}
	return cmp.Or(s.settleCommands(), errEnding)
}

// greet reads the magic.
func (s *Session) greet() error {
	s.link.setDead(magicTimeout)
	var magic [len(protocol.Magic)]byte
	for got := 0; got < len(magic); {
		if s.in.r == s.in.w {
			if err := s.in.fill(); err != nil {
				return err
			}
		}
		n := copy(magic[got:], s.in.buf[s.in.r:s.in.w])
		s.in.r += n
		got += n
	}
	if string(magic[:]) != protocol.Magic {
		return s.dismiss(&protocol.Error{Code: protocol.CodeBadProtocol})
	}
	return nil
}

// beat sends a heartbeat.
func (s *Session) beat() error {
	if err := s.out.frame(protocol.FrameResponse, protocol.Heartbeat); err != nil {
		return err
	}
	return s.out.flush()
}

// settle finishes what the buffered commands have begun: it runs before the reader would wait for more.
func (s *Session) settle() error {
	err := s.settleCommands()
	if s.parting {
		s.wakes.pass()
		return nil // what could not be done cannot be told any more
	}
	if err != nil {
		var fatal *protocol.Error
		if errors.As(err, &fatal) {
			return s.dismiss(fatal)
		}
		return err
	}
	if s.wakes.Any() && !s.out.flushNow() {
		s.wakes.pass()
	}
	if err := s.out.flushResponses(); err != nil {
		return err
	}
	if err := s.pay(); err != nil {
		return err
	}
	return s.expect()
}

// settleCommands applies collected answers and appends collected publishes.
func (s *Session) settleCommands() error {
	if len(s.answers) > 0 {
		if err := s.applyAnswers(); err != nil {
			return err
		}
	}
	if s.owedOKs > 0 && !s.reading {
		return s.publishBatch()
	}
	return nil
}

// errDismissed is what who sends gets once the last frame, an error, is sent.
var errDismissed = errors.New("the client was told to leave")

// dismiss tells the peer why the connection ends, and lets it read that before the connection closes.
func (s *Session) dismiss(err error) error {
	var fatal *protocol.Error
	if !errors.As(err, &fatal) || errors.Is(err, errEnding) {
		return err
	}
	e := s.settleCommands()
	s.wakes.pass()
	told := e == nil || errors.As(e, &fatal)
	s.refuse(fatal, 1)
	if !told {
		return refused(fatal, e)
	}
	if e := s.out.frame(protocol.FrameError, fatal.Error()); e != nil {
		return refused(fatal, e)
	}
	if e := s.out.flush(); e != nil {
		return refused(fatal, e)
	}
	s.out.release(errDismissed)
	s.linger(lingerBytes)
	return refused(fatal, nil)
}

// refused is what a session ends with that was told why; unheard is why it could not be told.
func refused(why *protocol.Error, unheard error) error {
	if unheard != nil {
		return fmt.Errorf("client was refused: %w, and could not be told: %w", why, unheard)
	}
	return fmt.Errorf("client was refused: %w", why)
}

// linger shows the peer the end, and reads and drops what it still sends, up to that many bytes, for a little while: closing a
// connection with unread bytes resets it, and the peer may then never see the last frames.
func (s *Session) linger(bytes int64) {
	half, ok := s.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	s.in.release()
	_ = s.conn.SetReadDeadline(time.Now().Add(lingerTimeout))
	_, _ = io.CopyN(io.Discard, s.conn, bytes)
}

// remoteIP returns the peer's address without its port, empty on a unix socket.
func remoteIP(conn net.Conn) string {
	if conn.RemoteAddr() == nil || conn.RemoteAddr().Network() != "tcp" {
		return ""
	}
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return ""
	}
	return host
}
