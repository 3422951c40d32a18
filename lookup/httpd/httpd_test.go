package httpd

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"brokerd/lookup/registry"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/lookupwire"
	"brokerd/protocol/release"
)

func newAPI() (*registry.Registry, http.Handler) {
	reg := registry.New(registry.Config{InactiveTimeout: time.Hour, TombstoneLifetime: time.Minute}, time.Now())
	return reg, New(Config{Registry: reg, Version: "1.3.0", Metrics: http.NotFoundHandler(), Log: slog.New(slog.DiscardHandler), Door: httpapi.Door{Insecure: true}})
}

func ask(h http.Handler, method, uri string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, uri, nil))
	return w
}

func join(reg *registry.Registry, remote, host string) *registry.Peer {
	p, err := reg.Join(remote, lookupwire.PeerInfo{
		Version: "1.3.0", TCPPort: 4150, HTTPPort: 4151, Hostname: "host-" + host, BroadcastAddress: host, TopologyZone: "z", TopologyRegion: "r",
	}, time.Now())
	if err != nil {
		panic(err) // there is no limit in these tests
	}
	return p
}

// Each request in turn on one registry: status and body, byte for byte.
func TestRequests(t *testing.T) {
	reg, h := newAPI()
	p := join(reg, "1.2.3.4:5", "b")
	reg.Register(p, "t", "c2", time.Now())
	reg.Register(p, "t", "c1", time.Now())
	reg.Register(p, "s", "", time.Now())
	const peer = `"remote_address":"1.2.3.4:5","hostname":"host-b","broadcast_address":"b","tcp_port":4150,"http_port":4151,` +
		`"version":"1.3.0","topology_zone":"z","topology_region":"r"`
	build, err := json.Marshal(release.This())
	if err != nil {
		t.Fatal(err)
	}
	message := func(text string) string { return `{"message":"` + text + `"}` }
	for _, c := range []struct {
		method, uri string
		status      int
		body        string
	}{
		{"GET", "/ping", 200, "OK"},
		{"GET", "/info", 200, `{"version":"1.3.0","release":` + string(build) + `}`},
		{"GET", "/topics", 200, `{"topics":["s","t"]}`},
		{"GET", "/channels?topic=t", 200, `{"channels":["c1","c2"]}`},
		{"GET", "/channels?topic=s", 200, `{"channels":[]}`},
		{"GET", "/channels?topic=unknown", 200, `{"channels":[]}`},
		{"GET", "/channels?topic=*", 200, `{"channels":[]}`},
		{"GET", "/channels?topic=", 200, `{"channels":[]}`},
		{"GET", "/channels", 400, message("MISSING_ARG_TOPIC")},
		{"GET", "/channels?topic=%zz", 400, message("INVALID_REQUEST")},
		{"GET", "/lookup?topic=t", 200, `{"channels":["c1","c2"],"producers":[{` + peer + `}]}`},
		{"GET", "/lookup?topic=t&topic=unknown", 200, `{"channels":["c1","c2"],"producers":[{` + peer + `}]}`},
		{"GET", "/lookup?topic=unknown", 404, message("TOPIC_NOT_FOUND")},
		{"GET", "/lookup?topic=*", 404, message("TOPIC_NOT_FOUND")},
		{"GET", "/lookup?topic=", 404, message("TOPIC_NOT_FOUND")},
		{"GET", "/lookup", 400, message("MISSING_ARG_TOPIC")},
		{"GET", "/lookup?topic=t;s", 400, message("INVALID_REQUEST")},
		{"GET", "/nodes", 200, `{"producers":[{` + peer + `,"tombstones":[false,false],"topics":["s","t"]}]}`},

		{"POST", "/topic/create", 400, message("MISSING_ARG_TOPIC")},
		{"POST", "/topic/create?topic=", 400, message("INVALID_ARG_TOPIC")},
		{"POST", "/topic/create?topic=sampletopicA$", 400, message("INVALID_ARG_TOPIC")},
		{"POST", "/topic/create?topic=*", 400, message("INVALID_ARG_TOPIC")},
		{"POST", "/topic/create?topic=made", 200, ""},
		{"GET", "/lookup?topic=made", 200, `{"channels":[],"producers":[]}`},

		{"POST", "/channel/create", 400, message("MISSING_ARG_TOPIC")},
		{"POST", "/channel/create?topic=made$", 400, message("INVALID_ARG_TOPIC")},
		{"POST", "/channel/create?topic=made", 400, message("MISSING_ARG_CHANNEL")},
		{"POST", "/channel/create?topic=made&channel=c$", 400, message("INVALID_ARG_CHANNEL")},
		{"POST", "/channel/create?topic=made&channel=c%23ephemeral", 200, ""},
		{"POST", "/channel/create?topic=too&channel=c", 200, ""},
		{"GET", "/channels?topic=made", 200, `{"channels":["c#ephemeral"]}`},
		{"GET", "/topics", 200, `{"topics":["made","s","t","too"]}`},

		{"POST", "/channel/delete", 400, message("MISSING_ARG_TOPIC")},
		{"POST", "/channel/delete?topic=made$", 400, message("INVALID_ARG_TOPIC")},
		{"POST", "/channel/delete?topic=made", 400, message("MISSING_ARG_CHANNEL")},
		{"POST", "/channel/delete?topic=made&channel=c$", 400, message("INVALID_ARG_CHANNEL")},
		{"POST", "/channel/delete?topic=made&channel=*", 400, message("INVALID_ARG_CHANNEL")},
		{"POST", "/channel/delete?topic=made&channel=unknown", 404, message("CHANNEL_NOT_FOUND")},
		{"POST", "/channel/delete?topic=unknown&channel=c", 404, message("CHANNEL_NOT_FOUND")},
		{"POST", "/channel/delete?topic=too&channel=c", 200, ""},
		{"GET", "/lookup?topic=too", 200, `{"channels":[],"producers":[]}`},

		{"POST", "/topic/tombstone", 400, message("MISSING_ARG_TOPIC")},
		{"POST", "/topic/tombstone?topic=t", 400, message("MISSING_ARG_NODE")},
		{"POST", "/topic/tombstone?topic=*&node=b:4151", 200, ""},
		{"POST", "/topic/tombstone?topic=t&node=unknown:1", 200, ""},
		{"GET", "/lookup?topic=t", 200, `{"channels":["c1","c2"],"producers":[{` + peer + `}]}`},
		{"POST", "/topic/tombstone?topic=t&node=b:4151", 200, ""},
		{"GET", "/lookup?topic=t", 200, `{"channels":["c1","c2"],"producers":[]}`},
		{"GET", "/nodes", 200, `{"producers":[{` + peer + `,"tombstones":[false,true],"topics":["s","t"]}]}`},

		{"POST", "/topic/delete", 400, message("MISSING_ARG_TOPIC")},
		{"POST", "/topic/delete?topic=*", 200, ""},
		{"POST", "/topic/delete?topic=unknown", 200, ""},
		{"GET", "/topics", 200, `{"topics":["made","s","t","too"]}`},
		{"POST", "/topic/delete?topic=made", 200, ""},
		{"POST", "/topic/delete?topic=t", 200, ""},
		{"GET", "/topics", 200, `{"topics":["s","too"]}`},

		{"GET", "/nothing", 404, message("NOT_FOUND")},
		{"GET", "/topic/delete?topic=s", 405, message("METHOD_NOT_ALLOWED")},
		{"HEAD", "/ping", 405, message("METHOD_NOT_ALLOWED")},
	} {
		w := ask(h, c.method, c.uri)
		if w.Code != c.status || w.Body.String() != c.body {
			t.Errorf("%s %s: %d %s\nwant %d %s", c.method, c.uri, w.Code, w.Body, c.status, c.body)
		}
		json := strings.HasPrefix(c.body, "{")
		if got := w.Header().Get("Content-Type") == "application/json; charset=utf-8"; got != json {
			t.Errorf("%s %s: content type %q", c.method, c.uri, w.Header().Get("Content-Type"))
		}
		if got := w.Header().Get("X-NSQ-Content-Type") == "nsq; version=1.0"; got != (c.body != "OK") {
			t.Errorf("%s %s: NSQ's header %q", c.method, c.uri, w.Header().Get("X-NSQ-Content-Type"))
		}
	}
}

