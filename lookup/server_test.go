package lookup

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/cmd/leaktest"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/lookupwire"
)

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		runChild()
		return
	}
	leaktest.Main(m)
}

// A broker registers over a socket, consumers ask over HTTP, the broker goes.
func TestBrokerIsFoundWhileItIsConnected(t *testing.T) {
	s := start(t)
	client := httpapi.NewHTTPClient(httpapi.ClientConfig{})
	defer client.Close()
	url := "http://" + s.HTTPAddr().String()
	ask := func(uri string, v any) {
		t.Helper()
		if err := client.Get(t.Context(), url+uri, v); err != nil {
			t.Fatal(err)
		}
	}
	var topics httpapi.Topics
	if ask("/topics", &topics); topics.Topics == nil || len(topics.Topics) != 0 {
		t.Errorf("at the start: %v", topics)
	}
	p := s.dial(t)
	identity := p.identify(info("broker.test"))
	want := lookupwire.LookupInfo{
		BroadcastAddress: "lookup.test", Hostname: hostname(), Version: "1.3.0",
		TCPPort: s.TCPAddr().(*net.TCPAddr).Port, HTTPPort: s.HTTPAddr().(*net.TCPAddr).Port,
	}
	if identity != want {
		t.Errorf("identity %+v, want %+v", identity, want)
	}
	p.say("REGISTER t channel1")
	p.say("PING")
	ask("/topics", &topics)
	var nodes httpapi.Nodes
	ask("/nodes", &nodes)
	var found httpapi.Lookup
	ask("/lookup?topic=t", &found)
	producer := httpapi.Producer{
		RemoteAddress: p.conn.LocalAddr().String(), Hostname: "h", BroadcastAddress: "broker.test", TCPPort: 4150, HTTPPort: 4151,
		Version: "fake-version", TopologyZone: "z", TopologyRegion: "r",
	}
	if got := (httpapi.Lookup{Channels: []string{"channel1"}, Producers: []httpapi.Producer{producer}}); !reflect.DeepEqual(found, got) {
		t.Errorf("lookup: %+v, want %+v", found, got)
	}
	if node := (httpapi.Node{Producer: producer, Topics: []string{"t"}, Tombstones: []bool{false}}); len(topics.Topics) != 1 ||
		!reflect.DeepEqual(nodes.Producers, []httpapi.Node{node}) {
		t.Errorf("topics %v, nodes %+v", topics, nodes)
	}
	p.conn.Close()
	for len(found.Producers) > 0 { // until the lookup has noticed; the test's own deadline ends it otherwise
		ask("/lookup?topic=t", &found)
	}
	if len(found.Channels) != 1 {
		t.Errorf("after the broker left: %+v", found)
	}
}

// Every refusal arrives, though it is followed by the end of a connection on which more was sent than was read.
func TestRefusalArrivesBeforeTheEnd(t *testing.T) {
	s := start(t)
	for what, want := range map[string]string{
		lookupwire.Magic + "INVALID_COMMAND\n" + strings.Repeat("x", 20000):            "E_INVALID invalid command INVALID_COMMAND",
		lookupwire.Magic + "IDENTIFY\n\xff\xff\xff\xff" + strings.Repeat("x", 20000):   "E_BAD_BODY IDENTIFY invalid body size -1",
		lookupwire.Magic + "IDENTIFY\n\x7f\xff\xff\xff" + strings.Repeat("x", 20000):   "E_BAD_BODY IDENTIFY body too big 2147483647 > 16384",
		"  V2" + strings.Repeat("x", 20000):                                            "E_BAD_PROTOCOL",
		lookupwire.Magic + strings.Repeat("x", 20000):                                  "E_INVALID command line longer than 1024 bytes",
		lookupwire.Magic + "REGISTER t\n" + strings.Repeat("PING\n", 2000):             "E_INVALID client must IDENTIFY",
		lookupwire.Magic + "IDENTIFY\n\x00\x00\x00\x02{}" + strings.Repeat("x", 20000): "E_BAD_BODY IDENTIFY missing fields",
	} {
		conn, err := net.Dial("tcp", s.TCPAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, what); err != nil {
			t.Errorf("send %.30q: %v", what, err)
		}
		got, err := lookupwire.ReadReply(conn, nil, 1<<20)
		if err != nil || string(got) != want {
			t.Errorf("%.30q: %q %v", what, got, err)
		}
		if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("%.30q: %d bytes and %v after the refusal", what, n, err)
		}
		conn.Close()
	}
	s.dial(t).say("PING")
}

