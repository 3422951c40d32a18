package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"brokerd/broker/httpd"
	"brokerd/broker/session"
	"brokerd/protocol"
)

// listen binds all addresses.
func (s *Server) listen(ctx context.Context) (err error) {
	o := &s.opts
	if s.tcp, err = s.bind(ctx, "tcp-address", o.TCPAddress); err != nil {
		return err
	}
	if o.HTTPAddress != "" {
		if _, err = s.bind(ctx, "http-address", o.HTTPAddress); err != nil {
			return err
		}
		s.httpPort = portOf(s.listeners[1])
	}
	if s.tls.server != nil && o.HTTPSAddress != "" {
		l, err := s.bind(ctx, "https-address", o.HTTPSAddress)
		if err != nil {
			return err
		}
		s.httpsPort = portOf(l)
	}
	return nil
}

// bind listens on host:port, or on a unix socket when the address does not split as that.
func (s *Server) bind(ctx context.Context, flag, address string) (net.Listener, error) {
	network := "tcp"
	if _, _, err := net.SplitHostPort(address); err != nil {
		network = "unix"
	}
	l, err := new(net.ListenConfig).Listen(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("failed to listen on --%s %q: %w", flag, address, err)
	}
	s.listeners = append(s.listeners, l)
	return l, nil
}

// portOf returns the port that is bound, -1 for a unix socket.
func portOf(l net.Listener) int {
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		return a.Port
	}
	return -1
}

// TCPAddr returns the address that clients connect to.
func (s *Server) TCPAddr() net.Addr { return s.tcp.Addr() }

// HTTPAddr returns the address of the HTTP API, nil when it is off.
func (s *Server) HTTPAddr() net.Addr {
	if s.opts.HTTPAddress == "" {
		return nil
	}
	return s.listeners[1].Addr()
}

// HTTPSAddr returns the address of the HTTP API over TLS, nil when it is off.
func (s *Server) HTTPSAddr() net.Addr {
	if s.httpsPort == 0 {
		return nil
	}
	return s.listeners[len(s.listeners)-1].Addr()
}

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
			s.wg.Go(func() { s.serveConn(conn) })
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
	if s.http == nil {
		return
	}
	for _, l := range s.listeners[1:] {
		secure := s.httpsPort != 0 && l == s.listeners[len(s.listeners)-1]
		s.wg.Go(func() {
			var err error
			if secure {
				err = s.http.ServeTLS(l, s.tls.server)
			} else {
				err = s.http.Serve(l)
			}
			if err != nil {
				s.failed <- err
			}
		})
	}
}

// compose makes the two front doors.
func (s *Server) compose() {
	o := &s.opts
	cfg := session.Config{
		Topics: s.registry, Version: Version,
		Limits: protocol.IdentifyLimits{
			MaxHeartbeatInterval: o.MaxHeartbeatInterval, MinOutputBufferTimeout: o.MinOutputBufferTimeout,
			MaxOutputBufferTimeout: o.MaxOutputBufferTimeout, MaxOutputBufferSize: o.MaxOutputBufferSize,
			MaxMsgTimeout: o.MaxMsgTimeout,
		},
		MaxMsgSize: o.MaxMsgSize, MaxBodySize: o.MaxBodySize, MaxRdyCount: o.MaxRdyCount, MaxReqTimeout: o.MaxReqTimeout,
		MsgTimeout: o.MsgTimeout, HeartbeatInterval: o.ClientTimeout / 2, OutputBufferTimeout: o.OutputBufferTimeout,
		TLS: s.tls.server, TLSRequired: o.TLSRequired != TLSNotRequired,
		Deflate: o.DeflateEnabled, Snappy: o.SnappyEnabled, MaxDeflateLevel: o.MaxDeflateLevel,
		TopologyRegion: o.TopologyRegion, TopologyZone: o.TopologyZone, Log: s.log,
	}
	if s.auth != nil {
		cfg.Auth = s.auth
	}
	s.sessions = session.NewServer(cfg)
	if len(s.listeners) > 1 {
		s.http = httpd.New(httpd.Config{
			Broker: api{s}, Log: s.log, MaxMsgSize: o.MaxMsgSize, MaxBodySize: o.MaxBodySize, MaxReqTimeout: o.MaxReqTimeout,
			Metrics: s.newMetrics().Handler(s.log), Quantiles: o.E2EProcessingLatencyPercentiles, RefusePlain: o.TLSRequired == TLSRequired, HTTPSPort: s.httpsPort,
			Door: s.door(),
		})
	}
}
