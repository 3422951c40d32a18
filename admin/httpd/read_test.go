package httpd

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"brokerd/admin/access"
	"brokerd/admin/compat"
	"brokerd/admin/fakes"
	"brokerd/admin/views"
	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
)

func readAll(t *testing.T, resp *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestReading covers what nsqadmin's readers are answered.
func TestReading(t *testing.T) {
	f := newFixture(t, nil, access.Config{})
	a := f.a.Address()
	f.run([]step{
		{"GET /ping", "", 200, "OK"},
		{"GET /api/topics/t", "", 200, `{"node":"*","hostname":"","topic_name":"t","depth":3,"memory_depth":3,"backend_depth":0,"message_count":20,"nodes":[{"node":"` + a},
		{"GET /api/topics/idle", "", 200, `"topic_name":"idle","depth":0`},
		{"GET /api/topics/none", "", 404, `{"message":"TOPIC_NOT_FOUND"}`},
		{"GET /api/topics/t/c", "", 200, `"client_count":1,"nodes":[{"node":"` + a},
		{"GET /api/topics/t/none", "", 404, `{"message":"CHANNEL_NOT_FOUND"}`},
		{"GET /api/nodes", "", 200, `{"nodes":[{"remote_addresses":["` + f.lookup.Address() + `/`},
		{"GET /api/nodes/" + a, "", 200, `{"node":"` + a + `","topics":[{"node":"` + a + `","hostname":"a","topic_name":"t"`},
		{"GET /api/nodes/" + a, "", 200, `"total_messages":10,"total_clients":1,"message":""}`},
		{"GET /api/nodes/nobody:1", "", 404, `{"message":"NODE_NOT_FOUND"}`},
		{"GET /api/counter", "", 200, `"t:c:` + a + `":{"node":"` + a + `","topic_name":"t","channel_name":"c","message_count":10}`},
		{"GET /api/graphite", "", 400, `{"message":"INVALID_ARG_METRIC"}`},
		{"GET /api/graphite?metric=rate", "", 400, `{"message":"INVALID_ARG_TARGET"}`},
		{"GET /api/graphite?metric=rate&target=x", "", 404, `NO_GRAPHITE`},
		{"GET /api/none", "", 404, `{"message":"NOT_FOUND"}`},
		{"PUT /api/topics", "", 405, `{"message":"METHOD_NOT_ALLOWED"}`},
		{"GET /render", "", 404, `NOT_FOUND`},
	})
}

// TestHead: who may GET may HEAD, with the same status and no body; a stream of events ends at once.
func TestHead(t *testing.T) {
	f := newFixture(t, nil, access.Config{})
	for _, path := range []string{"/", "/ping", "/topics/t", "/api/topics", "/api/topics/t", "/api/topics/none", "/api/view/overview",
		"/api/view/none", "/api/history?of=total", "/config/log_level"} {
		want, _ := f.send("GET", path, "")
		got, body := f.send("HEAD", path, "")
		if got.StatusCode != want.StatusCode || body != "" || got.Header.Get("Content-Type") != want.Header.Get("Content-Type") {
			t.Errorf("HEAD %s: %d %q %q, GET: %d %q", path, got.StatusCode, got.Header.Get("Content-Type"), body, want.StatusCode, want.Header.Get("Content-Type"))
		}
	}
	if got, _ := f.send("HEAD", "/api/events?view=overview", ""); got.StatusCode != 200 || !strings.HasPrefix(got.Header.Get("Content-Type"), "text/event-stream") {
		t.Errorf("HEAD of a stream: %d %v", got.StatusCode, got.Header)
	}
	f.run([]step{{"HEAD /api/publish", "", 405, ""}})
}

// TestNamesThatAreSteps: . and .. are names, and no path of theirs is one that a browser asks for. A ~ before them helps.
func TestNamesThatAreSteps(t *testing.T) {
	f := newFixture(t, nil, access.Config{})
	f.a.Change(func(b *fakes.Broker) {
		b.Stats.Topics = append(b.Stats.Topics, httpapi.Topic{TopicName: ".", Depth: 7, Channels: []httpapi.Channel{{ChannelName: "..", Depth: 5}}})
	})
	f.lookup.Change(func(l *fakes.Lookup) { l.Nodes[0] = f.a.Node() })
	f.eventually("it is found, with the path of its page", func() bool {
		_, body := f.send("GET", "/api/search?q=..", "")
		return strings.Contains(body, `"path":"topics/~./~.."`)
	})
	f.run([]step{
		{"GET /topics/~./~..", "", 200, "<base href="},
		{"GET /api/topics/~.", "", 200, `"topic_name":".","depth":7`},
		{"GET /api/topics/~./~..", "", 200, `"channel_name":"..","depth":5`},
	})
	f.a.Acts()
	f.run([]step{{"POST /api/topics/~./~..", `{"action":"pause"}`, 200, `{"message":""`}})
	if acts := f.a.Acts(); !slices.Equal(acts, []string{"/channel/pause?topic=.&channel=.."}) {
		t.Errorf("acts %q", acts)
	}
}

// TestStaleAnswers: a broker that dies leaves its last figures, with a warning that names it; when nothing is known it is an error.
func TestStaleAnswers(t *testing.T) {
	f := newFixture(t, nil, access.Config{})
	f.b.Kill()
	f.eventually("b is stale", func() bool {
		var o views.Overview
		f.get("/api/view/overview", &o)
		return o.Totals.StaleNodes == 1
	})
	for _, path := range []string{"/api/topics/t", "/api/topics/t/c", "/api/nodes/" + f.b.Address(), "/api/counter"} {
		f.run([]step{{"GET " + path, "", 200, `"message":"WARNING: ` + f.b.Address() + `: `}})
	}
	var topic compat.Topic
	f.get("/api/topics/t", &topic)
	if topic.Depth != 3 {
		t.Errorf("depth %d", topic.Depth)
	}
	f.run([]step{
		{"GET /api/view/topic?topic=t", "", 200, `"warning":"node ` + f.b.Address() + ` does not answer: its figures are `},
		{"GET /api/view/overview", "", 200, `"kind":"node_stale","severity":"critical"`},
		{"GET /api/view/topics", "", 200, `"stale":true`},
	})
}

// TestViews covers the pages' bodies.
func TestViews(t *testing.T) {
	f := newFixture(t, nil, access.Config{})
	a, b := f.a.Address(), f.b.Address()
	var o views.Overview
	f.get("/api/view/overview", &o)
	if o.Totals.Topics != 2 || o.Totals.Channels != 1 || o.Totals.Nodes != 2 || o.Totals.Depth != 6 || o.Totals.Clients != 1 || o.Warning != "" ||
		len(o.Nodes) != 2 || o.Nodes[0].Kind != "brokerd" || o.Nodes[0].Disk.FreeBytes != 50 || o.Nodes[1].Kind != "nsqd" || o.Nodes[1].Disk != nil || len(o.Lookups) != 1 {
		t.Errorf("overview %+v", o)
	}
	var topic views.Topic
	f.get("/api/view/topic?topic=t", &topic)
	if topic.Total.Depth != 6 || topic.OwnDepth != 3 || topic.Durability != "disk" || len(topic.Nodes) != 2 || topic.Nodes[1].Durability != "" ||
		len(topic.Channels) != 1 || topic.Channels[0].Depth != 3 || len(topic.Producers) != 1 || topic.Producers[0].Hostname != "shop" || topic.Producers[0].Count != 3 {
		t.Errorf("topic %+v", topic)
	}
	var channel views.ChannelPage
	f.get("/api/view/channel?topic=t&channel=c", &channel)
	if channel.Total.Depth != 3 || len(channel.Nodes) != 2 || channel.Nodes[1].Node != b || channel.Nodes[1].Depth != 2 || len(channel.Clients) != 1 || channel.Clients[0].FinishCount != 7 {
		t.Errorf("channel %+v", channel)
	}
	var node views.NodePage
	f.get("/api/view/node?node="+a, &node)
	if node.Node.Node != a || node.Node.Producers != 1 || node.Node.SetAside != 2 || len(node.Topics) != 1 || node.Topics[0].Depth != 2 || len(node.Topics[0].ChannelRows) != 1 {
		t.Errorf("node %+v", node)
	}
	var consumers views.Consumers
	f.eventually("consumers were asked for", func() bool {
		consumers = views.Consumers{}
		f.get("/api/view/consumers", &consumers)
		return !consumers.Pending
	})
	if len(consumers.Clients) != 1 || consumers.Clients[0].Topic != "t" || consumers.Clients[0].Channel != "c" {
		t.Errorf("consumers %+v", consumers)
	}
	f.run([]step{
		{"GET /api/view/nodes", "", 200, `"nodes":[{"node":"` + a},
		{"GET /api/view/none", "", 404, "NOT_FOUND"},
		{"GET /api/view/topic?topic=none", "", 404, "TOPIC_NOT_FOUND"},
		{"GET /api/view/topic", "", 404, "TOPIC_NOT_FOUND"},
		{"GET /api/view/channel?topic=t&channel=none", "", 404, "CHANNEL_NOT_FOUND"},
		{"GET /api/view/node?node=none", "", 404, "NODE_NOT_FOUND"},
		{"GET /api/history?of=topic&topic=t&window=1h", "", 200, `"step_ms":30000,"points":120,"series":{"depth":[null,`},
		{"GET /api/history?of=everything", "", 400, "INVALID_ARG_OF"},
		{"GET /api/history?of=total&window=year", "", 400, "INVALID_ARG_WINDOW"},
		{"GET /api/history/sparks?metric=depth&topic=t&topic=none&points=2", "", 200, `"topics":{"none":[null,null],"t":[`}, // there may be points already
		{"GET /api/history/sparks?metric=none&topic=t", "", 400, "INVALID_ARG_METRIC"},
		{"GET /api/history/sparks?metric=depth" + strings.Repeat("&topic=t", mostSparks+1), "", 400, "INVALID_ARG_TOPIC"},
	})
}

// TestSettingsOfANode: as it tells them, null of an nsqd, and of one that does not answer the reason.
func TestSettingsOfANode(t *testing.T) {
	f := newFixture(t, nil, access.Config{})
	f.a.Change(func(b *fakes.Broker) {
		b.Config = &httpapi.Settings{File: "f", Settings: []httpapi.Setting{{Key: "data_path", Flag: "data-path", Value: "/d", Source: "flag"}}, Warnings: []string{}}
	})
	f.run([]step{
		{"GET /api/nodes/" + f.a.Address() + "/settings", "", 200, `{"settings":{"file":"f","settings":[{"key":"data_path","flag":"data-path","value":"/d","source":"flag"`},
		{"GET /api/nodes/" + f.b.Address() + "/settings", "", 200, `{"settings":null,"error":""}`},
		{"GET /api/nodes/192.0.2.1:80/settings", "", 404, "NODE_NOT_FOUND"},
	})
	f.a.Kill()
	f.eventually("the reason is told", func() bool {
		_, body := f.send("GET", "/api/nodes/"+f.a.Address()+"/settings", "")
		return strings.Contains(body, `{"settings":null,"error":"connection refused"}`)
	})
}

// TestRatesOfClients: they come from two looks at a connection.
func TestRatesOfClients(t *testing.T) {
	f := newFixture(t, nil, access.Config{})
	finished := uint64(0)
	f.eventually("the consumer has a rate", func() bool {
		finished += 100
		f.a.Change(func(b *fakes.Broker) {
			b.Stats.Topics = []httpapi.Topic{topicT(1, httpapi.Client{Hostname: "app", RemoteAddress: "10.0.0.1:5", FinishCount: finished})}
		})
		var page views.ChannelPage
		f.get("/api/view/channel?topic=t&channel=c", &page)
		return len(page.Clients) == 1 && page.Clients[0].FinishRate > 0
	})
}

// TestSearch: words in any order and case, over everything, the best first.
func TestSearch(t *testing.T) {
	f := newFixture(t, nil, access.Config{})
	for q, want := range map[string]string{
		"T":              "topic t,channel t/c",
		"c t":            "channel t/c",
		"IDL":            "topic idle",
		"app":            "consumer app id",
		"nothing at all": "",
	} {
		var found struct{ Items []views.Hit }
		f.get("/api/search?q="+url.QueryEscape(q), &found)
		var got []string
		for _, h := range found.Items {
			got = append(got, h.Kind+" "+h.Label)
		}
		if strings.Join(got, ",") != want {
			t.Errorf("%q found %q, want %s", q, got, want)
		}
	}
	var found struct{ Items []views.Hit }
	f.get("/api/search?limit=3", &found)
	if len(found.Items) != 3 {
		t.Errorf("without words: %+v", found)
	}
}

// TestExactNamesAreFoundFirst: what is called as was asked for, before what only begins so, whatever it is.
func TestExactNamesAreFoundFirst(t *testing.T) {
	f := newFixture(t, nil, access.Config{})
	client := httpapi.Client{ClientID: "billing-7", Hostname: "billing.example.org", RemoteAddress: "10.0.0.1:5", FinishCount: 7}
	f.a.Change(func(b *fakes.Broker) {
		b.Stats.Topics = []httpapi.Topic{
			{TopicName: "billing.audit", Channels: []httpapi.Channel{}},
			{TopicName: "orders", Channels: []httpapi.Channel{{ChannelName: "billing", ClientCount: 1, Clients: []httpapi.Client{client}}}},
		}
	})
	f.lookup.Change(func(l *fakes.Lookup) { l.Nodes[0] = f.a.Node() })
	search := func(q string) string {
		var found struct{ Items []views.Hit }
		f.get("/api/search?q="+url.QueryEscape(q), &found)
		var got []string
		for _, h := range found.Items {
			got = append(got, h.Kind+" "+h.Label)
		}
		return strings.Join(got, ",")
	}
	const all = "channel orders/billing,topic billing.audit,consumer billing.example.org billing-7"
	f.eventually("everything of the name is found, the channel first", func() bool { return search("Billing") == all })
	if got, want := search("billing.example.org"), "consumer billing.example.org billing-7"; got != want {
		t.Errorf("by host name: %s, want %s", got, want)
	}
	if got := search(f.a.Address()); !strings.HasPrefix(got, "node "+f.a.Address()) {
		t.Errorf("by address: %s", got)
	}
}

// events reads a stream: the next event of a name.
type events struct {
	t *testing.T
	s *bufio.Scanner
}

func (f *fixture) open(ctx context.Context, query string) events {
	f.t.Helper()
	req, err := http.NewRequestWithContext(ctx, "GET", f.url+"/api/events?"+query, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { resp.Body.Close() })
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || !strings.HasPrefix(kind, "text/event-stream") {
		f.t.Fatalf("%d %s", resp.StatusCode, kind)
	}
	s := bufio.NewScanner(resp.Body)
	s.Buffer(nil, 1<<20)
	return events{f.t, s}
}

func (e events) next(name string, into any) {
	e.t.Helper()
	for e.s.Scan() {
		if e.s.Text() != "event: "+name {
			continue
		}
		e.s.Scan()
		data, _ := strings.CutPrefix(e.s.Text(), "data: ")
		if err := json.Unmarshal([]byte(data), into); err != nil {
			e.t.Fatal(err)
		}
		return
	}
	e.t.Fatalf("the stream ended before %s: %v", name, e.s.Err())
}

type rowChange struct {
	Reset   bool
	Rows    []views.Row
	Removed []string
}

// TestEvents: a stream begins with the page and goes on with what changes: rows of topics as they change, come and go.
func TestEvents(t *testing.T) {
	f := newFixture(t, nil, access.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	e := f.open(ctx, "view=overview")
	var o views.Overview
	e.next("view", &o)
	var change rowChange
	e.next("topics", &change)
	if o.Totals.Nodes != 2 || !change.Reset || len(change.Rows) != 2 {
		t.Errorf("at first %+v, %+v", o.Totals, change)
	}
	f.a.Change(func(b *fakes.Broker) { b.Stats.Topics = []httpapi.Topic{topicT(41), {TopicName: "new"}} })
	f.lookup.Change(func(l *fakes.Lookup) { l.Channels = nil })
	seen := map[string]bool{}
	for len(seen) < 3 {
		change = rowChange{}
		e.next("topics", &change)
		if change.Reset {
			t.Fatal("the list began anew")
		}
		for _, row := range change.Rows {
			seen[fmt.Sprintf("%s %d", row.Topic, row.Depth)] = true
		}
		for _, name := range change.Removed {
			seen["removed "+name] = true
		}
		delete(seen, "idle 0")
	}
	if !seen["t 86"] || !seen["new 0"] || !seen["removed idle"] {
		t.Errorf("saw %v", seen)
	}
}

// TestStreamsOutliveTimeouts: those of requests do not end a stream.
func TestStreamsOutliveTimeouts(t *testing.T) {
	const timeout = time.Second
	f := newHastyFixture(t, timeout, nil, access.Config{})
	outlives := func() bool {
		resp, err := http.Get(f.url + "/api/events?view=nodes")
		if err != nil {
			return false // on a busy machine the request was not read in its time
		}
		defer resp.Body.Close()
		for s, began := bufio.NewScanner(resp.Body), time.Now(); time.Since(began) < 2*timeout; {
			if !s.Scan() {
				return false
			}
		}
		return true
	}
	f.eventually("a stream is there when its request's time is long over", outlives)
}

// TestEventsOfAThing: a page's body comes again and again, until what it shows is gone.
func TestEventsOfAThing(t *testing.T) {
	f := newFixture(t, nil, access.Config{})
	e := f.open(t.Context(), "view=topic&topic=t")
	var page views.Topic
	for range 3 {
		e.next("view", &page)
	}
	if page.Topic != "t" || page.Total.Depth != 6 {
		t.Errorf("page %+v", page)
	}
	for _, b := range []*fakes.Broker{f.a, f.b} {
		b.Change(func(b *fakes.Broker) { b.Stats.Topics = nil })
	}
	f.lookup.Change(func(l *fakes.Lookup) {
		for i := range l.Nodes {
			l.Nodes[i].Topics, l.Nodes[i].Tombstones = nil, nil
		}
	})
	var gone struct{ Message string }
	e.next("gone", &gone)
	if gone.Message != "TOPIC_NOT_FOUND" || e.s.Scan() && e.s.Text() != "" || e.s.Scan() {
		t.Errorf("%+v, and after it %q", gone, e.s.Text())
	}
}

// TestAnActIsSeenSoon: after an act the daemons are asked at once, not at the next round.
func TestAnActIsSeenSoon(t *testing.T) {
	f := newFixture(t, nil, access.Config{})
	seq := f.cluster.View().Seq
	f.run([]step{{"POST /api/topics/t", `{"action":"pause"}`, 200, ""}})
	f.eventually("a newer state", func() bool { return f.cluster.View().Seq > seq })
}

// TestStreamsEnd: with the server.
func TestStreamsEnd(t *testing.T) {
	stop := make(chan struct{})
	f := newFixture(t, func(c *Config) { c.Stop = stop }, access.Config{})
	e := f.open(t.Context(), "view=nodes")
	var n views.Nodes
	e.next("view", &n)
	close(stop)
	for e.s.Scan() {
	}
	if e.s.Err() != nil {
		t.Error(e.s.Err())
	}
}

// TestFiles: pages know where they are, files under the hash are kept for ever, the others are asked for again, and what is not
// there is not there.
func TestFiles(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.BasePath = "/nsq"; c.Warnings = []string{"</script><b>"} }, access.Config{})
	resp, page := f.send("GET", "/nsq/topics/a%23b/c", "")
	if resp.StatusCode != 200 || resp.Header.Get("Cache-Control") != "no-store" || !strings.Contains(resp.Header.Get("Content-Security-Policy"), "script-src 'self'") ||
		resp.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(page, `<base href="/nsq/"><script src="/nsq/static/`) || strings.Contains(page, "{{") {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, page)
	}
	if _, session, _ := strings.Cut(page, `"application/json">`); !strings.Contains(session, `"base_path":"/nsq/"`) || strings.Count(page, "</script>") != 2 {
		t.Errorf("the session in the page: %s", page)
	}
	_, app, _ := strings.Cut(page, `src="`)
	app, _, _ = strings.Cut(app, `"`)
	resp, text := f.send("GET", app, "")
	if resp.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" || text != "import './lib.js'" || !strings.Contains(resp.Header.Get("Content-Type"), "javascript") {
		t.Errorf("%s: %v %s", app, resp.Header, text)
	}
	resp, _ = f.send("GET", "/nsq/static/css/app.css", "")
	if resp.Header.Get("Cache-Control") != "no-cache" || resp.Header.Get("ETag") == "" {
		t.Errorf("without the hash: %v", resp.Header)
	}
	if resp, _ = f.send("GET", "/nsq/static/css/app.css", "", "If-None-Match", resp.Header.Get("ETag")); resp.StatusCode != 304 {
		t.Errorf("asked again: %d", resp.StatusCode)
	}
	for path, want := range map[string]string{
		"/nsq/static/none.js": "NOT_FOUND", "/nsq/static/index.html": "NOT_FOUND", "/nsq/static/../../etc/passwd": "NOT_FOUND", "/ping": `{"message":"NOT_FOUND"}`,
	} {
		if resp, body := f.send("GET", path, ""); resp.StatusCode != 404 || body != want {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	f.run([]step{{"GET /nsq/ping", "", 200, "OK"}, {"GET /nsq/api/topics", "", 200, `"t"`}})
	for text, want := range map[string]string{"": "", "/": "", "nsq": "/nsq", "/nsq/": "/nsq", "//a//b/../c": "/a/c"} {
		if got := CleanBasePath(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

// TestDevelopment: with a folder its files are read each time, and nothing outside of it.
func TestDevelopment(t *testing.T) {
	dir := t.TempDir()
	f := newFixture(t, func(c *Config) { c.DevStaticDir = filepath.Join(dir, "static") }, access.Config{})
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("secret", "secret")
	write("static/index.html", "{{assets}}")
	write("static/js/app.js", "one")
	f.run([]step{{"GET /", "", 200, "/static"}, {"GET /static/js/app.js", "", 200, "one"}, {"GET /static/..%2fsecret", "", 404, ""}})
	write("static/js/app.js", "two")
	f.run([]step{{"GET /static/js/app.js", "", 200, "two"}})
}

// TestCompression: what is text is compressed for those who take it, event streams as well.
func TestCompression(t *testing.T) {
	f := newFixture(t, nil, access.Config{})
	for _, path := range []string{"/", "/api/topics/t", "/static/js/app.js"} {
		resp, body := f.send("GET", path, "", "Accept-Encoding", "deflate, gzip;q=0.5")
		if resp.Header.Get("Content-Encoding") != "gzip" || !strings.HasPrefix(body, "\x1f\x8b") || resp.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: %v", path, resp.Header)
		}
		if resp, _ := f.send("GET", path, "", "Accept-Encoding", "gzip;q=0"); resp.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s, gzip refused: %v", path, resp.Header)
		}
	}
	if resp, body := f.send("POST", "/api/topics/none", `{"action":"x"}`, "Accept-Encoding", "gzip"); resp.StatusCode != 400 || body == "" {
		t.Errorf("an error: %d", resp.StatusCode)
	}
}

// TestGraphite: rates are asked for and plots fetched with the password that browsers never see, and nothing of ours is passed on.
func TestGraphite(t *testing.T) {
	seen := make(chan *http.Request, 10)
	answer := `[{"target":"x","datapoints":[[120.0,1700000000],[1.0,1700000060]]}]`
	graphite := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Set-Cookie", "admind_session=planted")
		fmt.Fprint(w, answer)
	}))
	defer graphite.Close()
	target, err := url.Parse(graphite.URL + "/graphite")
	if err != nil {
		t.Fatal(err)
	}
	target.User = url.UserPassword("me", "secret")
	f := newFixture(t, func(c *Config) {
		c.BasePath = "/nsq"
		c.Graphite = Graphite{URL: target, Proxied: true, Interval: time.Minute, Transport: http.DefaultTransport, Timeout: cmdtest.Patience, UserHeader: "X-Forwarded-User"}
	}, access.Config{})
	f.run([]step{{"GET /nsq/api/graphite?metric=rate&target=x", "", 200, `{"rate":"2.00"}`}})
	if r := <-seen; r.URL.RequestURI() != "/graphite/render?format=json&from=-120sec&target=x&until=-60sec" {
		t.Errorf("asked %s", r.URL)
	}
	for text, want := range map[string]string{`[]`: "N/A", `[{"datapoints":[]}]`: "N/A", `[{"datapoints":[[null,1]]}]`: "N/A", `[{"datapoints":[[-5,1]]}]`: "N/A"} {
		answer = text
		f.run([]step{{"GET /nsq/api/graphite?metric=rate&target=x", "", 200, `{"rate":"` + want + `"}`}})
		<-seen
	}
	answer = "nonsense"
	f.run([]step{{"GET /nsq/api/graphite?metric=rate&target=x", "", 502, "UPSTREAM_ERROR: graphite"}})
	<-seen
	f.run([]step{{"GET /nsq/render?target=a&width=5", "", 200, "nonsense"}}, "Cookie", "admind_session=x", "X-Forwarded-User", "alice", "Authorization", "Basic eDp5")
	r := <-seen
	resp, _ := f.send("GET", "/nsq/render?target=a", "")
	<-seen
	if policy := resp.Header.Get("Content-Security-Policy"); resp.Header.Get("Set-Cookie") != "" || !strings.Contains(policy, "sandbox") {
		t.Errorf("what Graphite sends is taken for ours: %v", resp.Header)
	}
	user, password, _ := r.BasicAuth()
	if r.URL.RequestURI() != "/graphite/render?target=a&width=5" || r.Host != target.Host || user != "me" || password != "secret" || r.Header.Get("Cookie")+r.Header.Get("X-Forwarded-User") != "" {
		t.Errorf("asked %s of %s with %v", r.URL, r.Host, r.Header)
	}
	if _, page := f.send("GET", "/nsq/", ""); strings.Contains(page, "secret") {
		t.Error("the password stands in the page")
	}
}
