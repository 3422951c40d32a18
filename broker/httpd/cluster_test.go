package httpd

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"brokerd/protocol/httpapi"
)

// fakeCluster does what it is told, and remembers it.
type fakeCluster struct {
	err  error
	done []string
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
		fmt.Errorf("%w: no node is called that", ErrClusterRefused): `409 {"message":"REFUSED: refused: no node is called that"}`,
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
