package httpd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/julienschmidt/httprouter"

	"brokerd/broker/topic"
	"brokerd/protocol/httpapi"
)

// fakeForward sends everything to another server of the API.
type fakeForward struct {
	leads   *Server
	cluster *fakeCluster // of who follows
	err     error
	unsure  bool
	acts    int
	before  func() // is called before each
	sent    []string
}

func (f *fakeForward) Publish(name string, b *topic.Batch, delay time.Duration) error {
	f.sent = append(f.sent, fmt.Sprint(name, " ", b.Len(), " ", b.Bytes(), " ", delay))
	if f.err != nil {
		return f.err
	}
	n := b.Len()
	b.Reset()
	b.SetReceipt(topic.Receipt{ID: 5, Position: 7, Count: n})
	return nil
}

func (f *fakeForward) Act(_ context.Context, _ string, act []byte) ([]byte, bool, error) {
	if f.acts++; f.before != nil {
		f.before()
	}
	if f.err != nil {
		return nil, f.unsure, f.err
	}
	answer, there := f.leads.Act(act)
	if !there {
		return nil, f.unsure, topic.ErrElsewhere // once it was waited for
	}
	return answer, f.unsure, nil
}

// pair returns a server that does not lead topic orders, and one that does.
func pair(t *testing.T) (follower, leader *fixture, to *fakeForward) {
	t.Helper()
	to = &fakeForward{cluster: &fakeCluster{}}
	leader = newFixture(t, func(cfg *Config) { cfg.Forward = to })
	to.leads = leader.server
	follower = newFixture(t, func(cfg *Config) {
		cfg.Cluster, cfg.Forward = to.cluster, to
		b := cfg.Broker.(*fakeBroker)
		if err := b.registry.Close(); err != nil {
			t.Fatal(err)
		}
		b.registry = topic.NewRegistry(topic.Config{MemQueueSize: 10, Elsewhere: func(name string) error {
			if name == "orders" {
				return topic.ErrElsewhere
			}
			return nil
		}})
		b.registry.Start()
	})
	return follower, leader, to
}

// TestActsOnATopicThatAnotherBrokerLeads: they are carried out there, and answered as there.
func TestActsOnATopicThatAnotherBrokerLeads(t *testing.T) {
	follower, leader, to := pair(t)
	if r, body := leader.do("POST", "/channel/create?topic=orders&channel=c", ""); r.StatusCode != 404 {
		t.Fatalf("there is no topic yet: %d %s", r.StatusCode, body)
	}
	if r, body := follower.do("POST", "/channel/create?topic=orders&channel=c", ""); r.StatusCode != 503 {
		t.Errorf("it is in the map, and its leader has not made it yet: %d %s", r.StatusCode, body)
	}
	if _, err := leader.broker.registry.Topic("orders"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path string
		status       int
		text         string
	}{
		{"POST", "/topic/create?topic=orders", 200, ""},
		{"POST", "/channel/create?topic=orders&channel=c", 200, ""},
		{"POST", "/channel/pause?topic=orders&channel=c", 200, ""},
		{"POST", "/channel/pause?topic=orders&channel=d", 404, "CHANNEL_NOT_FOUND"},
		{"POST", "/channel/create?topic=orders", 400, "MISSING_ARG_CHANNEL"},
		{"POST", "/topic/pause?topic=orders", 200, ""},
		{"POST", "/topic/empty?topic=orders", 200, ""},
		{"POST", "/channel/empty?topic=orders&channel=c", 200, ""},
		{"GET", "/topic/config?topic=orders", 200, "durability"},
		{"POST", "/topic/pause?topic=other", 404, "TOPIC_NOT_FOUND"},
		{"GET", "/topic/messages?topic=orders", 400, "NEEDS_LOG"}, // there
		{"POST", "/topic/delete?topic=lately", 200, ""},
		{"POST", "/topic/delete?topic=never", 404, "TOPIC_NOT_FOUND"},
	} {
		if r, body := follower.do(c.method, c.path, ""); r.StatusCode != c.status || !strings.Contains(body, c.text) || c.text == "" && body != "" {
			t.Errorf("%s %s: %d %s", c.method, c.path, r.StatusCode, body)
		}
	}
	for _, c := range []struct {
		path, options string
		status        int
		text          string
	}{
		{"/topic/config?topic=orders", `{"max_depth":5}`, 200, `"max_depth":{"value":5`},
		{"/topic/config?topic=orders", `{"max_depth":-5}`, 400, "INVALID_CONFIG"},
		{"/topic/config?topic=orders", `{`, 400, "INVALID_CONFIG"},
		{"/topic/config?topic=orders", strings.Repeat(" ", maxConfig+1), 413, "BODY_TOO_BIG"},
		{"/channel/config?topic=orders&channel=c", `{"max_in_flight":6}`, 200, `"max_in_flight":{"value":6`},
		{"/channel/config?topic=orders&channel=d", `{}`, 404, "CHANNEL_NOT_FOUND"},
	} {
		if r, body := follower.do("POST", c.path, c.options); r.StatusCode != c.status || !strings.Contains(body, c.text) {
			t.Errorf("%s: %d %s", c.path, r.StatusCode, body)
		}
	}
	made := leader.broker.registry.Lookup("orders")
	if c := made.LookupChannel("c"); c == nil || !c.Paused() || !made.Paused() || follower.broker.registry.Lookup("orders") != nil {
		t.Error("it was not done where it should be")
	}
	before := to.acts
	for err, want := range map[error]string{
		topic.ErrElsewhere:                 "503 NOT_LEADER",
		topic.ErrExiting:                   "503 EXITING",
		ErrActHere:                         "503 NOT_LEADER", // it is about to serve the topic
		errors.New("cannot be understood"): "500 INTERNAL_ERROR",
	} {
		to.err = err
		r, body := follower.do("POST", "/topic/pause?topic=orders", "")
		if got := fmt.Sprint(r.StatusCode, " ", body); !strings.HasPrefix(strings.ReplaceAll(got, `{"message":"`, ""), want) {
			t.Errorf("%v: %s", err, got)
		}
	}
	if to.acts != before+4 {
		t.Errorf("asked %d times", to.acts-before)
	}
	for _, bad := range []string{"", "{}", `{"route":"POST /pub"}`, `{"route":"POST /topic/delete"}`} {
		if got, there := to.leads.Act([]byte(bad)); !there || !strings.Contains(string(got), "404") {
			t.Errorf("%q: %s", bad, got)
		}
	}
}

