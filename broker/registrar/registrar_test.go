package registrar

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/protocol/httpapi"
	"brokerd/protocol/lookupwire"
)

func TestRegistersAndFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, map[string]behaviour{"a:1": works}, "a:1")
		defer g.end()
		a := g.net["a:1"]
		g.world.set("orders", "mail", "archive")
		g.world.set("alone")
		g.world.set("brief#ephemeral", "c#ephemeral")
		g.Start()
		synctest.Wait()
		if a.identity != testInfo {
			t.Errorf("said to be %+v", a.identity)
		}
		const first = "REGISTER alone,REGISTER brief#ephemeral c#ephemeral,REGISTER orders archive,REGISTER orders mail"
		if got := a.commands(); got != first {
			t.Errorf("said %q, want %q", got, first)
		}
		for _, step := range []struct {
			change func()
			want   string // commands that follow
		}{
			{func() { g.world.set("orders", "mail") }, "UNREGISTER orders archive"},
			{func() { g.world.set("alone", "c") }, "REGISTER alone c"},
			{func() { g.world.set("alone") }, "UNREGISTER alone c"}, // the topic stays
			{func() { g.world.set("orders", "a", "b"); g.world.set("zeta") },
				"REGISTER orders a,REGISTER orders b,UNREGISTER orders mail,REGISTER zeta"},
			{func() { g.world.remove("orders") }, "UNREGISTER orders a,UNREGISTER orders b,UNREGISTER orders"},
			{func() { g.world.remove("alone"); g.world.set("alone") }, ""},
		} {
			before := a.commands()
			step.change()
			g.Changed()
			time.Sleep(100 * time.Millisecond) // virtual
			synctest.Wait()
			if got := strings.TrimPrefix(strings.TrimPrefix(a.commands(), before), ","); got != step.want {
				t.Errorf("said %q, want %q", got, step.want)
			}
		}
		if got := a.registered(); got != "alone,brief#ephemeral,brief#ephemeral c#ephemeral,zeta" {
			t.Errorf("registered in the end: %s", got)
		}
	})
}

// However bad some lookups are, Start, Changed and the good ones go on at once, and Close does not wait for them.
func TestBadLookupsDelayNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, map[string]behaviour{
			"dead:1": dead, "hole:1": blackHole, "silent:1": silent, "stops:1": stops, "refuses:1": refuses,
			"babbles:1": babbles, "boasts:1": boasts, "interrupts:1": interrupts, "good:1": works,
		}, "dead:1", "hole:1", "silent:1", "stops:1", "refuses:1", "babbles:1", "boasts:1", "interrupts:1", "good:1")
		defer g.end()
		began := time.Now()
		g.world.set("t", "c")
		g.Start()
		synctest.Wait()
		if got := g.net["good:1"].registered(); got != "t,t c" || time.Since(began) != 0 {
			t.Errorf("registered %q after %s", got, time.Since(began))
		}
		for i := range 20 {
			began := time.Now()
			g.world.set(fmt.Sprint("t", i))
			g.Changed()
			if time.Since(began) != 0 {
				t.Errorf("Changed took %s", time.Since(began))
			}
			time.Sleep(50 * time.Millisecond)
			synctest.Wait()
			if got := g.net["good:1"].registered(); !strings.Contains(got, fmt.Sprint("t", i)) {
				t.Errorf("not registered within 50 ms: %s", got)
			}
		}
		time.Sleep(2 * patience) // until those that cannot be dialled are complained of
		for text, want := range map[string]int{
			"E_BAD_BODY IDENTIFY missing fields": 1, "see --broadcast-address": 1, "connection refused": 1, "size of the reply out of range": 1,
			"decode the reply to IDENTIFY": 1,
		} {
			if n := g.log.count(text); n != want {
				t.Errorf("%q is logged %d times, want %d", text, n, want)
			}
		}
		for _, f := range g.net { // all come to their senses
			f.set(works)
		}
		time.Sleep(lastDelay + timeout)
		synctest.Wait()
		for address, f := range g.net {
			if f.registered() != g.net["good:1"].registered() {
				t.Errorf("%s knows %q", address, f.registered())
			}
		}
		g.net["hole:1"].set(blackHole)
		time.Sleep(200 * time.Millisecond)
		began = time.Now()
		g.Close()
		if time.Since(began) != 0 {
			t.Errorf("Close took %s", time.Since(began))
		}
	})
}

func TestLookupRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, map[string]behaviour{"a:1": works}, "a:1")
		defer g.end()
		a := g.net["a:1"]
		want := make([]string, 0, 1000)
		for i := range 500 { // more than a batch
			name := fmt.Sprintf("t%03d", i)
			g.world.set(name, "c")
			want = append(want, name, name+" c")
		}
		g.Start()
		for _, away := range []time.Duration{0, time.Minute} {
			time.Sleep(time.Minute)
			a.set(dead)
			time.Sleep(away)
			g.world.set("t000", "c") // no news
			a.set(works)
			time.Sleep(pingInterval)
			synctest.Wait()
			if got := a.registered(); got != strings.Join(want, ",") {
				t.Errorf("away for %s: %d names registered", away, strings.Count(got, ",")+1)
			}
		}
	})
}

func TestPingsAndBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, map[string]behaviour{"a:1": works, "dead:1": dead, "refuses:1": refuses}, "a:1", "dead:1", "refuses:1")
		defer g.end()
		g.Start()
		time.Sleep(10*time.Minute + time.Second)
		synctest.Wait()
		pings := g.net["a:1"].pings
		if len(pings) != 40 || pings[39].Sub(pings[38]) != pingInterval {
			t.Errorf("%d pings in ten minutes", len(pings))
		}
		for _, address := range []string{"dead:1", "refuses:1"} {
			dials := g.net[address].attempts()
			if len(dials) < 45 || len(dials) > 95 || dials[1].Sub(dials[0]) > firstDelay {
				t.Errorf("%s: %d attempts in ten minutes, the second after %s", address, len(dials), dials[1].Sub(dials[0]))
			}
			for i := range dials[1:] {
				if d := dials[i+1].Sub(dials[i]); d < firstDelay/2 || d > lastDelay {
					t.Errorf("%s: %s between two attempts", address, d)
				}
			}
		}
		if n := g.log.count("level=ERROR") + g.log.count("level=WARN"); n != 2 {
			t.Errorf("%d complaints, want one for each bad lookup", n)
		}
	})
}

// TestALookupThatStartsLaterIsNoComplaint: daemons are started together, and again after an upgrade. Only one that stays away is
// complained of, once, and so is the end of a connection.
func TestALookupThatStartsLaterIsNoComplaint(t *testing.T) {
	for _, c := range []struct {
		name   string
		before behaviour
		absent time.Duration
		want   int // complaints
	}{
		{"at once", works, 0, 0}, {"a moment later", dead, patience - 500*time.Millisecond, 0},
		{"unreachable instead of closed", blackHole, patience / 2, 0},
		{"too late", dead, patience + lastDelay, 1}, {"much too late", dead, 10 * time.Minute, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, map[string]behaviour{"a:1": c.before}, "a:1")
				defer g.end()
				g.world.set("t")
				g.Start()
				time.Sleep(c.absent)
				if c.before != works { // else it would end the connection that was just made
					g.net["a:1"].set(works)
				}
				time.Sleep(lastDelay)
				if n := g.log.count("level=WARN"); n != c.want || g.net["a:1"].registered() != "t" {
					t.Errorf("%d complaints, registered %q", n, g.net["a:1"].registered())
				}
				g.net["a:1"].set(dead)
				time.Sleep(patience - time.Second)
				g.net["a:1"].set(works)
				time.Sleep(lastDelay)
				if n := g.log.count("level=WARN"); n != c.want+1 || g.net["a:1"].registered() != "t" {
					t.Errorf("after a restart of the lookup: %d complaints, registered %q", n, g.net["a:1"].registered())
				}
			})
		})
	}
}

// A lookup that stops answering is noticed by the next PING.
func TestLookupHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, map[string]behaviour{"a:1": stops}, "a:1")
		defer g.end()
		g.Start()
		time.Sleep(pingInterval + timeout/2)
		g.net["a:1"].mu.Lock()
		g.net["a:1"].does = works
		g.net["a:1"].mu.Unlock()
		g.world.set("t")
		time.Sleep(timeout)
		synctest.Wait()
		if got := g.net["a:1"].registered(); got != "t" || g.log.count("no answer within 1s") != 1 {
			t.Errorf("registered %q", got)
		}
	})
}

