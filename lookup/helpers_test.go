package lookup

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/protocol/httpapi"
	"brokerd/protocol/lookupwire"
)

func testOptions() Options {
	opts := DefaultOptions()
	opts.TCPAddress, opts.HTTPAddress, opts.BroadcastAddress = "127.0.0.1:0", "127.0.0.1:0", "lookup.test"
	return opts
}

func newServer(t testing.TB, opts Options) *Server {
	t.Helper()
	s, err := New(opts, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func start(t testing.TB) *Server {
	t.Helper()
	s := newServer(t, testOptions())
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func info(host string) lookupwire.PeerInfo {
	return lookupwire.PeerInfo{
		Version: "fake-version", TCPPort: 4150, HTTPPort: 4151, Hostname: "h", BroadcastAddress: host, TopologyZone: "z", TopologyRegion: "r",
	}
}

// peer is the broker's end of a registration connection.
type peer struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

func (s *Server) dial(t testing.TB) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", s.TCPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return newPeer(t, conn)
}

// pipe connects without a socket, for use in a bubble of synctest.
func (s *Server) pipe(t testing.TB) *peer {
	ours, theirs := net.Pipe()
	s.serve(ours)
	return newPeer(t, theirs)
}

func newPeer(t testing.TB, conn net.Conn) *peer {
	p := &peer{t, conn, bufio.NewReader(conn)}
	p.send(lookupwire.Magic)
	return p
}

func (p *peer) send(what string) {
	p.t.Helper()
	if _, err := io.WriteString(p.conn, what); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) reply() string {
	p.t.Helper()
	got, err := lookupwire.ReadReply(p.in, nil, 1<<20)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(got)
}

func (p *peer) say(line string) {
	p.t.Helper()
	p.send(line + "\n")
	if got := p.reply(); got != "OK" {
		p.t.Fatalf("%s: %s", line, got)
	}
}

func (p *peer) identify(who lookupwire.PeerInfo) lookupwire.LookupInfo {
	p.t.Helper()
	p.send(string(lookupwire.AppendIdentify(nil, who)))
	got, err := lookupwire.ParseIdentifyReply([]byte(p.reply()))
	if err != nil {
		p.t.Fatal(err)
	}
	return got
}

// get asks the handler without a socket.
func (s *Server) get(t testing.TB, uri string, v any) int { return s.do(t, http.MethodGet, uri, v) }

func (s *Server) do(t testing.TB, method, uri string, v any) int {
	t.Helper()
	w := httptest.NewRecorder()
	s.http.Handler.ServeHTTP(w, httptest.NewRequest(method, uri, nil))
	if v != nil && w.Code == http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), v); err != nil {
			t.Fatal(err)
		}
	}
	return w.Code
}

func (s *Server) producers(t testing.TB, topic string) int {
	t.Helper()
	var got httpapi.Lookup
	if code := s.get(t, "/lookup?topic="+topic, &got); code != http.StatusOK {
		return -code
	}
	return len(got.Producers)
}

// A broker keeps on pinging for the given time of the bubble.
func (p *peer) ping(span time.Duration) {
	for end := time.Now().Add(span); time.Now().Before(end); {
		time.Sleep(min(15*time.Second, time.Until(end)))
		p.say("PING")
	}
}

func bubble(t *testing.T, f func(t *testing.T, s *Server)) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, testOptions())
		f(t, s)
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
