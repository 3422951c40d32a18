package session

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/cmd/leaktest"
	"brokerd/lookup/registry"
	"brokerd/protocol/grant"
	"brokerd/protocol/lookupwire"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func newConfig() *Config {
	return &Config{
		Registry: registry.New(registry.Config{InactiveTimeout: time.Minute, TombstoneLifetime: time.Minute}, time.Now()),
		Identity: lookupwire.LookupInfo{BroadcastAddress: "l", Hostname: "h", HTTPPort: 2, TCPPort: 1, Version: "v"},
		Log:      slog.New(slog.DiscardHandler), CommandTimeout: 10 * time.Minute, Gate: NewGate(nil, grant.NewSlot(nil)),
	}
}

const (
	body     = `{"broadcast_address":"b","tcp_port":1,"http_port":2,"version":"v"}`
	identify = "IDENTIFY\n\x00\x00\x00\x42" + body
	identity = `{"broadcast_address":"l","hostname":"h","http_port":2,"tcp_port":1,"version":"v"}`
)

// What is said, what is answered, and with what the session ends. "!" stands for a session that the broker closed.
func TestConversations(t *testing.T) {
	for _, c := range []struct {
		name, sent string
		replies    []string
		end        string
	}{
		{"nothing", "", nil, "!"},
		{"half a magic", "  V", nil, "unexpected EOF"},
		{"client's magic", "  V2", nil, "E_BAD_PROTOCOL"},
		{"http", "GET / HTTP/1.1\r\n", nil, "E_BAD_PROTOCOL"},
		{"ping before identify", "  V1PING\nPING\r\n", []string{"OK", "OK"}, "!"},
		{"unknown", "  V1INVALID_COMMAND\n", nil, "E_INVALID invalid command INVALID_COMMAND"},
		{"empty line", "  V1\n", nil, "E_INVALID invalid command "},
		{"case", "  V1ping\n", nil, "E_INVALID invalid command ping"},
		{"register first", "  V1REGISTER\n", nil, "E_INVALID client must IDENTIFY"},
		{"unregister first", "  V1UNREGISTER $\n", nil, "E_INVALID client must IDENTIFY"},
		{"identify", "  V1" + identify + "PING\n", []string{identity, "OK"}, "!"},
		{"identify again", "  V1" + identify + identify, []string{identity}, "E_INVALID cannot IDENTIFY again"},
		{"no size", "  V1IDENTIFY\n\x00\x00", nil, "E_BAD_BODY IDENTIFY failed to read body size"},
		{"no body", "  V1IDENTIFY\n\x00\x00\x00\x05{", nil, "E_BAD_BODY IDENTIFY failed to read body"},
		{"negative size", "  V1IDENTIFY\n\xff\xff\xff\xff", nil, "E_BAD_BODY IDENTIFY invalid body size -1"},
		{"huge size", "  V1IDENTIFY\n\x7f\xff\xff\xff", nil, "E_BAD_BODY IDENTIFY body too big 2147483647 > 16384"},
		{"no JSON", "  V1IDENTIFY\n\x00\x00\x00\x01{", nil, "E_BAD_BODY IDENTIFY failed to decode JSON body"},
		{"no fields", "  V1IDENTIFY\n\x00\x00\x00\x02{}", nil, "E_BAD_BODY IDENTIFY missing fields"},
		{
			"register", "  V1" + identify + "REGISTER t\nREGISTER t c\nREGISTER t  c\nREGISTER t c surplus\nUNREGISTER t c\nUNREGISTER t\n",
			[]string{identity, "OK", "OK", "OK", "OK", "OK", "OK"}, "!",
		},
		{"no topic", "  V1" + identify + "REGISTER\n", []string{identity}, "E_INVALID REGISTER insufficient number of params"},
		{"bad topic", "  V1" + identify + "REGISTER t$\n", []string{identity}, "E_BAD_TOPIC REGISTER topic name 't$' is not valid"},
		{"bad channel", "  V1" + identify + "UNREGISTER t *\n", []string{identity}, "E_BAD_CHANNEL UNREGISTER channel name '*' is not valid"},
		{"endless line", "  V1PING\n" + strings.Repeat("x", 5000), []string{"OK"}, "E_INVALID command line longer than 1024 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := &script{in: strings.NewReader(c.sent)}
			cfg := newConfig()
			end := "!"
			if err := New(conn, cfg).Serve(); err != nil {
				end = err.Error()
			}
			if end != c.end {
				t.Errorf("ended with %q, want %q", end, c.end)
			}
			want := c.replies
			if strings.HasPrefix(c.end, "E_") {
				want = append(want, c.end)
			}
			for _, reply := range want {
				got, err := lookupwire.ReadReply(&conn.out, nil, 1<<20)
				if err != nil || string(got) != reply {
					t.Fatalf("reply %q %v, want %q", got, err, reply)
				}
			}
			if conn.out.Len() > 0 || !conn.closed || len(cfg.Registry.Records()) != 0 {
				t.Errorf("%d bytes more, closed %v, %d records left", conn.out.Len(), conn.closed, len(cfg.Registry.Records()))
			}
		})
	}
}