// TestToldWaitsForLookupsThatAnswer: what has changed is known to all lookups that are connected when Told returns, and one that is
// gone or hangs is waited for no longer than was said.
func TestToldWaitsForLookupsThatAnswer(t *testing.T) {
	for _, c := range []struct {
		name  string
		bad   behaviour
		waits bool
	}{{"all well", works, false}, {"one gone", dead, false}, {"one refuses", refuses, false}, {"one hangs", stops, true}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, map[string]behaviour{"a:1": works, "b:1": works, "bad:1": c.bad}, "a:1", "bad:1", "b:1")
				defer g.end()
				g.Told(time.Hour) // before it is started nobody is waited for
				g.Start()
				time.Sleep(100 * time.Millisecond)
				for i := range 5 {
					name := fmt.Sprint("t", i)
					g.world.set(name)
					g.Changed()
					began := time.Now()
					g.Told(5 * time.Millisecond)
					took := time.Since(began)
					for _, address := range []string{"a:1", "b:1"} {
						if got := g.net[address].registered(); !strings.Contains(got, name) {
							t.Errorf("%s is not told of %s: %s", address, name, got)
						}
					}
					if took > 5*time.Millisecond || !c.waits && took > coalesce {
						t.Errorf("it took %s", took)
					}
				}
			})
		})
	}
}

func TestSetAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, map[string]behaviour{"a:1": works, "b:1": works, "c:1": works})
		defer g.end()
		g.world.set("t", "c")
		g.Start()
		for _, list := range [][]string{{"a:1"}, {"b:1", "c:1"}, {"c:1", "a:1", "c:1"}, {}, {"a:1"}} {
			if err := g.SetAddresses(list); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
			synctest.Wait()
			for address, f := range g.net {
				f.mu.Lock()
				live := 0
				for _, c := range f.conns {
					if c.SetDeadline(time.Time{}) == nil { // fails once either end is closed
						live++
					}
				}
				f.mu.Unlock()
				want := 0
				if slices.Contains(list, address) {
					want = 1
				}
				if live != want || want == 1 && f.registered() != "t,t c" {
					t.Errorf("%v: %s has %d connections and knows %q", list, address, live, f.registered())
				}
			}
			if got := g.Addresses(); !slices.Equal(got, dedup(list)) {
				t.Errorf("Addresses = %v after %v", got, list)
			}
		}
		if n := len(g.net["c:1"].attempts()); n != 1 {
			t.Errorf("a lookup in both lists was connected %d times", n)
		}
		for _, bad := range []string{"", "a", "a:", ":1", "a:x", "a:99999"} {
			if err := g.SetAddresses([]string{"b:1", bad}); err == nil || !slices.Equal(g.Addresses(), []string{"a:1"}) {
				t.Errorf("%q: %v, addresses %v", bad, err, g.Addresses())
			}
		}
		g.Close()
		if err := g.SetAddresses(nil); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func dedup(list []string) (out []string) {
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// The lookups left out of a new list see their connection end.
func TestRemovedLookupIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, map[string]behaviour{"a:1": works}, "a:1")
		defer g.end()
		g.Start()
		synctest.Wait()
		if err := g.SetAddresses(nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := g.net["a:1"].conns[0].Write([]byte("x")); err == nil {
			t.Error("the connection is still open")
		}
		time.Sleep(time.Hour)
		if n := len(g.net["a:1"].attempts()); n != 1 {
			t.Errorf("%d attempts", n)
		}
	})
}

// connectedTo returns a started Registrar whose lookups, on loopback, say that their HTTP is at the given servers.
func connectedTo(t *testing.T, log *logBuffer, servers ...*httptest.Server) *Registrar {
	t.Helper()
	g := newRig(t, nil)
	g.cfg.Logger = newLogger(log)
	var list []string
	for _, s := range servers {
		list = append(list, s.Listener.Addr().String()) // only a name here: Dial is replaced
	}
	g.cfg.Dial = func(_ context.Context, _, address string) (net.Conn, error) {
		if address == "127.0.0.1:1" {
			return nil, errors.New("refused")
		}
		addr, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			return nil, err
		}
		here, there := net.Pipe()
		go func() {
			defer there.Close()
			buf := make([]byte, 4096)
			if _, err := there.Read(buf); err != nil {
				return
			}
			there.Write(lookupwire.AppendIdentifyReply(nil, lookupwire.LookupInfo{BroadcastAddress: addr.IP.String(), HTTPPort: addr.Port}))
			there.Read(buf) // until the end
		}()
		return here, nil
	}
	if err := g.SetAddresses(list); err != nil {
		t.Fatal(err)
	}
	g.Start()
	t.Cleanup(func() {
		g.Close()
		g.cfg.HTTP().Close()
	})
	return g.Registrar
}

