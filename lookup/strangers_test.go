package lookup

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"brokerd/lookup/registry"
	"brokerd/protocol/grant"
	"brokerd/protocol/lookupwire"
)

func startWith(t testing.TB, change func(*Options)) *Server {
	t.Helper()
	opts := testOptions()
	change(&opts)
	s := newServer(t, opts)
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

// TestOneBrokerCannotFillALookup: what one connection registers ends at its limit, which it is told while its other topics stay; when it
// leaves its topics go, after the time that is set and at once when there is no room for others.
func TestOneBrokerCannotFillALookup(t *testing.T) {
	s := start(t)
	limit := registry.DefaultLimits().RecordsOfPeer
	p := s.dial(t)
	p.identify(info("flood.example"))
	go func() {
		var out []byte
		for i := range 2 * limit {
			out = lookupwire.AppendRegister(out, fmt.Sprintf("t%d", i), "")
			if len(out) > 1<<16 || i == 2*limit-1 {
				if _, err := p.conn.Write(out); err != nil {
					return
				}
				out = out[:0]
			}
		}
	}()
	full := 0
	for range 2 * limit {
		switch got := p.reply(); {
		case got == "OK":
		case got == "E_FULL REGISTER this broker has too many topics and channels registered":
			full++
		default:
			t.Fatal(got)
		}
	}
	if full != limit {
		t.Errorf("%d of %d were refused", full, 2*limit)
	}
	p.say("PING")
	q := s.dial(t)
	q.identify(info("good.example"))
	q.say("REGISTER mine c")
	if s.producers(t, "mine") != 1 || s.producers(t, "t0") != 1 {
		t.Error("who registers a few topics finds no room, or the others are gone")
	}
}

// TestBrokersThatDoNotExist: from one address no more register than there is room for.
func TestBrokersThatDoNotExist(t *testing.T) {
	r := registry.New(registry.Config{Limits: registry.Limits{Peers: 30, PeersOfHost: 10}}, time.Now())
	joined := map[string]int{}
	var last *registry.Peer
	for i := range 50 {
		for _, host := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"} {
			if p, err := r.Join(fmt.Sprintf("%s:%d", host, i), info(fmt.Sprintf("b%d.example", i)), time.Now()); err == nil {
				joined[host]++
				last = p
			}
		}
	}
	total := 0
	for host, n := range joined {
		total += n
		if n > 10 {
			t.Errorf("%d from %s", n, host)
		}
	}
	if total != 30 {
		t.Errorf("%d in all", total)
	}
	r.Leave(last, time.Now())
	if _, err := r.Join(last.RemoteAddress(), info("again.example"), time.Now()); err != nil {
		t.Error("who left makes no room:", err)
	}
}

// TestAddressesThatCannotBe are refused with E_BAD_BODY, and nobody is told of them.
func TestAddressesThatCannotBe(t *testing.T) {
	s := start(t)
	for field, change := range map[string]func(*lookupwire.PeerInfo){
		"broadcast_address must be a host name":  func(i *lookupwire.PeerInfo) { i.BroadcastAddress = "a host" },
		"broadcast_address must":                 func(i *lookupwire.PeerInfo) { i.BroadcastAddress = "<img src=x onerror=alert(1)>" },
		"broadcast_address":                      func(i *lookupwire.PeerInfo) { i.BroadcastAddress = "evil.example/path?x=" },
		"broadcast_address must be":              func(i *lookupwire.PeerInfo) { i.BroadcastAddress = "user@evil.example" },
		"broadcast_address must be a":            func(i *lookupwire.PeerInfo) { i.BroadcastAddress = "evil.example:80" },
		"broadcast_address must be a host":       func(i *lookupwire.PeerInfo) { i.BroadcastAddress = "[::1" },
		"broadcast_address must be a host name ": func(i *lookupwire.PeerInfo) { i.BroadcastAddress = strings.Repeat("a", 64) + ".example" },
		"tcp_port must be 1 to 65535":            func(i *lookupwire.PeerInfo) { i.TCPPort = 65536 },
		"http_port must be":                      func(i *lookupwire.PeerInfo) { i.HTTPPort = -2 },
		"hostname must be":                       func(i *lookupwire.PeerInfo) { i.Hostname = "a\x1b[2Jb" },
		"version must be":                        func(i *lookupwire.PeerInfo) { i.Version = strings.Repeat("1", 256) },
		"topology_zone must be":                  func(i *lookupwire.PeerInfo) { i.TopologyZone = "z\u202ez" },
	} {
		who := info("b.example")
		change(&who)
		p := s.dial(t)
		p.send(string(lookupwire.AppendIdentify(nil, who)))
		if got := p.reply(); !strings.HasPrefix(got, "E_BAD_BODY IDENTIFY "+field) {
			t.Errorf("%+v: %s", who, got)
		}
	}
	for _, host := range []string{"b", "b.example", "b.example.", "my_broker", "10.0.0.1", "::1", "fe80::1%eth0", "[::1]"} {
		s.dial(t).identify(info(host))
	}
	// A field that is no host name is not the only text that consumers are told: markup in others is a text.
	var nodes struct{ Producers []struct{ Hostname string } }
	if s.get(t, "/nodes", &nodes); len(nodes.Producers) != 8 {
		t.Errorf("%d brokers are told", len(nodes.Producers))
	}
}