func TestRouting(t *testing.T) {
	_, h := newAPI()
	for _, c := range []struct {
		method, uri string
		status      int
		header      string
		want        string
	}{
		{"GET", "/Lookup/?topic=t", 301, "Location", "/lookup?topic=t"},
		{"GET", "/topics/", 301, "Location", "/topics"},
		{"POST", "//topic/create?topic=t", 307, "Location", "/topic/create?topic=t"},
		{"GET", "/topic/create", 405, "Allow", "OPTIONS, POST"},
		{"OPTIONS", "/lookup", 200, "Allow", "GET, OPTIONS"},
		{"GET", "/debug/pprof/cmdline", 200, "X-Content-Type-Options", "nosniff"},
	} {
		w := ask(h, c.method, c.uri)
		if w.Code != c.status || w.Header().Get(c.header) != c.want {
			t.Errorf("%s %s: %d, %s %q", c.method, c.uri, w.Code, c.header, w.Header().Get(c.header))
		}
	}
}

func TestProfiles(t *testing.T) {
	_, h := newAPI()
	server := httptest.NewServer(h) // profiles set deadlines, which only a real connection has
	defer server.Close()
	for _, profile := range []string{"heap?debug=1", "goroutine?debug=1", "block?debug=1", "threadcreate?debug=1", "symbol"} {
		resp, err := server.Client().Get(server.URL + "/debug/pprof/" + profile)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, resp.Body); resp.StatusCode != 200 || n == 0 || err != nil {
			t.Errorf("%s: %d, %d bytes, %v", profile, resp.StatusCode, n, err)
		}
		resp.Body.Close()
	}
}

