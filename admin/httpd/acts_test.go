package httpd

import (
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"brokerd/admin/access"
	"brokerd/admin/fakes"
	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
)

// TestActs covers requests and refusals of nsqadmin's acts, with the bodies that its scripts send: curl -d sends them as a form.
func TestActs(t *testing.T) {
	f := newFixture(t, nil, access.Config{})
	ok := `{"message":""`
	f.run([]step{
		{"POST /api/topics", `{"topic":"new"}`, 200, ok},
		{"POST /api/topics", `{"topic":"new","channel":"c"}`, 200, ok},
		{"POST /api/topics", `{"topic":"not$valid"}`, 400, `{"message":"INVALID_TOPIC"}`},
		{"POST /api/topics", `{"topic":"t","channel":"not valid"}`, 400, `{"message":"INVALID_CHANNEL"}`},
		{"POST /api/topics", ``, 400, `{"message":"EOF"}`},
		{"POST /api/topics", `x`, 400, `invalid character 'x' looking for beginning of value`},
		{"POST /api/topics/t", `{"action":"pause"}`, 200, ok},
		{"POST /api/topics/t", `{"action":"unpause"}`, 200, ok},
		{"POST /api/topics/t", `{"action":"empty"}`, 200, ok},
		{"POST /api/topics/t", `{"action":"explode"}`, 400, `{"message":"INVALID_ACTION"}`},
		{"POST /api/topics/t", `{}`, 400, `{"message":"INVALID_ACTION"}`},
		{"POST /api/topics/*", `{"action":"pause"}`, 400, `INVALID_TOPIC`},
		{"POST /api/topics/idle", `{"action":"pause"}`, 404, `TOPIC_NOT_FOUND`},
		{"POST /api/topics/t/c", `{"action":"pause"}`, 200, ok},
		{"POST /api/topics/t/c", `{"action":"redrive"}`, 200, ok},
		{"POST /api/topics/t/c", `{"action":"stop_redrive"}`, 200, ok},
		{"POST /api/topics/t", `{"action":"redrive"}`, 400, `INVALID_ACTION`},
		{"POST /api/topics/t/c", `{"action":"cancel_message","node":"` + f.b.Address() + `","position":7}`, 200, ok},
		{"POST /api/topics/t/c", `{"action":"release_message","node":"` + f.b.Address() + `","position":8}`, 200, ok},
		{"POST /api/topics/t/c", `{"action":"release_message","node":"` + f.b.Address() + `"}`, 400, `INVALID_POSITION`},
		{"POST /api/topics/t/c", `{"action":"release_message","node":"192.0.2.1:80","position":8}`, 404, `NODE_NOT_FOUND`},
		{"POST /api/topics/t", `{"action":"release_message","node":"` + f.b.Address() + `","position":8}`, 400, `INVALID_ACTION`},
		{"POST /api/topics/t/c", `{"action":"finish_message","node":"` + f.b.Address() + `","position":9}`, 200, ok},
		{"POST /api/topics/t/c", `{"action":"finish_message","node":"` + f.b.Address() + `"}`, 400, `INVALID_POSITION`},
		{"POST /api/topics/t/c", `{"action":"finish_message","node":"` + f.b.Address() + `","position":10,"id":"00000000000000ff"}`, 200, ok},
		{"POST /api/topics/t/c", `{"action":"cancel_message","node":"` + f.b.Address() + `","position":11,"id":"00000000000000fe"}`, 200, ok},
		{"POST /api/topics/t/c", `{"action":"finish_message","node":"` + f.b.Address() + `","position":10,"id":"x&pos=1"}`, 400, `INVALID_ID`},
		{"POST /api/topics/t/c", `{"action":"finish_message","node":"192.0.2.1:80","position":8}`, 404, `NODE_NOT_FOUND`},
		{"POST /api/topics/t/c", `{"action":"rewind","to":"-2h"}`, 200, ok},
		{"POST /api/topics/t/c", `{"action":"skip","to":"end","all":true}`, 200, ok},
		{"POST /api/topics/t/c", `{"action":"rewind"}`, 400, `INVALID_PLACE`},
		{"POST /api/topics/t", `{"action":"rewind","to":"end"}`, 400, `INVALID_ACTION`},
		{"POST /api/topics/t/c", `{"action":"set_durability","durability":"disk"}`, 400, `INVALID_ACTION`},
		{"POST /api/topics/t", `{"action":"set_durability","durability":"often"}`, 400, `INVALID_DURABILITY`},
		{"DELETE /api/topics/t/c%23ephemeral", ``, 200, ok},
		{"DELETE /api/topics/t", ``, 200, ok},
		{"DELETE /api/topics/*", ``, 400, `INVALID_TOPIC`},
		{"DELETE /api/nodes/" + f.a.Address(), `{"topic":"t"}`, 200, ok},
		{"DELETE /api/nodes/" + f.a.Address(), ``, 400, `INVALID_BODY`},
		{"DELETE /api/nodes/" + f.a.Address(), `{"topic":"no no"}`, 400, `INVALID_TOPIC`},
		{"DELETE /api/nodes/192.0.2.1:80", `{"topic":"t"}`, 404, `NODE_NOT_FOUND`},
		{"POST /api/nodes/" + f.a.Address(), `{"action":"dismiss"}`, 409, `NODE_ANSWERS`},
		{"POST /api/nodes/" + f.a.Address(), `{"action":"explode"}`, 400, `INVALID_ACTION`},
		{"POST /api/nodes/192.0.2.1:80", `{"action":"dismiss"}`, 404, `NODE_NOT_FOUND`},
		{"POST /api/publish", `{"topic":"t","body":"hello","node":"` + f.b.Address() + `"}`, 200, `{"message":"","node":"` + f.b.Address() + `"}`},
		{"POST /api/publish", `{"topic":"t","body":"aGVsbG8=","base64":true,"defer_ms":1000}`, 200, ok},
		{"POST /api/publish", `{"topic":"t","body":""}`, 400, `MSG_EMPTY`},
		{"POST /api/publish", `{"topic":"t","body":"%","base64":true}`, 400, `INVALID_BODY`},
		{"POST /api/publish", `{"topic":"t","body":"x","defer_ms":-1}`, 400, `INVALID_DEFER`},
		{"POST /api/publish", `{"topic":"t","body":"x","node":"192.0.2.1:80"}`, 404, `NODE_NOT_FOUND`},
	}, "Content-Type", "application/x-www-form-urlencoded")
	if acts := f.b.Acts(); !slices.Contains(acts, "/message/finish?topic=t&channel=c&pos=10&id=00000000000000ff") || !slices.Contains(acts, "/message/cancel?topic=t&channel=c&pos=11&id=00000000000000fe") ||
		!slices.Contains(acts, "/channel/redrive?topic=t&channel=c") || !slices.Contains(acts, "/channel/redrive?topic=t&channel=c&stop=true") ||
		!slices.Contains(acts, "/message/finish?topic=t&channel=c&pos=9") || !slices.Contains(acts, "/channel/rewind?topic=t&channel=c&to=-2h") ||
		!slices.Contains(acts, "/channel/skip?topic=t&channel=c&to=end&all=true") || !slices.Contains(acts, "/message/cancel?topic=t&channel=c&pos=7") || !slices.Contains(acts, "/message/release?topic=t&channel=c&pos=8") ||
		!slices.Contains(acts, "/channel/delete?topic=t&channel=c%23ephemeral") || !slices.Contains(acts, "/pub?topic=t hello") {
		t.Errorf("b was told %q", acts)
	}
}

