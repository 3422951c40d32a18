package httpd

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/protocol/httpapi"
)

// pipeListener hands in-memory connections to a server, so that its deadlines run on a bubble's clock.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { close(l.done); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// inBubble runs test with a way to connect to a server, in virtual time.
func inBubble(t *testing.T, test func(t *testing.T, dial func() net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		registry := topic.NewRegistry(topic.Config{MemQueueSize: 10})
		registry.Start()
		s := New(Config{Broker: &fakeBroker{registry: registry}, Log: slog.New(slog.DiscardHandler), MaxMsgSize: 100, MaxBodySize: 1000,
			Door: httpapi.Door{Insecure: true}})
		l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
		served := make(chan error)
		go func() { served <- s.Serve(l) }()
		test(t, func() net.Conn {
			here, there := net.Pipe()
			l.conns <- there
			return here
		})
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := registry.Close(); err != nil {
			t.Error(err)
		}
	})
}

// dropped returns when the server ended the connection.
func dropped(t *testing.T, conn net.Conn) time.Duration {
	t.Helper()
	start := time.Now()
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Error(err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	return time.Since(start)
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Error(err)
	}
}

// TestSilentClients: neither a silent connection nor half a head nor half a body is kept.
func TestSilentClients(t *testing.T) {
	tests := []struct {
		says   string
		within time.Duration
	}{
		{"", headTimeout + bodyTimeout},
		{"POST /pub?topic=t HTTP/1.1\r\nHost", headTimeout},
		{"POST /pub?topic=t HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf", headTimeout + bodyTimeout},
		{"POST /topic/create?topic=t HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf", headTimeout + bodyTimeout},
		{"GET /ping HTTP/1.1\r\nHost: h\r\n\r\n", idleTimeout},
	}
	inBubble(t, func(t *testing.T, dial func() net.Conn) {
		for _, test := range tests {
			conn := dial()
			if test.says != "" {
				send(t, conn, test.says)
			}
			if took := dropped(t, conn); took > test.within+2*time.Second {
				t.Errorf("%.40q was kept for %v", test.says, took)
			}
		}
	})
}

// TestSlowBody: a body that keeps moving is taken however long it lasts.
func TestSlowBody(t *testing.T) {
	inBubble(t, func(t *testing.T, dial func() net.Conn) {
		conn := dial()
		send(t, conn, "POST /pub?topic=t HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 20\r\n\r\n")
		for range 20 {
			time.Sleep(bodyTimeout / 2)
			send(t, conn, "x")
		}
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.Contains(line, " 200 ") {
			t.Errorf("got %q, %v", line, err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestLongProfile: a profile may take longer than any other answer.
func TestLongProfile(t *testing.T) {
	inBubble(t, func(t *testing.T, dial func() net.Conn) {
		conn, start := dial(), time.Now()
		send(t, conn, "GET /debug/pprof/block?seconds=600 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.Contains(line, " 200 ") {
			t.Errorf("got %q, %v", line, err)
		}
		dropped(t, conn)
		if took := time.Since(start); took < 600*time.Second {
			t.Errorf("took %v", took)
		}
	})
}
