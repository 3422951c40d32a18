package httpd

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"brokerd/broker/topic"
	"brokerd/protocol/httpapi"
)

// fakeCluster does what it is told, and remembers it.
type fakeCluster struct {
	err    error
	done   []string
	unsure bool // it is not known which topics are replicated

	followed []httpapi.Topic
	copies   map[string]*topic.Copy
}

func (c *fakeCluster) View(context.Context) httpapi.Cluster {
	return httpapi.Cluster{Name: "prod", State: "member"}
}

func (c *fakeCluster) act(format string, args ...any) error {
	c.done = append(c.done, fmt.Sprintf(format, args...))
	return c.err
}

func (c *fakeCluster) Add(_ context.Context, node string) error { return c.act("add %s", node) }

func (c *fakeCluster) Replace(_ context.Context, old, with string) error {
	return c.act("replace %s with %s", old, with)
}

func (c *fakeCluster) Drain(_ context.Context, node string, on bool) error {
	return c.act("drain %s %v", node, on)
}

func (c *fakeCluster) Remove(_ context.Context, node string) error { return c.act("remove %s", node) }

func (c *fakeCluster) Followed() []httpapi.Topic { return c.followed }

func (c *fakeCluster) DeletedLately(name string) bool { return name == "lately" }

func (c *fakeCluster) CreateTopic(_ context.Context, name string, atLeader bool) error {
	if atLeader {
		return c.act("create %s at its leader", name)
	}
	return c.act("create %s", name)
}

func (c *fakeCluster) DeleteTopic(_ context.Context, name string) error {
	return c.act("delete %s", name)
}

func (c *fakeCluster) AtLeader(name string) bool { return name == "led" }

func (c *fakeCluster) Replicated(name string) bool {
	return name == "orders" || name == "led" || c.Deleting(name)
}

func (c *fakeCluster) MayBeReplicated(name string) bool { return c.unsure || c.Replicated(name) }

func (c *fakeCluster) Deleting(name string) bool { return name == "going" }

func (c *fakeCluster) Copy(name string) *topic.Copy { return c.copies[name] }

func (c *fakeCluster) ReplicasOf(context.Context, string) []string {
	return []string{"b:4170", "c:4170"}
}

func (c *fakeCluster) Well(context.Context) error { return c.err }

func (c *fakeCluster) LeadTo(_ context.Context, node string) error { return c.act("lead to %s", node) }

// TestCluster: each route does its one thing, and says of an error whether something was done.
func TestCluster(t *testing.T) {
	c := &fakeCluster{}
	f := newFixture(t, func(cfg *Config) { cfg.Cluster = c })
	for path, want := range map[string]string{
		"/cluster/add?node=a": "add a", "/cluster/replace?old=a&new=b": "replace a with b", "/cluster/drain?node=a": "drain a true",
		"/cluster/drain?node=a&undo=true": "drain a false", "/cluster/remove?node=a": "remove a", "/cluster/transfer?node=a": "lead to a",
	} {
		c.done = nil
		if r, body := f.do("POST", path, ""); r.StatusCode != 200 || len(c.done) != 1 || c.done[0] != want {
			t.Errorf("%s: %d %s, done %q", path, r.StatusCode, body, c.done)
		}
	}
	for err, want := range map[error]string{
		fmt.Errorf("%w: drain it first", ErrClusterRefused): `409 {"message":"REFUSED: refused: drain it first"}`,
		fmt.Errorf("%w is called that", ErrClusterNoNode):   `404 {"message":"NODE_NOT_FOUND: no node is called that"}`,
		ErrClusterUnknown:          `503 {"message":"UNKNOWN: it is not known whether it was done"}`,
		errors.New("nobody leads"): `503 {"message":"NOT_DONE: nobody leads"}`,
	} {
		c.err = err
		if r, body := f.do("POST", "/cluster/remove?node=a", ""); fmt.Sprint(r.StatusCode, " ", body) != want {
			t.Errorf("%v: %d %s", err, r.StatusCode, body)
		}
	}
	c.err = nil
	if r, body := f.do("GET", "/cluster", ""); r.StatusCode != 200 || len(body) < 20 {
		t.Errorf("%d %s", r.StatusCode, body)
	}
}

