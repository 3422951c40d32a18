package access

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"brokerd/protocol/grant"
)

// TestRolesByTopic: a role may be for some topics only, and several add up; what belongs to no topic is for operators of all.
func TestRolesByTopic(t *testing.T) {
	type may struct{ seeAll, act, run, onOrders, onOthers bool }
	for text, want := range map[string]may{
		"viewer":                              {seeAll: true},
		"operator":                            {seeAll: true, act: true, run: true, onOrders: true, onOthers: true},
		"operator=*":                          {seeAll: true, act: true, onOrders: true, onOthers: true},
		"operator=orders.*":                   {act: true, onOrders: true},
		"viewer=orders.*":                     {},
		"viewer,operator=orders.*":            {seeAll: true, act: true, onOrders: true},
		"operator=orders.*,operator=invoices": {act: true, onOrders: true, onOthers: true},
	} {
		g, err := ParseRoles(text)
		if err != nil {
			t.Fatal(err)
		}
		c := Caller{Grants: g}
		got := may{c.All(), c.Role() == Operator, g.Everywhere(grant.Admin), g.On(grant.Manage, "orders.eu"), g.On(grant.Consume, "invoices")}
		if got != want {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
	for _, text := range []string{"", "root", "viewer,", "operator=", "operator=[", "viewer;operator", "admin=x"} {
		if g, err := ParseRoles(text); err == nil {
			t.Errorf("%q was taken as %s", text, g)
		}
	}
	if name, g, err := ParseUserRole("cn=a:b:operator=x"); err != nil || name != "cn=a:b" || !g.On(grant.Manage, "x") {
		t.Errorf("%q %s %v", name, g, err)
	}
	for _, text := range []string{"alice", ":viewer", "alice:root"} {
		if _, _, err := ParseUserRole(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

// tokenFile has two tokens and lets anonymous see one topic.
func tokenFile(t *testing.T) (file *grant.File, path, reader, operator string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte("anonymous read:public\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	add := func(id, grants string) string {
		token, err := grant.Add(path, id, mustGrants(strings.Fields(grants)...), time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	reader, operator = add("prometheus", "read:orders.*"), add("ops", "admin")
	file, err := grant.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return file, path, reader, operator
}

// TestTokens: as Bearer, as the password of Basic and of the form; a wrong one is told; anonymous callers have what the file gives them; a
// session that a token has opened ends with it.
func TestTokens(t *testing.T) {
	file, path, reader, operator := tokenFile(t)
	g := newGuard(t, Config{Tokens: file})
	who := func(headers ...string) string {
		c, err := g.Who(request("GET", headers...))
		if err != nil {
			return err.Error()
		}
		return c.User + "|" + c.Grants.String()
	}
	basic := request("GET")
	basic.SetBasicAuth("x", reader)
	for _, test := range []struct{ got, want string }{
		{who(), "|read:public"},
		{who("Authorization", "Bearer "+reader), "token prometheus|read:orders.* read:public"},
		{who("Authorization", "bearer "+operator), "token ops|admin:* read:public"},
		{who("Authorization", "Bearer "+reader[:len(reader)-3]+"AAA"), "TOKEN_REFUSED"},
		{who("Authorization", basic.Header.Get("Authorization")), "token prometheus|read:orders.* read:public"},
	} {
		if !strings.HasPrefix(test.got, test.want) {
			t.Errorf("got %s, want %s", test.got, test.want)
		}
	}
	w := httptest.NewRecorder()
	c, err := g.SignIn(w, request("POST"), "whoever", operator)
	if err != nil || c.User != "token ops" || c.Role() != Operator || c.Token == "" {
		t.Fatalf("%+v, %v", c, err)
	}
	mine := request("POST")
	mine.AddCookie(w.Result().Cookies()[0])
	if c, err := g.Who(mine); err != nil || c.User != "token ops" || !errors.Is(g.MayAct(mine, c), ErrToken) {
		t.Errorf("%+v, %v", c, err)
	}
	if err := grant.Remove(path, "ops"); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Reload(); err != nil {
		t.Fatal(err)
	}
	if c, err := g.Who(mine); err != nil || c.Role() == Operator {
		t.Errorf("after the token was removed: %+v, %v", c, err)
	}
	if _, err := g.SignIn(httptest.NewRecorder(), request("POST"), "ops", operator); !errors.Is(err, ErrBadCredentials) {
		t.Errorf("signing in with a token that is gone: %v", err)
	}
}

// TestTokensBesideAProxy: who the proxy names has his roles, by --admin-user, --viewer-user and --user-role together, and callers with a token
// theirs.
func TestTokensBesideAProxy(t *testing.T) {
	file, _, reader, _ := tokenFile(t)
	g := newGuard(t, Config{Tokens: file, Header: "X-User", Operators: []string{"root"}, Viewers: []string{"bob"},
		Roles: map[string]grant.Grants{"alice": mustGrants("read,manage:orders.*"), "bob": mustGrants("manage:x")}})
	for user, want := range map[string]string{
		"root": "admin:*", "alice": "read,manage:orders.*", "bob": "manage:x read:*", "carol": "", "": "",
	} {
		c, err := g.Who(request("GET", "X-User", user))
		if got := c.Grants.String(); err != nil || got != strings.TrimSpace(want+" read:public") {
			t.Errorf("%q: %s %v, want %s", user, got, err, want)
		}
	}
	if c, err := g.Who(request("GET", "X-User", "root", "Authorization", "Bearer "+reader)); err != nil || c.User != "token prometheus" {
		t.Errorf("a token beside a name: %+v %v", c, err)
	}
}

// TestOtherRules: who is signed in stays so under new rules that know him by the same password, and has what they give him.
func TestOtherRules(t *testing.T) {
	g := withUsers(t)
	w := httptest.NewRecorder()
	if _, err := g.SignIn(w, request("POST"), "alice", "alicealice"); err != nil {
		t.Fatal(err)
	}
	mine := func() *http.Request {
		r := request("GET")
		r.AddCookie(w.Result().Cookies()[0])
		return r
	}
	other := filepath.Join(t.TempDir(), "users")
	u, _ := g.now.Load().users.find("alice", time.Now())
	if err := os.WriteFile(other, fmt.Appendf(nil, "alice:%s:operator=orders.*\n", u.Hash), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := g.now.Load().Config
	cfg.UsersFile = other + "nowhere"
	if _, err := g.Prepare(cfg); err == nil {
		t.Error("a file that is not there was taken")
	}
	cfg.UsersFile = other
	apply, err := g.Prepare(cfg)
	if err != nil {
		t.Fatal(err)
	}
	apply()
	if c, err := g.Who(mine()); err != nil || c.User != "alice" || c.All() || c.Role() != Operator {
		t.Errorf("%+v, %v", c, err)
	}
}
