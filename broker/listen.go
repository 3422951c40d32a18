package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"brokerd/broker/session"
)

// doors are the listeners. Each has its address once it is bound.
type doors struct {
	tcp   net.Listener // protocol V2
	unix  net.Listener // the same beside it; nil without --unix-socket
	http  net.Listener // nil when off
	https net.Listener // nil when off
}

// listen binds all addresses. On an error those that are bound stay so, for closeDoors.
func (s *Server) listen(ctx context.Context) (err error) {
	o := &s.opts
	if s.doors.tcp, err = s.bind(ctx, "tcp-address", o.TCPAddress); err != nil {
		return err
	}
	if o.UnixSocket != "" {
		if s.doors.unix, err = listenUnix(ctx, o.UnixSocket, o.UnixSocketMode); err != nil {
			return cannotListen("unix-socket", o.UnixSocket, err)
		}
	}
	if o.HTTPAddress != "" {
		if s.doors.http, err = s.bind(ctx, "http-address", o.HTTPAddress); err != nil {
			return err
		}
	}
	if s.tlsNow().server != nil && o.HTTPSAddress != "" {
		s.doors.https, err = s.bind(ctx, "https-address", o.HTTPSAddress)
	}
	return err
}

// bind listens on host:port, or on a unix socket when the address does not split as that.
func (s *Server) bind(ctx context.Context, flag, address string) (l net.Listener, err error) {
	if s.around.listen != nil {
		l, err = s.around.listen(address)
	} else if isSocketPath(address) {
		l, err = listenUnix(ctx, address, s.opts.UnixSocketMode)
	} else {
		l, err = new(net.ListenConfig).Listen(ctx, "tcp", address)
	}
	if err != nil {
		return nil, cannotListen(flag, address, err)
	}
	return l, nil
}

func cannotListen(flag, address string, err error) error {
	return fmt.Errorf("failed to listen on --%s %q: %w", flag, address, err)
}

// announce says where the broker listens, in the words of NSQ's daemons: test harnesses and scripts wait for them.
func (d *doors) announce(log *slog.Logger) {
	for _, door := range []struct {
		kind     string
		listener net.Listener
	}{{"TCP", d.tcp}, {"TCP", d.unix}, {"HTTP", d.http}, {"HTTPS", d.https}} {
		if door.listener != nil {
			log.Info(door.kind + ": listening on " + door.listener.Addr().String())
		}
	}
}

// closeAll closes what is bound.
func (d *doors) closeAll() {
	for _, l := range []net.Listener{d.tcp, d.unix, d.http, d.https} {
		if l != nil {
			_ = l.Close()
		}
	}
}

// portOf returns the port that is bound, -1 for a unix socket, 0 when there is none.
func portOf(l net.Listener) int {
	if l == nil {
		return 0
	}
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		return a.Port
	}
	return -1
}

func addressOf(l net.Listener) net.Addr {
	if l == nil {
		return nil
	}
	return l.Addr()
}

// TCPAddr returns the address of --tcp-address that clients connect to.
func (s *Server) TCPAddr() net.Addr { return addressOf(s.doors.tcp) }

// HTTPAddr returns the address of the HTTP API, nil when it is off.
func (s *Server) HTTPAddr() net.Addr { return addressOf(s.doors.http) }

// HTTPSAddr returns the address of the HTTP API over TLS, nil when it is off.
func (s *Server) HTTPSAddr() net.Addr { return addressOf(s.doors.https) }

// How long the accept loop rests after an error that may pass, such as too many open files; it doubles.
const (
	minAcceptRest = 5 * time.Millisecond
	maxAcceptRest = time.Second
)

// acceptLoop serves each connection on a goroutine of its own until the listener is closed.
func (s *Server) acceptLoop(ctx context.Context, l net.Listener) {
	rest := minAcceptRest
	for {
		conn, err := l.Accept()
		if err == nil {
			rest = minAcceptRest
			key := addressKey(conn)
			if err := s.gate.enter(key); err != nil {
				s.turnAway(s.gate, conn, err, refusedClient(err), true)
				continue
			}
			s.wg.Go(func() {
				defer s.gate.leave(key)
				s.serveConn(conn)
			})
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		var ne interface{ Temporary() bool }
		if !errors.As(err, &ne) || !ne.Temporary() {
			s.failed <- fmt.Errorf("accepting on %s: %w", l.Addr(), err)
			return
		}
		s.log.Warn("accept failed, will be tried again", "error", err, "in", rest)
		select {
		case <-time.After(rest):
		case <-ctx.Done():
			return
		}
		rest = min(2*rest, maxAcceptRest)
	}
}

func (s *Server) serveConn(conn net.Conn) {
	s.log.Debug("client connected", "peer", conn.RemoteAddr())
	err := s.sessions.Serve(conn)
	if err != nil && !session.IsRefusal(err) && !errors.Is(err, session.ErrServerClosed) {
		s.log.Info("client left", "peer", conn.RemoteAddr(), "error", err)
		return
	}
	s.log.Debug("client left", "peer", conn.RemoteAddr())
}

// serveHTTP serves the API where it is bound.
func (s *Server) serveHTTP() {
	run := func(serve func() error) {
		s.wg.Go(func() {
			if err := serve(); err != nil {
				s.failed <- err
			}
		})
	}
	if s.doors.http != nil {
		run(func() error { return s.http.Serve(&gatedListener{s.doors.http, s, true}) })
	}
	if s.doors.https != nil {
		run(func() error { return s.http.ServeTLS(&gatedListener{s.doors.https, s, false}, s.watched()) })
	}
}