// TestReplicatedTopics: they are made and deleted by the cluster; what only their leader can do is refused, not as if there were none.
func TestReplicatedTopics(t *testing.T) {
	c := &fakeCluster{}
	f := newFixture(t, func(cfg *Config) { cfg.Cluster = c })
	for _, r := range []struct {
		method, path string
		status       int
		text, done   string
	}{
		{"POST", "/topic/create?topic=orders&replicas=3", 200, "", "create orders"},
		{"POST", "/topic/create?topic=orders&replicas=3&serve=all", 200, "", "create orders"},
		{"POST", "/topic/create?topic=orders&replicas=3&serve=leader", 409, "REFUSED: the topic is there, and not with serve=leader", ""},
		{"POST", "/topic/create?topic=led&replicas=3&serve=leader", 200, "", "create led at its leader"},
		{"POST", "/topic/create?topic=led&replicas=3", 200, "", "create led"},
		{"POST", "/topic/create?topic=led&replicas=3&serve=all", 409, "REFUSED: the topic is there, and not with serve=all", ""},
		{"POST", "/topic/create?topic=new&replicas=3&serve=leader", 200, "", "create new at its leader"},
		{"POST", "/topic/create?topic=orders&replicas=1", 409, "REFUSED: the topic is there, with 3 replicas", ""},
		{"POST", "/topic/create?topic=orders", 200, "", ""},
		{"POST", "/topic/create?topic=going&replicas=1", 409, "REFUSED: topic going is being deleted", ""},
		{"POST", "/topic/create?topic=going", 409, "REFUSED: topic going is being deleted", ""},
		{"POST", "/topic/delete?topic=going", 200, "", "delete going"},
		{"POST", "/topic/create?topic=single&replicas=1", 200, "", ""},
		{"POST", "/topic/create?topic=orders&replicas=3&serve=some", 400, "INVALID_ARG_SERVE", ""},
		{"POST", "/topic/create?topic=orders&replicas=5", 400, "it must be 1 or 3", ""},
		{"POST", "/topic/create?topic=o%23ephemeral&replicas=3", 400, "an ephemeral topic is on one broker", ""},
		{"POST", "/topic/create?topic=o%20&replicas=3", 400, "INVALID_TOPIC", ""},
		{"POST", "/topic/delete?topic=orders", 200, "", "delete orders"},
		{"POST", "/topic/pause?topic=orders", 503, "NOT_LEADER", ""},
		{"POST", "/channel/create?topic=orders&channel=c", 503, "NOT_LEADER", ""},
		{"POST", "/topic/pause?topic=other", 404, "TOPIC_NOT_FOUND", ""},
		{"GET", "/ping?cluster=true", 200, "OK", ""},
	} {
		c.done = nil
		a, body := f.do(r.method, r.path, "")
		if a.StatusCode != r.status || !strings.Contains(body, r.text) || strings.Join(c.done, ",") != r.done {
			t.Errorf("%s: %d %s, done %q", r.path, a.StatusCode, body, c.done)
		}
	}
	if r, body := f.do("POST", "/pub?topic=full", "m"); r.StatusCode != 200 {
		t.Fatal(body)
	}
	if r, body := f.do("POST", "/topic/create?topic=full&replicas=3", ""); r.StatusCode != 409 || !strings.Contains(body, "REFUSED") {
		t.Errorf("with a topic in the way: %d %s", r.StatusCode, body)
	}
	c.err = errors.New("nobody is known to lead its map")
	if r, body := f.do("GET", "/ping?cluster=true", ""); r.StatusCode != 500 || !strings.Contains(body, "nobody is known to lead") {
		t.Errorf("%d %s", r.StatusCode, body)
	}
	if r, _ := f.do("GET", "/ping", ""); r.StatusCode != 200 {
		t.Errorf("%d without the cluster", r.StatusCode)
	}
}

// TestAReplicatedTopicIsNotAdvisedToKeepMessages: the options for that are refused there.
func TestAReplicatedTopicIsNotAdvisedToKeepMessages(t *testing.T) {
	a := newAPI(Config{Cluster: &fakeCluster{}})
	for name, advised := range map[string]bool{"orders": false, "single": true} {
		err := a.notMoved(httptest.NewRequest("POST", "/channel/rewind?topic="+name, nil), topic.ErrKeepsNothing)
		if text := fmt.Sprint(err); !strings.Contains(text, "NOTHING_KEPT: ") || strings.Contains(text, "retain_time") != advised {
			t.Errorf("%s: %s", name, text)
		}
	}
}