func channelServer(t *testing.T, status int, body string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/channels" || r.URL.Query().Get("topic") != "t#ephemeral" || r.Header.Get("Accept") != "application/vnd.nsq; version=1.0" {
			t.Errorf("asked %s %v", r.URL, r.Header)
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestChannels(t *testing.T) {
	one := func(t *testing.T) *httptest.Server {
		return channelServer(t, 200, `{"channels":["b","a","gone#ephemeral","not valid"]}`)
	}
	for name, c := range map[string]struct {
		servers func(t *testing.T) []*httptest.Server
		want    []string
		warn    string
	}{
		"union": {func(t *testing.T) []*httptest.Server {
			return []*httptest.Server{one(t), channelServer(t, 200, `{"channels":["c","a"]}`)}
		}, []string{"a", "b", "c"}, ""},
		"nothing known": {func(t *testing.T) []*httptest.Server {
			return []*httptest.Server{channelServer(t, 200, `{"channels":[]}`)}
		}, nil, ""},
		"one fails": {func(t *testing.T) []*httptest.Server {
			return []*httptest.Server{channelServer(t, 500, `{"message":"INTERNAL_ERROR"}`), one(t)}
		}, []string{"a", "b"}, "500 Internal Server Error"},
		"one is not JSON": {func(t *testing.T) []*httptest.Server {
			return []*httptest.Server{channelServer(t, 200, `<html>`), one(t)}
		}, []string{"a", "b"}, "decode the answer"},
		"one hangs": {func(t *testing.T) []*httptest.Server {
			release := make(chan struct{})
			s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
			t.Cleanup(func() { close(release); s.Close() })
			return []*httptest.Server{s, one(t)}
		}, []string{"a", "b"}, "exceeded"},
		"no lookups": {func(*testing.T) []*httptest.Server { return nil }, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var log logBuffer
			r := connectedTo(t, &log, c.servers(t)...)
			if alone := r.Alone(); alone != (name == "no lookups") {
				t.Errorf("Alone = %v", alone)
			}
			// Right after Start: the first attempts are waited for.
			if got := r.Channels(t.Context(), "t#ephemeral"); !slices.Equal(got, c.want) {
				t.Errorf("Channels = %q, want %q", got, c.want)
			}
			if n := log.count("level=WARN"); c.warn == "" && n != 0 || c.warn != "" && log.count(c.warn) != 1 {
				t.Errorf("log: %s", log.String())
			}
		})
	}
}

func TestChannelsWithoutAReachableLookup(t *testing.T) {
	var log logBuffer
	r := connectedTo(t, &log)
	if err := r.SetAddresses([]string{"127.0.0.1:1"}); err != nil {
		t.Fatal(err)
	}
	if got := r.Channels(t.Context(), "t"); got != nil || log.count("no lookup is reachable") != 1 {
		t.Errorf("Channels = %q, log %s", got, log.String())
	}
}

func TestChannelsBeforeStart(t *testing.T) {
	client := httpapi.NewHTTPClient(httpapi.ClientConfig{})
	r, err := New(Config{Addresses: []string{"127.0.0.1:1"}, HTTP: func() *httpapi.HTTPClient { return client }, Source: func() []Topic { return nil }, Info: func() Info { return testInfo }})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Channels(t.Context(), "t"); got != nil || !r.Alone() {
		t.Errorf("%q, alone %v", got, r.Alone())
	}
	r.Close()
}