// TestPartialFailure: what some nodes did is done, with a warning that names the others; what none did is an error.
func TestPartialFailure(t *testing.T) {
	f := newFixture(t, nil, access.Config{})
	f.b.Fail(500)
	f.run([]step{{"POST /api/topics/t", `{"action":"pause"}`, 200, `{"message":"WARNING: ` + f.b.Address() + `: got response 500`},
		{"POST /api/topics/t", `{"action":"pause"}`, 200, `"results":[{"node":"` + f.a.Address() + `","ok":true,"error":""}`}})
	f.a.Fail(500)
	f.run([]step{{"POST /api/topics/t", `{"action":"pause"}`, 502, `UPSTREAM_ERROR: ` + f.a.Address() + `: got response 500`}})
	f.lookup.Fail(500)
	f.run([]step{{"POST /api/topics", `{"topic":"x"}`, 502, `UPSTREAM_ERROR: `}, {"DELETE /api/topics/other", ``, 502, `UPSTREAM_ERROR: `}})
}

// TestEveryActIsWrittenDown: who, what, from where and what came of it; what was refused as well.
func TestEveryActIsWrittenDown(t *testing.T) {
	f := newFixture(t, nil, access.Config{Operators: []string{"alice"}, Header: "X-Forwarded-User"})
	f.run([]step{{"POST /api/topics/t/c", `{"action":"pause"}`, 200, ""}}, "X-Forwarded-User", "alice", "User-Agent", "script/1")
	f.run([]step{{"DELETE /api/topics/t", ``, 403, `{"message":"FORBIDDEN"}`}}, "X-Forwarded-User", "bob")
	f.run([]step{{"DELETE /api/topics/none", ``, 404, ""}}, "X-Forwarded-User", "alice")
	f.b.Fail(500)
	f.run([]step{{"POST /api/topics/t", `{"action":"empty"}`, 200, ""}}, "X-Forwarded-User", "alice")
	for _, want := range []string{
		`msg=act action=pause_channel topic=t channel=c node="" detail="" user=alice remote=127.0.0.1:`, `user_agent=script/1 result=done`,
		`msg=act action="delete /api/topics/t"`, `user=bob`, `result=refused error=FORBIDDEN`,
		`action=delete_topic topic=none`, `result=failed`, `action=empty_topic topic=t`, `result=partial error="WARNING: ` + f.b.Address(),
	} {
		if !strings.Contains(f.log.String(), want) {
			t.Errorf("not in the log: %s", want)
		}
	}
	if acts := f.a.Acts(); !slices.Equal(acts, []string{"/channel/pause?topic=t&channel=c", "/topic/empty?topic=t"}) {
		t.Errorf("a was told %q", acts)
	}
}