// The cause is told to the daemon even when the broker cannot be told.
func TestRefusalIsReturnedWhenItCannotBeSent(t *testing.T) {
	broken := errors.New("broken pipe")
	conn := &script{in: strings.NewReader("  V1INVALID_COMMAND\n"), fails: broken}
	err := New(conn, newConfig()).Serve()
	var refusal *lookupwire.Error
	if !errors.As(err, &refusal) || refusal.Error() != "E_INVALID invalid command INVALID_COMMAND" {
		t.Fatal(err)
	}
}

func TestRepliesToABatchLeaveInOneWrite(t *testing.T) {
	conn := &script{in: strings.NewReader("  V1" + identify + strings.Repeat("REGISTER t c\n", 50))}
	if err := New(conn, newConfig()).Serve(); err != nil || conn.writes > 2 {
		t.Errorf("%d writes, %v", conn.writes, err)
	}
}

func TestSilenceEndsTheConnection(t *testing.T) {
	for _, c := range []struct {
		name, sent string
		after      time.Duration
	}{
		{"from the start", "", MagicTimeout},
		{"in the magic", "  V", MagicTimeout},
		{"after the magic", "  V1", 10 * time.Minute},
		{"in a line", "  V1PI", 10 * time.Minute},
		{"in a body", "  V1IDENTIFY\n\x00\x00\x00\x05{", 10 * time.Minute},
		{"after identify", "  V1" + identify, 10 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				go io.Copy(io.Discard, theirs)
				ended := make(chan error)
				start := time.Now()
				go func() { ended <- New(ours, newConfig()).Serve() }()
				if _, err := io.WriteString(theirs, c.sent); err != nil {
					t.Fatal(err)
				}
				if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("ended with %v", err)
				}
				if took := time.Since(start); took != c.after {
					t.Errorf("ended after %v, want %v", took, c.after)
				}
			})
		})
	}
}

func TestPingsKeepTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		cfg := newConfig()
		go New(ours, cfg).Serve()
		go io.WriteString(theirs, "  V1"+identify)
		for i := range 200 {
			if _, err := lookupwire.ReadReply(theirs, nil, 1<<10); err != nil {
				t.Fatalf("after %d pings: %v", i, err)
			}
			time.Sleep(15 * time.Second) // of the bubble
			if len(cfg.Registry.Nodes(time.Now())) != 1 {
				t.Fatalf("not told after %d pings", i)
			}
			go theirs.Write(lookupwire.AppendPing(nil))
		}
		theirs.Close()
		synctest.Wait()
		if len(cfg.Registry.Nodes(time.Now())) != 0 {
			t.Error("told after it left")
		}
	})
}

// Any input ends the session without a panic, and nothing of it stays.
func FuzzSession(f *testing.F) {
	f.Add([]byte("  V1" + identify + "REGISTER t c\nUNREGISTER t\nPING\n"))
	f.Add([]byte("  V1IDENTIFY\n\xff\xff\xff\xff"))
	f.Add([]byte("  V1IDENTIFY\n\x00\x00\x00\x00\nPING\n"))
	f.Fuzz(func(t *testing.T, input []byte) {
		cfg := newConfig()
		conn := &script{in: bytes.NewReader(input)}
		_ = New(conn, cfg).Serve()
		if n := len(cfg.Registry.Records()); n != 0 || !conn.closed {
			t.Fatalf("%q left %d records, closed %v", input, n, conn.closed)
		}
	})
}

// script is a connection on which everything has been said already.
type script struct {
	in     io.Reader
	out    bytes.Buffer
	writes int
	fails  error
	closed bool
}

func (s *script) Read(p []byte) (int, error) { return s.in.Read(p) }

func (s *script) Write(p []byte) (int, error) {
	if s.fails != nil {
		return 0, s.fails
	}
	s.writes++
	return s.out.Write(p)
}

func (s *script) Close() error                     { s.closed = true; return nil }
func (s *script) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(1, 2, 3, 4), Port: 5} }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }
