package httpd

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"brokerd/admin/access"
	"brokerd/protocol/grant"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/prototest"
)

// keys is a token file of a test with tokens by their grants.
type keys struct {
	t    *testing.T
	path string
	made map[string]string
}

func newKeys(t *testing.T) *keys {
	k := &keys{t, filepath.Join(t.TempDir(), "tokens"), map[string]string{}}
	if err := os.WriteFile(k.path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *keys) of(grants string) string {
	k.t.Helper()
	if token, ok := k.made[grants]; ok {
		return token
	}
	g, err := grant.ParseGrants(strings.Fields(grants))
	if err != nil {
		k.t.Fatal(err)
	}
	token, err := grant.Add(k.path, "t"+string(rune('a'+len(k.made))), g, time.Time{})
	if err != nil {
		k.t.Fatal(err)
	}
	k.made[grants] = token
	return token
}

func (k *keys) open() *grant.File {
	k.t.Helper()
	f, err := grant.Open(k.path)
	if err != nil {
		k.t.Fatal(err)
	}
	return f
}

// TestEveryRouteHasARule: with a token file all routes need a scope but those that tell whether admind is there, and what a page needs to sign in.
func TestEveryRouteHasARule(t *testing.T) {
	k := newKeys(t)
	k.of("read") // so that there is a file
	var a *api
	newFixture(t, func(c *Config) {
		c.Metrics = http.NotFoundHandler()
		c.Graphite = Graphite{Proxied: true, URL: &url.URL{Scheme: "http", Host: "127.0.0.1:1"}, Transport: http.DefaultTransport}
		stopped := make(chan struct{})
		close(stopped) // event streams end after the first event
		c.Stop = stopped
		a = &api{Config: *c}
	}, access.Config{Tokens: k.open()})
	var err error
	if a.assets, err = newAssets(a.UI, ""); err != nil {
		t.Fatal(err)
	}
	r := httpapi.NewRouter(a.Log, a.Door)
	a.pages(r)
	a.reads(r)
	a.deeds(r)
	var public []string
	for _, route := range r.Routes() {
		name := route.Method + " " + route.Path
		if p := route.Path; !strings.HasPrefix(p, "/api/") && !strings.HasPrefix(p, "/config") && p != "/metrics" && p != "/render" || strings.HasSuffix(name, " /api/session") {
			public = append(public, name)
		}
	}
	prototest.CheckRoutes(t, r.Routes(), func(method, path string, scopes ...string) int {
		req := httptest.NewRequest(method, path, nil)
		if len(scopes) > 0 {
			token := k.of(strings.Join(scopes, ","))
			apply, err := a.Guard.Prepare(access.Config{Tokens: k.open(), Log: a.Log})
			if err != nil {
				t.Fatal(err)
			}
			apply()
			req.Header.Set("Authorization", "Bearer "+token)
		}
		if strings.HasSuffix(path, "/api/session?topic=t&channel=c") && method == "POST" {
			return 200 // it is what signs in
		}
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		return w.Code
	}, public...)
}

// TestWhoSeesSomeTopics sees the cluster as if there were no others: in pages, streams, searches, histories and nsqadmin's answers.
func TestWhoSeesSomeTopics(t *testing.T) {
	k := newKeys(t)
	mine, all := k.of("read:t"), k.of("read")
	f := newFixture(t, nil, access.Config{Tokens: k.open()})
	f.eventually("the topics are there", func() bool {
		_, body := f.send("GET", "/api/view/lookups", "", "Authorization", "Bearer "+all)
		return strings.Contains(body, "idle")
	})
	for _, path := range []string{
		"/api/topics", "/api/topics?inactive=true", "/api/nodes", "/api/nodes/" + f.a.Address(), "/api/counter", "/api/search?q=", "/api/search?q=idle",
		"/api/view/overview", "/api/view/topics", "/api/view/nodes", "/api/view/lookups", "/api/view/consumers", "/api/view/node?node=" + f.a.Address(),
	} {
		resp, body := f.send("GET", path, "", "Authorization", "Bearer "+mine)
		if resp.StatusCode != 200 || strings.Contains(body, "idle") {
			t.Errorf("%s shows what is not to be seen: %d %s", path, resp.StatusCode, body)
		}
		if _, body := f.send("GET", path, "", "Authorization", "Bearer "+all); strings.Contains(path, "lookups") && !strings.Contains(body, "idle") {
			t.Errorf("%s hides from who may see all: %s", path, body)
		}
	}
	f.run([]step{
		{"GET /api/topics/t", "", 200, `"topic_name":"t"`},
		{"GET /api/topics/idle", "", 403, "FORBIDDEN"},
		{"GET /api/topics/idle/x", "", 403, "FORBIDDEN"},
		{"GET /api/view/topic?topic=t", "", 200, `"topic":"t"`},
		{"GET /api/view/topic?topic=idle", "", 404, "TOPIC_NOT_FOUND"},
		{"GET /api/view/overview", "", 200, `"topics":1`},
		{"GET /api/history?of=topic&topic=t", "", 200, `"of":"topic"`},
		{"GET /api/history/sparks?topic=idle&topic=t&metric=depth", "", 200, `"topics":{"t":`},
		{"GET /config", "", 403, "FORBIDDEN"},
		{"GET /api/nodes/" + f.a.Address() + "/settings", "", 403, "FORBIDDEN"},
		{"POST /api/topics/t", `{"action":"pause"}`, 403, "FORBIDDEN"},
	}, "Authorization", "Bearer "+mine)
	var history struct{ Series map[string][]*float64 }
	_, body := f.send("GET", "/api/history?of=total", "", "Authorization", "Bearer "+mine)
	if !strings.Contains(body, `"depth":[null`) {
		t.Errorf("the sum over all topics is told: %s %v", body[:min(200, len(body))], history)
	}
}

// TestWhoActsOnSomeTopics acts on those only; the others' acts are refused before any broker is asked, and written down.
func TestWhoActsOnSomeTopics(t *testing.T) {
	k := newKeys(t)
	mine := k.of("read,manage,publish:t")
	f := newFixture(t, nil, access.Config{Tokens: k.open()})
	as := []string{"Authorization", "Bearer " + mine}
	f.run([]step{
		{"POST /api/topics/t", `{"action":"pause"}`, 200, `"results"`},
		{"POST /api/publish", `{"topic":"t","body":"x"}`, 200, `"node"`},
		{"GET /api/session", "", 200, `"manages":["t"],"publishes":["t"],"sees":["t"],"reads":[],"runs":false`},
	}, as...)
	if told := len(f.a.Acts()) + len(f.b.Acts()); told == 0 {
		t.Error("no broker was told what was allowed")
	}
	f.run([]step{
		{"POST /api/topics/idle", `{"action":"pause"}`, 403, `{"message":"FORBIDDEN"}`},
		{"DELETE /api/topics/idle", ``, 403, `{"message":"FORBIDDEN"}`},
		{"DELETE /api/topics/idle/x", ``, 403, `{"message":"FORBIDDEN"}`},
		{"POST /api/topics", `{"topic":"other"}`, 403, `{"message":"FORBIDDEN"}`},
		{"POST /api/publish", `{"topic":"idle","body":"x"}`, 403, `{"message":"FORBIDDEN"}`},
		{"DELETE /api/nodes/" + f.a.Address(), `{"topic":"idle"}`, 403, `{"message":"FORBIDDEN"}`},
		{"POST /api/nodes/" + f.a.Address(), `{"action":"dismiss"}`, 403, `{"message":"FORBIDDEN"}`},
		{"PUT /config/log_level", `debug`, 403, `{"message":"FORBIDDEN"}`},
	}, as...)
	if told := append(f.a.Acts(), f.b.Acts()...); len(told) > 0 {
		t.Errorf("a broker was asked: %v", told)
	}
	if got := strings.Count(f.log.String(), "result=refused"); got != 8 {
		t.Errorf("%d refused acts are written down, want 8:\n%s", got, f.log)
	}
}