// A form in the body is not where arguments come from.
func TestBodyIsNotLookedAt(t *testing.T) {
	_, h := newAPI()
	req := httptest.NewRequest("POST", "/topic/create", strings.NewReader("topic=t"))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	if w.Code != 400 || w.Body.String() != `{"message":"MISSING_ARG_TOPIC"}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestDebugShowsRegistrations(t *testing.T) {
	reg, h := newAPI()
	now := time.Now()
	p := join(reg, "1.2.3.4:5", "b")
	reg.Register(p, "t", "c", now)
	reg.Tombstone("t", "b:4151", now.Add(time.Second))
	if err := reg.CreateTopic("empty", time.Now()); err != nil {
		t.Fatal(err)
	}
	var got map[string][]map[string]any
	body, _ := io.ReadAll(ask(h, "GET", "/debug").Body)
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 {
		t.Fatalf("keys: %s", body)
	}
	for key, tombstoned := range map[string]bool{"client::": false, "topic:t:": true, "channel:t:c": false} {
		if len(got[key]) != 1 || len(got[key][0]) != 11 {
			t.Fatalf("%s: %v", key, got[key])
		}
		rec := got[key][0]
		if rec["id"] != "1.2.3.4:5" || rec["tombstoned"] != tombstoned || rec["http_port"] != 4151.0 || rec["last_update"].(float64) < 1e18 {
			t.Errorf("%s: %v", key, rec)
		}
	}
	if !strings.Contains(string(body), `"tombstoned":false,"tombstoned_at":-6795364578871345152`) {
		t.Errorf("never tombstoned: %s", body)
	}
}