// TestWhoMayRegister: networks and tokens, what each is told, and that a token's end takes its broker off.
func TestWhoMayRegister(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	manage, err := grant.ParseGrants([]string{"manage:orders.*"})
	if err != nil {
		t.Fatal(err)
	}
	token, err := grant.Add(path, "broker", manage, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	identify := func(s *Server, token string) (*peer, string) {
		p := s.dial(t)
		who := info("b.example")
		who.Token = token
		p.send(string(lookupwire.AppendIdentify(nil, who)))
		return p, p.reply()
	}
	for name, test := range map[string]struct {
		change func(*Options)
		token  string
		want   string // beginning of the answer
	}{
		"open":                            {func(*Options) {}, "", `{"broadcast_address"`},
		"from a network":                  {func(o *Options) { o.AllowedNodes = []string{"127.0.0.0/8"} }, "", `{"broadcast_address"`},
		"from an address":                 {func(o *Options) { o.AllowedNodes = []string{"127.0.0.1"} }, "", `{"broadcast_address"`},
		"from elsewhere":                  {func(o *Options) { o.AllowedNodes = []string{"10.0.0.0/8"} }, "", "E_UNAUTHORIZED IDENTIFY this lookup takes brokers of its networks only"},
		"without a token":                 {func(o *Options) { o.TokenFile = path }, "", "E_UNAUTHORIZED IDENTIFY anonymous has not scope manage"},
		"with a wrong token":              {func(o *Options) { o.TokenFile = path }, token[:len(token)-4] + "AAAA", "E_UNAUTHORIZED IDENTIFY the token is not known"},
		"with a token":                    {func(o *Options) { o.TokenFile = path }, token, `{"broadcast_address"`},
		"without, from a network":         {func(o *Options) { o.TokenFile, o.AllowedNodes = path, []string{"127.0.0.1/32"} }, "", `{"broadcast_address"`},
		"with a token, from elsewhere":    {func(o *Options) { o.TokenFile, o.AllowedNodes = path, []string{"10.0.0.0/8"} }, token, `{"broadcast_address"`},
		"without a token, from elsewhere": {func(o *Options) { o.TokenFile, o.AllowedNodes = path, []string{"10.0.0.0/8"} }, "", "E_UNAUTHORIZED"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, got := identify(startWith(t, test.change), test.token); !strings.HasPrefix(got, test.want) {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
	s := startWith(t, func(o *Options) { o.TokenFile = path })
	p, _ := identify(s, token)
	p.say("REGISTER orders.eu c")
	p.send("REGISTER other\n")
	if got := p.reply(); got != "E_UNAUTHORIZED REGISTER token broker has not scope manage on topic other" {
		t.Error(got)
	}
	p.say("PING")
	if code := s.get(t, "/lookup?topic=orders.eu", nil); code != 401 {
		t.Errorf("/lookup without a token: %d", code)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p.in.ReadByte(); err == nil { // it waits for the end
		t.Error("the connection goes on")
	}
}