// TestADeletionThatMayHaveBeenDoneBeforeIsDone: the leader died with its answer, and the next one has no such channel.
func TestADeletionThatMayHaveBeenDoneBeforeIsDone(t *testing.T) {
	follower, leader, to := pair(t)
	if _, err := leader.broker.registry.Topic("orders"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path   string
		unsure bool
		status int
	}{
		{"/channel/delete?topic=orders&channel=c", false, 404},
		{"/channel/delete?topic=orders&channel=c", true, 200},
		{"/channel/delete?topic=orders", true, 400},
		{"/channel/pause?topic=orders&channel=c", true, 404},
		{"/topic/delete?topic=never", true, 404},
	} {
		to.unsure = c.unsure
		if r, body := follower.do("POST", c.path, ""); r.StatusCode != c.status || c.status == 200 && body != "" {
			t.Errorf("%s, unsure %v: %d %s", c.path, c.unsure, r.StatusCode, body)
		}
	}
}

// TestActsWaitUntilItIsKnownWhetherATopicIsReplicated: a broker that has just started does not say that there is no such topic.
func TestActsWaitUntilItIsKnownWhetherATopicIsReplicated(t *testing.T) {
	follower, leader, to := pair(t)
	if _, err := leader.broker.registry.Topic("fresh"); err != nil {
		t.Fatal(err)
	}
	to.cluster.unsure = true
	if r, body := follower.do("POST", "/topic/pause?topic=fresh", ""); r.StatusCode != 200 || !leader.broker.registry.Lookup("fresh").Paused() {
		t.Errorf("%d %s", r.StatusCode, body)
	}
	acts := to.acts
	for path, status := range map[string]int{"/topic/pause": 400, "/topic/pause?topic=no+name": 404, "/topic/pause?topic=short%23ephemeral": 404, "/channel/delete?channel=c&topic=": 400} {
		if r, body := follower.do("POST", path, ""); r.StatusCode != status || to.acts != acts {
			t.Errorf("%s can be of no replicated topic: %d %s, asked %d times", path, r.StatusCode, body, to.acts-acts)
		}
	}
	to.before = func() { to.cluster.unsure, to.err = false, topic.ErrNotReplicated } // it becomes known
	if r, body := follower.do("POST", "/topic/pause?topic=other", ""); r.StatusCode != 404 || !strings.Contains(body, "TOPIC_NOT_FOUND") {
		t.Errorf("%d %s", r.StatusCode, body)
	}
	to.before = func() { to.cluster.unsure, to.err = true, topic.ErrElsewhere } // it does not
	to.cluster.unsure = true
	if r, body := follower.do("POST", "/topic/pause?topic=other", ""); r.StatusCode != 503 || !strings.Contains(body, "NOT_LEADER") {
		t.Errorf("%d %s", r.StatusCode, body)
	}
}