// TestOtherSites: pages of other sites do not act, and on the loopback reads too need a name that is ours. What is refused is in the
// audit log, and the refusal names the flag.
func TestOtherSites(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.Door = httpapi.Door{Hosts: []string{"admin.test"}, Origins: []string{"https://tools.example"}}
	}, access.Config{})
	act := step{"POST /api/topics/t", `{"action":"pause"}`, 200, ""}
	f.run([]step{act})
	f.run([]step{act}, "Sec-Fetch-Site", "same-origin", "Origin", f.url)
	f.run([]step{act}, "Sec-Fetch-Site", "cross-site", "Origin", "https://tools.example")
	act.status, act.want = 403, "--http-allow-origin=http://evil.example"
	f.run([]step{act}, "Sec-Fetch-Site", "cross-site", "Origin", "http://evil.example")
	f.run([]step{act}, "Origin", "http://evil.example")
	if !strings.Contains(f.log.String(), `msg=act action="post /api/topics/t"`) || !strings.Contains(f.log.String(), "result=refused") {
		t.Error("what another site tried is not in the audit log")
	}
	for host, want := range map[string]int{"rebound.example:80": 403, "admin.test": 200, "localhost:1": 200, "127.0.0.1": 200} {
		for _, request := range []string{"GET /", "GET /api/topics", "GET /api/session", "POST /api/topics/t"} {
			method, path, _ := strings.Cut(request, " ")
			req, err := http.NewRequestWithContext(t.Context(), method, f.url+path, strings.NewReader(act.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Host, req.Close = host, true // a refused body is not read, which ends the connection
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%s, called %s: %d, want %d", request, host, resp.StatusCode, want)
			}
		}
	}
}

