package session

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"brokerd/lookup/registry"
	"brokerd/protocol/grant"
	"brokerd/protocol/lookupwire"
)

// Deadlines that nobody has had reason to change.
const (
	MagicTimeout = 10 * time.Second
	WriteTimeout = 10 * time.Second
	lingerTime   = time.Second // for a refused broker to read why
	lingerBytes  = 64 << 10
)

// Config is what all sessions of a lookup have in common.
type Config struct {
	Registry       *registry.Registry
	Identity       lookupwire.LookupInfo // the answer to IDENTIFY
	CommandTimeout time.Duration         // longest silence between two commands; NSQ's brokers ping every 15 s
	Gate           *Gate                 // who may register
	Log            *slog.Logger
}

// Secure is a connection over TLS.
type Secure interface{ ConnectionState() tls.ConnectionState }

// Session is one connection. Only Close may be called while Serve runs.
type Session struct {
	conn net.Conn
	cfg  *Config
	in   *bufio.Reader
	out  []byte         // replies not yet written
	peer *registry.Peer // nil until IDENTIFY

	caller atomic.Pointer[grant.Caller] // by a token or certificate; nil for one that may register anything. Atomic because Recheck renews it
	joined atomic.Bool                  // IDENTIFY was taken
}

// New returns a session that has not read anything.
func New(conn net.Conn, cfg *Config) *Session {
	s := &Session{conn: conn, cfg: cfg}
	s.in = bufio.NewReaderSize(flushFirst{s}, lookupwire.MaxLineLength)
	return s
}

// Close ends the connection and with it Serve.
func (s *Session) Close() error { return s.conn.Close() }

// RemoteAddress returns ip:port of the broker's end.
func (s *Session) RemoteAddress() string { return s.conn.RemoteAddr().String() }

// Serve talks until the connection ends, and closes it. It returns nil when the broker closed between two commands, the
// *lookupwire.Error with which it was refused, whether or not that could be sent, or what failed.
func (s *Session) Serve() error {
	defer s.conn.Close() // what had to be sent was; the error of a close tells nothing more
	err := s.talk()
	if s.peer != nil {
		s.cfg.Registry.Leave(s.peer, time.Now())
	}
	var refusal *lookupwire.Error
	if errors.As(err, &refusal) {
		s.refuse(refusal)
	}
	if errors.Is(err, io.EOF) && refusal == nil {
		return nil
	}
	return err
}

func (s *Session) talk() error {
	if err := s.readMagic(); err != nil {
		return err
	}
	for {
		if err := s.conn.SetReadDeadline(time.Now().Add(s.cfg.CommandTimeout)); err != nil {
			return err
		}
		line, err := s.in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return lookupwire.LineTooLong()
		}
		if err != nil {
			return err
		}
		if err := s.execute(lookupwire.ParseLine(line)); err != nil {
			return err
		}
	}
}

func (s *Session) readMagic() error {
	if err := s.conn.SetReadDeadline(time.Now().Add(MagicTimeout)); err != nil {
		return err
	}
	var magic [len(lookupwire.Magic)]byte
	if _, err := io.ReadFull(s.in, magic[:]); err != nil {
		return err
	}
	if string(magic[:]) != lookupwire.Magic {
		return lookupwire.ErrBadProtocol()
	}
	return nil
}

// execute runs one command and adds its reply.
func (s *Session) execute(cmd lookupwire.Command) error {
	switch string(cmd.Word) {
	case lookupwire.Ping:
		if s.peer != nil {
			s.cfg.Registry.Ping(s.peer, time.Now())
		}
	case lookupwire.Identify:
		return s.identify()
	case lookupwire.Register, lookupwire.Unregister:
		switch refused, err := s.registration(cmd); {
		case err != nil:
			return err
		case refused != nil:
			s.cfg.Log.Warn("registration refused", "remote", s.RemoteAddress(), "reason", refused.Error())
			s.out = lookupwire.AppendReply(s.out, refused.Error())
			return nil
		}
	default:
		return lookupwire.ErrUnknownCommand(cmd.Word)
	}
	s.out = lookupwire.AppendReply(s.out, lookupwire.ReplyOK)
	return nil
}