// TestPublishesToATopicThatAnotherBrokerLeads: they go there with what they say, and are answered with what they became; what cannot be with a
// replicated topic is refused.
func TestPublishesToATopicThatAnotherBrokerLeads(t *testing.T) {
	follower, _, to := pair(t)
	for _, c := range []struct {
		path, body string
		status     int
		text, sent string
	}{
		{"/pub?topic=orders", "hello", 200, "OK", "orders 1 5 0s"},
		{"/pub?topic=orders&defer=2000", "hello", 200, "OK", "orders 1 5 2s"},
		{"/mpub?topic=orders", "a\nb\n", 200, "OK", "orders 2 2 0s"},
		{"/mpub?topic=orders&answer=id", "a\nb\n", 200, `"positions":[7,8]`, "orders 2 2 0s"},
		{"/pub?topic=orders&durability=fsync&acks=all", "m", 200, "OK", "orders 1 1 0s"},
		{"/pub?topic=orders&ttl=5s", "m", 400, "INVALID_ARG_TTL", ""},
		{"/pub?topic=orders&acks=2", "m", 400, "INVALID_ARG_ACKS", ""},
		{"/pub?topic=orders", "", 400, "MSG_EMPTY", ""},
		{"/pub?topic=mine", "m", 200, "OK", ""},
	} {
		to.sent = nil
		r, body := follower.do("POST", c.path, c.body)
		if r.StatusCode != c.status || !strings.Contains(body, c.text) || strings.Join(to.sent, ",") != c.sent {
			t.Errorf("%s: %d %s, sent %q", c.path, r.StatusCode, body, to.sent)
		}
	}
	for err, want := range map[error]int{topic.ErrElsewhere: 503, topic.ErrNotLeader: 503, topic.ErrReplicated: 400, topic.ErrExiting: 503, topic.ErrNotReplicated: 503} {
		to.err = err
		if r, body := follower.do("POST", "/pub?topic=orders", "m"); r.StatusCode != want {
			t.Errorf("%v: %d %s", err, r.StatusCode, body)
		}
	}
}

// TestStatsOfAFollower: the topic is there by its name and its channels, and has no figures.
func TestStatsOfAFollower(t *testing.T) {
	c := &fakeCluster{followed: []httpapi.Topic{{TopicName: "orders", Channels: []httpapi.Channel{{ChannelName: "c", Paused: true}, {ChannelName: "d"}}}}}
	f := newFixture(t, func(cfg *Config) { cfg.Cluster = c })
	for _, name := range []string{"a", "z"} {
		if _, err := f.broker.registry.Topic(name); err != nil {
			t.Fatal(err)
		}
	}
	for query, want := range map[string]string{
		"": "a,orders follower c d,z", "&topic=orders": "orders follower c d", "&topic=z": "z", "&topic=orders&channel=d": "orders follower d",
		"&channel=d": "orders follower d", "&channel=e": "", "&topic=none": "",
	} {
		c.followed[0].Channels = []httpapi.Channel{{ChannelName: "c", Paused: true}, {ChannelName: "d"}}
		var stats httpapi.Stats
		_, body := f.do("GET", "/stats?format=json"+query, "")
		if err := json.Unmarshal([]byte(body), &stats); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, t := range stats.Topics {
			text := strings.TrimSpace(t.TopicName + " " + t.Role)
			for _, c := range t.Channels {
				text += " " + c.ChannelName
			}
			got = append(got, text)
		}
		if strings.Join(got, ",") != want {
			t.Errorf("%q: %q, want %q", query, got, want)
		}
	}
	if r, body := f.do("GET", "/stats?topic=orders", ""); r.StatusCode != http.StatusOK || !strings.Contains(body, "[orders ") {
		t.Errorf("as text: %d %s", r.StatusCode, body)
	}
}

// TestWhatIsAnsweredOverAnotherBrokerIsAsThere: bytes, and what is said of them; too long an answer is refused, and what this broker does not show
// others do not show over it.
func TestWhatIsAnsweredOverAnotherBrokerIsAsThere(t *testing.T) {
	a := &api{cfg: Config{}, acts: map[string]httpapi.HandlerFunc{}}
	long := false
	a.acts["GET /raw"] = func(w http.ResponseWriter, _ *http.Request, _ httprouter.Params) (any, error) {
		w.Header().Set("Brokerd-Next", "7")
		if long {
			return make([]byte, mostAnswer), nil
		}
		return []byte{0, 255}, nil
	}
	var out acted
	raw := func() []byte { answer, _ := a.actHere([]byte(`{"route":"GET /raw"}`)); return answer }
	if err := json.Unmarshal(raw(), &out); err != nil || out.Code != 200 || string(out.Bytes) != "\x00\xff" ||
		out.Header.Get("Brokerd-Next") != "7" {
		t.Errorf("%+v, %v", out, err)
	}
	long, out = true, acted{}
	if err := json.Unmarshal(raw(), &out); err != nil || out.Code != 400 || !strings.Contains(out.Text, "MAX_BYTES") {
		t.Errorf("a long one: %+v, %v", out, err)
	}
	follower, leader, to := pair(t)
	if _, err := leader.broker.registry.Topic("orders"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		hides bool
		want  int
	}{{false, 400}, {true, 403}} { // there it has no log
		f := follower
		if c.hides {
			f = newFixture(t, func(cfg *Config) {
				cfg.Cluster, cfg.Forward, cfg.HideMessages = &fakeCluster{}, to, true
			})
		}
		if r, body := f.do("GET", "/topic/messages?topic=orders", ""); r.StatusCode != c.want {
			t.Errorf("hidden %v: %d %s", c.hides, r.StatusCode, body)
		}
	}
}
