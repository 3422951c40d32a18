package httpd

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"brokerd/broker/topic"
	"brokerd/protocol/grant"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/prototest"
)

// TestEveryRouteHasARule: with a token file all routes need a scope but those that say whether the broker is there.
func TestEveryRouteHasARule(t *testing.T) {
	registry := topic.NewRegistry(topic.Config{MemQueueSize: 10})
	registry.Start()
	defer registry.Close()
	guard := &prototest.Guard{}
	router := newHandler(Config{Broker: &fakeBroker{registry: registry}, Log: slog.New(slog.DiscardHandler), MaxMsgSize: 100, MaxBodySize: 1000,
		Metrics: http.NotFoundHandler(), Door: httpapi.Door{Guard: guard}})
	prototest.CheckRules(t, guard, router, "GET /ping", "GET /ready")
}

// TestStatsShowWhatTheCallerMaySee: topics of others are not there, nor who publishes to them.
func TestStatsShowWhatTheCallerMaySee(t *testing.T) {
	registry := topic.NewRegistry(topic.Config{MemQueueSize: 10})
	registry.Start()
	defer registry.Close()
	for _, name := range []string{"mine", "theirs"} {
		if _, err := registry.Topic(name); err != nil {
			t.Fatal(err)
		}
	}
	guard := &prototest.Guard{}
	b := &fakeBroker{registry: registry}
	b.producers = []httpapi.Client{
		{ClientID: "both", PubCounts: []httpapi.PubCount{{Topic: "mine", Count: 1}, {Topic: "theirs", Count: 2}}},
		{ClientID: "other", PubCounts: []httpapi.PubCount{{Topic: "theirs", Count: 3}}},
	}
	router := newHandler(Config{Broker: b, Log: slog.New(slog.DiscardHandler), Door: httpapi.Door{Guard: guard}})
	for grants, want := range map[string][2]bool{"read:mine": {true, false}, "read:theirs": {false, true}, "read": {true, true}} {
		parsed, err := grant.ParseGrant(grants)
		if err != nil {
			t.Fatal(err)
		}
		guard.Now = &grant.Caller{Kind: grant.Token, Grants: grant.Grants{parsed}}
		for _, uri := range []string{"/stats?format=json", "/stats", "/stats?format=json&topic=theirs", "/stats?format=json&topic=mine"} {
			w := httptest.NewRecorder()
			router.ServeHTTP(w, httptest.NewRequest("GET", uri, nil))
			for i, name := range []string{"mine", "theirs"} {
				asked := !strings.Contains(uri, "topic=") || strings.HasSuffix(uri, "="+name)
				if got := strings.Contains(w.Body.String(), name); got != (want[i] && asked) {
					t.Errorf("%s of %s: %s is there: %v\n%s", uri, grants, name, got, w.Body)
				}
			}
			if got := strings.Contains(w.Body.String(), "other"); got && !want[1] {
				t.Errorf("%s of %s shows a producer of others", uri, grants)
			}
		}
	}
}

// TestAdministrationIsForThisMachine: without a token file nobody on another machine may change the daemon or the cluster. NSQ's own acts on topics
// and channels stay open, as scripts and nsqadmin do them from there.
func TestAdministrationIsForThisMachine(t *testing.T) {
	registry := topic.NewRegistry(topic.Config{MemQueueSize: 10})
	registry.Start()
	defer registry.Close()
	c := &fakeCluster{}
	router := newHandler(Config{Broker: &fakeBroker{registry: registry}, Cluster: c, Log: slog.New(slog.DiscardHandler), MaxMsgSize: 100, MaxBodySize: 1000})
	acts := 0
	for _, route := range router.Routes() {
		if route.Method == http.MethodGet || strings.HasPrefix(route.Path, "/debug/pprof") {
			continue
		}
		path := strings.NewReplacer(":opt", "log_level").Replace(route.Path)
		w := httptest.NewRecorder()
		router.ServeHTTP(w, httptest.NewRequest(route.Method, path+"?topic=t&channel=c&node=a&old=a&new=b&rate=0", nil)) // from 192.0.2.1
		refused := w.Code == http.StatusForbidden && strings.Contains(w.Body.String(), "LOCAL_ONLY")
		if admin := route.Rule.Scope() == grant.Admin; refused != admin {
			t.Errorf("%s %s answers another machine %d %s", route.Method, route.Path, w.Code, w.Body)
		} else if admin {
			acts++
		}
	}
	if acts < 9 || len(c.done) > 0 {
		t.Errorf("%d acts of administration were refused; done: %v", acts, c.done)
	}
}
