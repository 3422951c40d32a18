package lookup

import (
	"errors"
	"fmt"
	"net"
	"time"

	"brokerd/lookup/session"
	"brokerd/protocol/lookupwire"
)

// Waiting times after a failed accept, such as when the process has no file descriptor left: the first, doubled each time up
// to the last.
const (
	acceptBackoffMin = 5 * time.Millisecond
	acceptBackoffMax = time.Second
)

// accept takes brokers' connections until the listener is closed.
func (s *Server) accept() {
	backoff := acceptBackoffMin
	for {
		conn, err := s.tcpListener.Accept()
		switch {
		case err == nil:
			backoff = acceptBackoffMin
			s.serve(conn)
			continue
		case errors.Is(err, net.ErrClosed):
			select {
			case <-s.stop:
			default:
				s.fail(fmt.Errorf("accept brokers: %w", err))
			}
			return
		}
		s.log.Warn("accept failed, will be tried again", "error", err, "in", backoff)
		select {
		case <-s.stop:
			return
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, acceptBackoffMax)
	}
}

// serve registers the connection with those that Shutdown closes and gives it a goroutine.
func (s *Server) serve(conn net.Conn) {
	one := session.New(s.secured(conn), &s.sessions)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		_ = conn.Close() // came in while shutting down
		return
	}
	s.open[one] = struct{}{}
	s.accepted++
	s.goroutines.Go(func() { s.run(one) })
}

// secured returns the connection as a broker's, that may speak TLS.
func (s *Server) secured(conn net.Conn) net.Conn {
	if s.certs.Load().server == nil {
		return conn
	}
	return &brokerConn{Conn: conn, config: s.watched(), required: s.required.Load()}
}

func (s *Server) run(one *session.Session) {
	remote := one.RemoteAddress()
	s.log.Debug("broker connected", "remote", remote)
	err := one.Serve()
	var refusal *lookupwire.Error
	s.mu.Lock()
	if errors.As(err, &refusal) {
		s.refused[refusal.Code]++
	}
	closing := s.open == nil
	delete(s.open, one)
	s.mu.Unlock()
	if err != nil && !closing {
		s.log.Warn("broker connection failed", "remote", remote, "error", err)
		return
	}
	s.log.Info("broker left", "remote", remote)
}
