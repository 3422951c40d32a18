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