func TestBroadcastAddress(t *testing.T) {
	for _, c := range []struct {
		address string
		ips     []string // nil: does not resolve
		lookup  string
		fault   string
	}{
		{"broker.example.com", []string{"192.0.2.7"}, "192.0.2.1:4160", ""},
		{"192.0.2.7", nil, "192.0.2.1:4160", ""},
		{"2001:db8::7", nil, "192.0.2.1:4160", ""},
		{"laptop", []string{"127.0.1.1", "192.0.2.7"}, "192.0.2.1:4160", ""},
		{"", nil, "192.0.2.1:4160", "it is empty"},
		{"myhost", nil, "192.0.2.1:4160", "does not resolve"},
		{"4f2a9c0d1e3b", []string{"172.17.0.2"}, "lookup:4160", "container"},
		{"0.0.0.0", nil, "192.0.2.1:4160", "no address of a host"},
		{"localhost", []string{"127.0.0.1", "::1"}, "192.0.2.1:4160", "loopback"},
		{"localhost", []string{"127.0.0.1", "::1"}, "127.0.0.1:4160", ""},
		{"127.0.0.1", nil, "localhost:4160", ""},
	} {
		var log logBuffer
		info := testInfo
		info.BroadcastAddress = c.address
		r, err := New(Config{
			Addresses: []string{c.lookup}, Source: func() []Topic { return nil }, Info: func() Info { return info }, Logger: newLogger(&log),
			Dial: func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() },
		})
		if err != nil {
			t.Fatal(err)
		}
		r.cfg.Resolve = func(context.Context, string) ([]string, error) {
			if c.ips == nil {
				return nil, errors.New("no such host")
			}
			return c.ips, nil
		}
		r.checkBroadcast(t.Context(), []string{c.lookup})
		if want := c.fault != ""; want != (log.count("set --broadcast-address") == 1) || log.count(c.fault) != log.count("level=WARN") {
			t.Errorf("%q: %s", c.address, log.String())
		}
		r.Close()
	}
}

// The warning comes once, also when lookups are only given later.
func TestBroadcastAddressIsWarnedAboutOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, map[string]behaviour{"a:1": works, "b:1": works})
		defer g.end()
		g.cfg.Info = func() Info { i := testInfo; i.BroadcastAddress = "nowhere"; return i }
		g.cfg.Resolve = func(ctx context.Context, _ string) ([]string, error) { <-ctx.Done(); return nil, ctx.Err() }
		g.Start()
		for _, list := range [][]string{{"a:1"}, {"b:1"}, {"a:1", "b:1"}} {
			if err := g.SetAddresses(list); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if n := g.log.count("set --broadcast-address"); n != 1 {
			t.Errorf("warned %d times", n)
		}
	})
}

// TestTokenIsNotShownInClearToALookupThatRefusesIt: one that takes TLS only says so before, one that takes plain text is shown it.
func TestTokenIsNotShownInClearToALookupThatRefusesIt(t *testing.T) {
	for _, refuses := range []bool{true, false} {
		here, there := net.Pipe()
		var heard bytes.Buffer
		var lookup sync.WaitGroup
		lookup.Go(func() {
			defer there.Close()
			in := bufio.NewReader(io.TeeReader(there, &heard))
			if _, err := in.ReadString('\n'); err != nil {
				t.Error(err)
			}
			if refuses {
				there.Write(lookupwire.AppendReply(nil, "E_UNAUTHORIZED this lookup speaks TLS only"))
				return
			}
			there.Write(lookupwire.AppendReply(nil, lookupwire.ReplyOK))
			head := make([]byte, len("IDENTIFY\n")+4)
			if _, err := io.ReadFull(in, head); err != nil {
				t.Error(err)
			}
			if _, err := io.CopyN(io.Discard, in, int64(binary.BigEndian.Uint32(head[len(head)-4:]))); err != nil {
				t.Error(err)
			}
			there.Write(lookupwire.AppendIdentifyReply(nil, lookupwire.LookupInfo{BroadcastAddress: "lookup", HTTPPort: 4161, TCPPort: 4160, Version: "1"}))
		})
		l := newLink(here, slog.New(slog.DiscardHandler))
		_, err := l.identify(Info{Token: "secret", BroadcastAddress: "b", TCPPort: 1, HTTPPort: 2, Version: "1"})
		l.close()
		lookup.Wait()
		if (err != nil) != refuses || strings.Contains(heard.String(), "secret") == refuses {
			t.Errorf("refuses %v: %v, heard %q", refuses, err, heard.String())
		}
	}
}