func (s *Session) identify() error {
	if s.peer != nil {
		return lookupwire.ErrIdentifyAgain()
	}
	var prefix [4]byte
	if _, err := io.ReadFull(s.in, prefix[:]); err != nil {
		return lookupwire.IdentifySizeUnread(err)
	}
	size, err := lookupwire.IdentifyBodySize(prefix)
	if err != nil {
		return err
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(s.in, body); err != nil {
		return lookupwire.IdentifyBodyUnread(err)
	}
	info, err := lookupwire.ParseIdentify(body)
	if err != nil {
		return err
	}
	caller, err := s.cfg.Gate.caller(s.conn, info.Token)
	if err != nil {
		return err
	}
	s.caller.Store(caller)
	info.Token = ""
	if s.peer, err = s.cfg.Registry.Join(s.RemoteAddress(), info, time.Now()); err != nil {
		return &lookupwire.Error{Code: lookupwire.CodeFull, Desc: "IDENTIFY " + err.Error(), Err: err}
	}
	s.joined.Store(true)
	s.cfg.Log.Info("broker joined", "remote", s.RemoteAddress(), "broadcast", info.BroadcastAddress,
		"tcp_port", info.TCPPort, "http_port", info.HTTPPort, "version", info.Version)
	s.out = lookupwire.AppendIdentifyReply(s.out, s.cfg.Identity)
	return nil
}

// registration does REGISTER and UNREGISTER. What is refused is told to the broker, whose other topics stay: closing the connection would take
// them too. Unlike that, an error ends it.
func (s *Session) registration(cmd lookupwire.Command) (refused *lookupwire.Error, err error) {
	if s.peer == nil {
		return nil, lookupwire.ErrMustIdentify()
	}
	topic, channel, err := cmd.Names()
	if err != nil {
		return nil, err
	}
	if string(cmd.Word) == lookupwire.Register {
		if refused := s.mayRegister(topic); refused != nil {
			return refused, nil
		}
		if err := s.cfg.Registry.Register(s.peer, topic, channel, time.Now()); err != nil {
			return &lookupwire.Error{Code: lookupwire.CodeFull, Desc: "REGISTER " + err.Error()}, nil
		}
		s.cfg.Log.Debug("registered", "remote", s.RemoteAddress(), "topic", topic, "channel", channel)
		return nil, nil
	}
	if n := s.cfg.Registry.Unregister(s.peer, topic, channel, time.Now()); n > 0 {
		s.cfg.Log.Warn("topic unregistered before its channels", "remote", s.RemoteAddress(), "topic", topic, "channels", n)
	}
	s.cfg.Log.Debug("unregistered", "remote", s.RemoteAddress(), "topic", topic, "channel", channel)
	return nil, nil
}

// refuse sends the error, best effort, and gives the broker a moment to read it.
func (s *Session) refuse(refusal *lookupwire.Error) {
	s.out = lookupwire.AppendReply(s.out, refusal.Error())
	if s.flush() != nil {
		return
	}
	half, ok := s.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || s.conn.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, s.conn, lingerBytes) // ends by any error
}

// flush writes the replies that wait.
func (s *Session) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	if err := s.conn.SetWriteDeadline(time.Now().Add(WriteTimeout)); err != nil {
		return err
	}
	_, err := s.conn.Write(s.out)
	s.out = s.out[:0]
	return err
}

// flushFirst reads from the connection, after the replies that wait are written: nobody waits for a reply that waits for
// input.
type flushFirst struct{ *Session }

func (f flushFirst) Read(p []byte) (int, error) {
	if err := f.flush(); err != nil {
		return 0, err
	}
	return f.conn.Read(p)
}
