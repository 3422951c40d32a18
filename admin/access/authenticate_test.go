package access

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"
)

func newGuard(t *testing.T, cfg Config) *Guard {
	t.Helper()
	cfg.Log, cfg.CookiePath, cfg.cost = slog.New(slog.DiscardHandler), "/", bcrypt.MinCost
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// withUsers is a Guard for alice, an operator, and bob, a viewer, each with his name twice as password.
func withUsers(t *testing.T) *Guard {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	text := "alice:" + hashOf(t, "alicealice") + ":operator\nbob:" + hashOf(t, "bobbob") + ":viewer\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g := newGuard(t, Config{UsersFile: path})
	decoy := []byte(hashOf(t, "decoy"))
	g.decoy = func() []byte { return decoy }
	return g
}

func request(method string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, "http://admin.example/api/topics", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func TestOpen(t *testing.T) {
	g := newGuard(t, Config{})
	if c, err := g.Who(request("GET")); g.Way() != Open || err != nil || c.Role() != Operator || c.Token != "" {
		t.Errorf("%v, %+v, %v", g.Way(), c, err)
	}
	if _, err := g.SignIn(httptest.NewRecorder(), request("POST"), "a", "b"); !errors.Is(err, ErrNoForm) {
		t.Errorf("signing in: %v", err)
	}
}

// TestProxy: the header says who it is, exactly, from peers that are believed.
func TestProxy(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} // httptest's requests are from 192.0.2.1
	for name, test := range map[string]struct {
		cfg  Config
		user string
		want Role
	}{
		"operator":                 {Config{}, "alice", Operator},
		"another case":             {Config{}, "Alice", Viewer},
		"nobody, as with nsqadmin": {Config{}, "", Viewer},
		"listed viewer":            {Config{Viewers: []string{"bob"}}, "bob", Viewer},
		"not listed":               {Config{Viewers: []string{"bob"}}, "carol", None},
		"nobody":                   {Config{Viewers: []string{"*"}}, "", None},
		"anybody":                  {Config{Viewers: []string{"*"}}, "carol", Viewer},
		"believed":                 {Config{Trusted: trusted}, "alice", Operator},
		"not believed":             {Config{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, "alice", Viewer},
	} {
		test.cfg.Operators, test.cfg.Header = []string{"alice"}, "X-Forwarded-User"
		g := newGuard(t, test.cfg)
		if c, err := g.Who(request("GET", "X-Forwarded-User", test.user)); err != nil || c.Role() != test.want || g.Way() != Proxy {
			t.Errorf("%s: %+v, %v, want %v", name, c, err, test.want)
		}
	}
}

// TestProxyThatIsSentTheHeaderItself: one that adds its own says two, and the first may be the client's.
func TestProxyThatIsSentTheHeaderItself(t *testing.T) {
	g := newGuard(t, Config{Operators: []string{"alice"}, Viewers: []string{"mallory"}, Header: "X-Forwarded-User"})
	r := request("GET")
	r.Header["X-Forwarded-User"] = []string{"alice", "mallory"}
	if c, err := g.Who(r); err != nil || c.User != "" || c.Role() != None {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestAnotherPasswordEndsSessions: who has taken a session, or a password, is out once it is changed, and so are roles that are none any more.
func TestAnotherPasswordEndsSessions(t *testing.T) {
	g := withUsers(t)
	path := g.now.Load().UsersFile
	w := httptest.NewRecorder()
	if _, err := g.SignIn(w, request("POST"), "alice", "alicealice"); err != nil {
		t.Fatal(err)
	}
	role := func() Role {
		t.Helper()
		g.now.Load().users.checked = time.Time{} // a second has passed
		r := request("GET")
		r.AddCookie(w.Result().Cookies()[0])
		c, err := g.Who(r)
		if err != nil {
			t.Fatal(err)
		}
		return c.Role()
	}
	if role() != Operator {
		t.Fatal("not signed in")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(text, []byte(":operator"), []byte(":viewer"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if role() != Viewer {
		t.Error("another role does not count, or ends the session")
	}
	if err := setUser(path, "alice", "another password", "operator", bcrypt.MinCost); err != nil {
		t.Fatal(err)
	}
	if got := role(); got != None {
		t.Errorf("with another password he is still signed in: %v", got)
	}
}

// TestSession: a right password gives a cookie that scripts cannot read, and a token without which nothing may be done; signing
// out ends both.
func TestSession(t *testing.T) {
	g := withUsers(t)
	if c, err := g.Who(request("GET")); err != nil || c.Role() != None {
		t.Fatalf("nobody is %+v, %v", c, err)
	}
	for _, wrong := range [][2]string{{"alice", "bobbob"}, {"nobody", "x"}, {"", ""}} {
		if _, err := g.SignIn(httptest.NewRecorder(), request("POST"), wrong[0], wrong[1]); !errors.Is(err, ErrBadCredentials) {
			t.Errorf("%v: %v", wrong, err)
		}
	}
	w := httptest.NewRecorder()
	c, err := g.SignIn(w, request("POST"), "alice", "alicealice")
	if err != nil || c.User != "alice" || c.Role() != Operator || c.Token == "" {
		t.Fatalf("%+v, %v", c, err)
	}
	cookie := w.Result().Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" || cookie.Secure {
		t.Errorf("cookie %+v", cookie)
	}
	mine := func(headers ...string) *http.Request {
		r := request("POST", headers...)
		r.AddCookie(cookie)
		return r
	}
	if again, err := g.Who(mine()); err != nil || !reflect.DeepEqual(again, c) {
		t.Errorf("with the cookie: %+v, %v", again, err)
	}
	if err := g.MayAct(mine(), c); !errors.Is(err, ErrToken) {
		t.Errorf("without the token: %v", err)
	}
	if err := g.MayAct(mine("X-CSRF-Token", c.Token), c); err != nil {
		t.Errorf("with the token: %v", err)
	}
	g.SignOut(httptest.NewRecorder(), mine())
	if c, err := g.Who(mine()); err != nil || c.Role() != None {
		t.Errorf("after signing out: %+v, %v", c, err)
	}
	secure := httptest.NewRecorder()
	if _, err := g.SignIn(secure, request("POST", "X-Forwarded-Proto", "https"), "bob", "bobbob"); err != nil || !secure.Result().Cookies()[0].Secure {
		t.Errorf("behind HTTPS: %v", err)
	}
}

// TestSessionsEnd: with time, and with the user.
func TestSessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := withUsers(t)
		signIn := func(name string) *http.Request {
			w := httptest.NewRecorder()
			if _, err := g.SignIn(w, request("POST"), name, name+name); err != nil {
				t.Fatal(err)
			}
			r := request("GET")
			r.AddCookie(w.Result().Cookies()[0])
			return r
		}
		alice, bob := signIn("alice"), signIn("bob")
		role := func(r *http.Request) Role {
			c, err := g.Who(r)
			if err != nil {
				t.Fatal(err)
			}
			return c.Role()
		}
		for range 3 { // each use makes it last
			time.Sleep(sessionLife - time.Minute)
			if role(alice) != Operator {
				t.Error("a session in use ended")
			}
		}
		if role(bob) != None {
			t.Error("a session that nobody used lasts")
		}
		if err := os.WriteFile(g.now.Load().users.path, []byte("bob:"+hashOf(t, "bobbob")), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(checkEvery)
		if role(alice) != None {
			t.Error("the session of a user who was taken out lasts")
		}
	})
}

// TestBasic: scripts sign in with each request.
func TestBasic(t *testing.T) {
	g := withUsers(t)
	r := request("POST")
	r.SetBasicAuth("alice", "alicealice")
	for range 3 {
		if c, err := g.Who(r); err != nil || c.Role() != Operator || g.MayAct(r, c) != nil {
			t.Errorf("%+v, %v", c, err)
		}
	}
	r.SetBasicAuth("alice", "wrong")
	if c, err := g.Who(r); !errors.Is(err, ErrBadCredentials) || c.Role() != None {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestGuessing: after ten wrong tries an address has to wait, the user's other addresses do not, and a right password is not
// held against anybody.
func TestGuessing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := withUsers(t)
		try := func(from, name, password string) error {
			r := request("POST")
			r.RemoteAddr = from
			_, err := g.SignIn(httptest.NewRecorder(), r, name, password)
			return err
		}
		for range triesAtOnce + 2 {
			if err := try("192.0.2.1:1", "bob", "bobbob"); err != nil {
				t.Fatalf("a right password: %v", err)
			}
		}
		var many *TooMany
		for i := range 12 {
			err := try("192.0.2.1:1", "alice", "wrong")
			if refused := errors.As(err, &many); refused != (i >= triesAtOnce) {
				t.Errorf("try %d: %v", i, err)
			}
		}
		if many.RetryAfter <= 0 || many.RetryAfter > triesRefill {
			t.Errorf("wait %v", many.RetryAfter)
		}
		if err := try("192.0.2.1:2", "alice", "alicealice"); !errors.As(err, &many) {
			t.Errorf("from the same address at once: %v", err)
		}
		if err := try("192.0.2.2:1", "alice", "alicealice"); err != nil {
			t.Errorf("from another address: %v", err)
		}
		time.Sleep(triesRefill)
		if err := try("192.0.2.1:3", "alice", "alicealice"); err != nil {
			t.Errorf("after waiting: %v", err)
		}
	})
}

// TestGuessingFromManyAddresses: a user's password cannot be tried without end from everywhere.
func TestGuessingFromManyAddresses(t *testing.T) {
	tr := newTries()
	now, taken := time.Unix(1700000000, 0), 0
	for i := range 1000 {
		if tr.take(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), "alice", now) == 0 {
			taken++
		}
	}
	if taken < 95 || taken > 105 {
		t.Errorf("%d tries", taken)
	}
	for i := range 2 * maxTriesKept {
		tr.take(netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}), "x", now)
	}
	if len(tr.of) > maxTriesKept+2 {
		t.Errorf("%d are remembered", len(tr.of))
	}
	a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	if network(a) != network(b) || network(a) == network(netip.MustParseAddr("2001:db8:0:1::1")) {
		t.Error("a /64 does not count as one address")
	}
}