// TestSignIn goes through it as a page does: nothing to be seen before, a cookie and a token after, roles, and signing out.
func TestSignIn(t *testing.T) {
	f := newFixture(t, nil, access.Config{UsersFile: usersFile(t)})
	f.run([]step{
		{"GET /ping", "", 200, "OK"},
		{"GET /", "", 200, `"must_sign_in":true`},
		{"GET /api/session", "", 200, `"sign_in":"users","user":"","role":"none","csrf":"","must_sign_in":true,"warnings":[],"mode":"lookupd","lookups":[]`},
		{"GET /api/topics", "", 401, `{"message":"SIGN_IN_REQUIRED"}`},
		{"GET /api/view/overview", "", 401, "SIGN_IN_REQUIRED"},
		{"GET /api/events?view=overview", "", 401, "SIGN_IN_REQUIRED"},
		{"GET /config/log_level", "", 401, "SIGN_IN_REQUIRED"},
		{"POST /api/topics", `{"topic":"x"}`, 401, "SIGN_IN_REQUIRED"},
		{"POST /api/session", `{"user":"alice","password":"no"}`, 401, "BAD_CREDENTIALS"},
		{"POST /api/session", `{`, 400, "INVALID_BODY"},
	})
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	token := ""
	do := func(method, path, body string, want int) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, f.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-CSRF-Token", token)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text := readAll(t, resp)
		if resp.StatusCode != want {
			t.Errorf("%s %s: %d %s, want %d", method, path, resp.StatusCode, text, want)
		}
		return text
	}
	signIn := func(user string) {
		t.Helper()
		token = ""
		text := do("POST", "/api/session", `{"user":"`+user+`","password":"`+user+user+`"}`, 200)
		_, token, _ = strings.Cut(text, `"csrf":"`)
		token, _, _ = strings.Cut(token, `"`)
	}
	signIn("bob")
	do("GET", "/api/topics", "", 200)
	do("POST", "/api/topics/t", `{"action":"pause"}`, 403)
	signIn("alice")
	do("POST", "/api/topics/t", `{"action":"pause"}`, 200)
	right := token
	token = "wrong"
	if text := do("POST", "/api/topics/t", `{"action":"pause"}`, 403); !strings.Contains(text, "CSRF_TOKEN") {
		t.Errorf("a wrong token: %s", text)
	}
	token = right
	do("DELETE", "/api/session", "", 200)
	do("GET", "/api/topics", "", 401)
	f.run([]step{{"POST /api/topics/t", `{"action":"pause"}`, 200, ""}}, "Authorization", "Basic YWxpY2U6YWxpY2VhbGljZQ==")
	f.run([]step{{"POST /api/topics/t", `{"action":"pause"}`, 401, "BAD_CREDENTIALS"}}, "Authorization", "Basic YWxpY2U6eA==")
	if !strings.Contains(f.log.String(), "action=sign_in") || strings.Contains(f.log.String(), "alicealice") {
		t.Error("signing in is not in the log, or the password is")
	}
}

// TestTooManyTries: the answer says when to come again.
func TestTooManyTries(t *testing.T) {
	f := newFixture(t, nil, access.Config{UsersFile: usersFile(t)})
	for range 10 {
		f.run([]step{{"POST /api/session", `{"user":"bob","password":"x"}`, 401, "BAD_CREDENTIALS"}})
	}
	resp, body := f.send("POST", "/api/session", `{"user":"bob","password":"bobbob"}`)
	if resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, "TOO_MANY_ATTEMPTS") {
		t.Errorf("%d %s %v", resp.StatusCode, body, resp.Header)
	}
}

// TestConfig covers what can be shown and set, and from where.
func TestConfig(t *testing.T) {
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	f := newFixture(t, func(c *Config) { c.ConfigFrom = &loopback }, access.Config{})
	f.run([]step{
		{"GET /config/log_level", "", 200, "2"},
		{"GET /config/base_path", "", 200, "/"},
		{"GET /config/none", "", 400, `{"message":"INVALID_OPTION"}`},
		{"PUT /config/base_path", "x", 400, `{"message":"INVALID_OPTION"}`},
		{"PUT /config/log_level", "", 413, `{"message":"INVALID_VALUE"}`},
		{"PUT /config/log_level", "bad", 400, `{"message":"INVALID_VALUE"}`},
		{"PUT /config/log_level", "fatal", 200, "5"},
		{"GET /config/log_level", "", 200, "5"},
		{"PUT /config/nsqlookupd_http_addresses", `["a:1","b:2"]`, 200, `["a:1","b:2"]`},
		{"PUT /config/nsqlookupd_http_addresses", `["a"]`, 400, `{"message":"INVALID_VALUE"}`},
		{"PUT /config/nsqlookupd_http_addresses", `[]`, 400, `{"message":"INVALID_VALUE"}`},
		{"PUT /config/nsqlookupd_http_addresses", `["` + strings.Repeat("x", maxConfig) + `"]`, 413, `{"message":"INVALID_VALUE"}`},
	})
	if got := f.cluster.Lookups(); !slices.Equal(got, []string{"a:1", "b:2"}) {
		t.Errorf("lookups %v", got)
	}
	elsewhere := netip.MustParsePrefix("10.0.0.0/8")
	g := newFixture(t, func(c *Config) { c.ConfigFrom = &elsewhere }, access.Config{})
	g.run([]step{{"GET /config/log_level", "", 403, `{"message":"FORBIDDEN"}`}, {"PUT /config/log_level", "fatal", 403, `{"message":"FORBIDDEN"}`}})
}