func TestUnregisteredChannelIsStillListed(t *testing.T) {
	s := start(t)
	p := s.dial(t)
	p.identify(info("a"))
	p.say("REGISTER t ch1")
	p.say("UNREGISTER t ch1")
	var found httpapi.Lookup
	s.get(t, "/lookup?topic=t", &found)
	if len(found.Channels) != 1 || len(found.Producers) != 1 {
		t.Errorf("%+v", found)
	}
}

func TestShutdownEndsEverything(t *testing.T) {
	s := newServer(t, testOptions())
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	var peers []*peer
	for i := range 20 {
		p := s.dial(t)
		if i%2 == 0 {
			p.identify(info(fmt.Sprint("b", i)))
		}
		peers = append(peers, p)
	}
	peers[0].say("PING")
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, p := range peers {
		if _, err := p.in.ReadByte(); err == nil {
			t.Error("a connection is open")
		}
	}
	for _, addr := range []net.Addr{s.TCPAddr(), s.HTTPAddr()} {
		if conn, err := net.Dial("tcp", addr.String()); err == nil {
			conn.Close()
			t.Errorf("%v still listens", addr)
		}
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("again: %v", err)
	}
	select {
	case err := <-s.Failed():
		t.Errorf("shutdown taken for a failure: %v", err)
	default:
	}
}

func TestShutdownWithoutStart(t *testing.T) {
	if err := newServer(t, testOptions()).Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestStartFailsOnABusyPort(t *testing.T) {
	s := start(t)
	opts := testOptions()
	opts.HTTPAddress = s.HTTPAddr().String()
	if err := newServer(t, opts).Start(t.Context()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("HTTP: %v", err)
	}
	opts.TCPAddress = s.TCPAddr().String()
	if err := newServer(t, opts).Start(t.Context()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("TCP: %v", err)
	}
}

// A process without a free file descriptor waits and goes on; it neither spins nor gives up.
func TestAcceptGoesOnAfterErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, testOptions())
		ours, theirs := net.Pipe()
		l := &brokenListener{fails: 12, conn: ours, closed: make(chan struct{})}
		s.tcpListener = l
		began := time.Now()
		s.goroutines.Go(s.accept)
		p := newPeer(t, theirs)
		p.say("PING")
		if waited := time.Since(began); waited < 3*time.Second || waited > 10*time.Second {
			t.Errorf("12 failures took %v", waited)
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

type brokenListener struct {
	net.Listener
	fails  int
	conn   net.Conn
	closed chan struct{}
}

func (l *brokenListener) Accept() (net.Conn, error) {
	if l.fails--; l.fails >= 0 {
		return nil, syscall.EMFILE
	}
	if conn := l.conn; conn != nil {
		l.conn = nil
		return conn, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *brokenListener) Close() error { close(l.closed); return nil }

func TestOptionsAreChecked(t *testing.T) {
	if err := DefaultOptions().Validate(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*Options){
		`--tcp-address must be host:port, not "nowhere"`:                    func(o *Options) { o.TCPAddress = "nowhere" },
		`--http-address must be host:port, not ""`:                          func(o *Options) { o.HTTPAddress = "" },
		`--https-address must be host:port, not "4"`:                        func(o *Options) { o.HTTPSAddress = "4" },
		`--broadcast-address must be a host name or an IP address, not ""`:  func(o *Options) { o.BroadcastAddress = "" },
		`--broadcast-address must be a host name or an IP address, not " "`: func(o *Options) { o.BroadcastAddress = " " },
		`--inactive-producer-timeout must be more than 0, not 0s`:           func(o *Options) { o.InactiveProducerTimeout = 0 },
		`--tombstone-lifetime must be 0 or more, not -1ns`:                  func(o *Options) { o.TombstoneLifetime = -1 },
		`--forget-topics-after must be 0 or more, not -1ns`:                 func(o *Options) { o.ForgetTopicsAfter = -1 },
		`--log-level must be`:                                               func(o *Options) { o.LogLevel = "loud" },
		`--log-format must be text or json, not "xml"`:                      func(o *Options) { o.LogFormat = "xml" },
		`--token-file: token file: open none: no such file or directory`:    func(o *Options) { o.TokenFile = "none" },
	} {
		opts := DefaultOptions()
		spoil(&opts)
		if _, err := New(opts, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