// TestALookupAsked: a topic that only a lookup knows is listed as inactive, in both APIs.
func TestALookupAsked(t *testing.T) {
	f := newFixture(t, nil, access.Config{})
	f.run([]step{
		{"GET /api/topics", "", 200, `{"topics":["idle","t"],"message":""}`},
		{"GET /api/topics?inactive=true", "", 200, `{"topics":{"idle":["x"]},"message":""}`},
		{"GET /api/view/lookups", "", 200, `"inactive":[{"topic":"idle","channels":["x"]}]`},
		{"GET /api/topics?%zz", "", 400, `{"message":"invalid URL escape \"%zz\""}`},
	})
	f.lookup.Change(func(l *fakes.Lookup) { l.Nodes[0].Tombstones[0], l.Nodes[1].Tombstones[0] = true, true })
	f.run([]step{{"GET /api/topics?inactive=true", "", 200, `{"topics":{"idle":["x"],"t":[]},"message":""}`},
		{"GET /api/nodes", "", 200, `"topics":[{"topic":"t","tombstoned":true}]`}})
}

// TestOptions: what brokers tell of options is shown, differences too; what all refuse is refused with their words, and an nsqd has none.
func TestOptions(t *testing.T) {
	f := newFixture(t, nil, access.Config{})
	f.run([]step{{"GET /api/options/t", ``, 200, `{"options":{},"error":""}`}, {"GET /api/options/idle", ``, 404, `TOPIC_NOT_FOUND`}, {"GET /api/options/t/none$", ``, 400, `INVALID_CHANNEL`}})
	for i, b := range []*fakes.Broker{f.a, f.b} {
		b.Change(func(b *fakes.Broker) {
			b.Levels = map[string]string{"t": "disk"}
			b.Options = map[string]httpapi.OptionValue{"max_depth": {Value: 10 + i, Source: "topic", Default: 0, Allowed: "must be 0 or more", Help: "A bound."},
				"ttl": {Value: "0s", Source: "default", Default: "0s"}}
		})
	}
	f.run([]step{
		{"GET /api/options/t", ``, 200, `"max_depth":{"value":10,"source":"topic","default":0,"allowed":"must be 0 or more","help":"A bound.","mixed":true}`},
		{"GET /api/options/t/c", ``, 200, `"ttl":{"value":"0s","source":"default","default":"0s","allowed":"","help":"","mixed":false}`},
		{"POST /api/topics/t", `{"action":"set_options"}`, 400, `INVALID_OPTIONS`},
	})
	for _, b := range []*fakes.Broker{f.a, f.b} {
		b.Change(func(b *fakes.Broker) { b.Refuse = "INVALID_CONFIG: max_depth: must be 0 or more, not -1" })
	}
	f.run([]step{
		{"POST /api/topics/t", `{"action":"set_options","options":{"max_depth":-1}}`, 400, `{"message":"INVALID_CONFIG: max_depth: must be 0 or more, not -1"}`},
		{"POST /api/topics/t/c", `{"action":"set_options","options":{"max_depth":-1}}`, 400, `INVALID_CONFIG: max_depth: must be`},
	})
	f.a.Change(func(b *fakes.Broker) { b.Refuse = "" })
	f.run([]step{{"POST /api/topics/t", `{"action":"set_options","options":{"max_depth":5}}`, 200, `"message":"WARNING: `}})
	if !strings.Contains(f.log.String(), `action=set_options`) {
		t.Error("the audit does not say that options were set")
	}
}

// TestLargeBodiesTakePlaces: who sends much, and slowly, has a bounded part of the memory, and others are not held up.
func TestLargeBodiesTakePlaces(t *testing.T) {
	f := newFixture(t, nil, access.Config{})
	slow := func() net.Conn {
		conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if _, err := io.WriteString(conn, "POST /api/publish HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	var conns []net.Conn
	for range largeAtOnce {
		conns = append(conns, slow())
	}
	large := `{"topic":"t","body":"` + strings.Repeat("x", largeBody) + `"}`
	cmdtest.Eventually(t, "no place is left", time.Second, func() bool {
		conns = append(conns, slow()) // one of them may have found that the request below had the last place
		resp, text := f.send("POST", "/api/publish", large)
		return resp.StatusCode == http.StatusServiceUnavailable && strings.Contains(text, "BUSY")
	})
	f.run([]step{{"POST /api/topics/t", `{"action":"pause"}`, 200, `"message":""`}})
	for _, conn := range conns {
		conn.Close()
	}
	cmdtest.Eventually(t, "places are free again", time.Second, func() bool {
		resp, _ := f.send("POST", "/api/publish", large)
		return resp.StatusCode == http.StatusOK
	})
}
