package cluster

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"brokerd/admin/fakes"
	"brokerd/protocol/httpapi"
)

// TestActsReachWhomTheyConcern: each act goes to the lookups and to the brokers that have the topic, and to nobody else.
func TestActsReachWhomTheyConcern(t *testing.T) {
	a, b, other := fakes.NewBroker(t, "a"), fakes.NewBroker(t, "b"), fakes.NewBroker(t, "other")
	for _, n := range []*fakes.Broker{a, b} {
		n.Stats.Topics = []httpapi.Topic{topic("t", "x", 1, 5)}
	}
	l := fakes.NewLookup(t, a, b, other)
	c := start(t, byLookups(l))
	ctx := t.Context()
	for name, test := range map[string]struct {
		do              func() (*Outcome, error)
		lookup, a, none []string
	}{
		"create topic": {func() (*Outcome, error) { return c.Create(ctx, "t", "") }, []string{"/topic/create?topic=t"}, nil, nil},
		"create channel": {func() (*Outcome, error) { return c.Create(ctx, "t", "x#ephemeral") },
			[]string{"/topic/create?topic=t", "/channel/create?topic=t&channel=x%23ephemeral"}, []string{"/channel/create?topic=t&channel=x%23ephemeral"}, nil},
		"delete topic": {func() (*Outcome, error) { return c.Delete(ctx, "t", "") },
			[]string{"/topic/delete?topic=t"}, []string{"/topic/delete?topic=t"}, nil},
		"delete channel": {func() (*Outcome, error) { return c.Delete(ctx, "t", "x") },
			[]string{"/channel/delete?topic=t&channel=x"}, []string{"/channel/delete?topic=t&channel=x"}, nil},
		"empty channel": {func() (*Outcome, error) { return c.Do(ctx, "empty", "t", "x") }, nil, []string{"/channel/empty?topic=t&channel=x"}, nil},
		"pause topic":   {func() (*Outcome, error) { return c.Do(ctx, "pause", "t", "") }, nil, []string{"/topic/pause?topic=t"}, nil},
		"tombstone": {func() (*Outcome, error) { return c.Tombstone(ctx, a.Address(), "t") },
			[]string{"/topic/tombstone?topic=t&node=127.0.0.1%3A" + strings.Split(a.Address(), ":")[1]}, []string{"/topic/delete?topic=t"}, nil},
	} {
		o, err := test.do()
		if err != nil || o.Warning() != "" {
			t.Errorf("%s: %v, warning %q", name, err, o.Warning())
		}
		if got := l.Acts(); !slices.Equal(got, test.lookup) {
			t.Errorf("%s: the lookup was told %v, want %v", name, got, test.lookup)
		}
		if got := a.Acts(); !slices.Equal(got, test.a) {
			t.Errorf("%s: a was told %v, want %v", name, got, test.a)
		}
		if got := other.Acts(); len(got) != 0 {
			t.Errorf("%s: a broker that it does not concern was told %v", name, got)
		}
		b.Acts()
	}
}

// TestOutcomes: failing at every node is an error, at some a warning that names them; not having the thing is neither as long as
// somebody has it.
func TestOutcomes(t *testing.T) {
	a, b := fakes.NewBroker(t, "a"), fakes.NewBroker(t, "b")
	for _, n := range []*fakes.Broker{a, b} {
		n.Stats.Topics = []httpapi.Topic{topic("t", "x", 1, 5)}
	}
	c := start(t, func(cfg *Config) { byLookups(fakes.NewLookup(t, a, b))(cfg); cfg.Interval = time.Hour })
	for _, test := range []struct {
		a, b    int // statuses
		warning string
		err     string
	}{
		{0, 0, "", ""},
		{0, 500, "WARNING: " + b.Address() + ": got response 500", ""},
		{500, 503, "", a.Address() + ": got response 500"},
		{404, 0, "", ""},
		{404, 404, "", ErrNothing.Error()},
		{404, 500, "", "got response 500"},
	} {
		a.Fail(test.a)
		b.Fail(test.b)
		o, err := c.Do(t.Context(), "pause", "t", "x")
		switch {
		case test.err != "":
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%d and %d: error %v, want %s", test.a, test.b, err, test.err)
			}
		case err != nil || !strings.HasPrefix(o.Warning(), test.warning) || test.warning == "" && o.Warning() != "":
			t.Errorf("%d and %d: error %v, warning %q, want %q", test.a, test.b, err, o.Warning(), test.warning)
		}
	}
}

// TestADeadNode: a tombstone for a node that died is set, and the answer says that the node was not reached.
func TestADeadNode(t *testing.T) {
	a := fakes.NewBroker(t, "a")
	a.Stats.Topics = []httpapi.Topic{topic("t", "x", 1, 5)}
	l := fakes.NewLookup(t, a)
	c := start(t, byLookups(l))
	a.Kill()
	o, err := c.Tombstone(t.Context(), a.Address(), "t")
	if err != nil || !strings.Contains(o.Warning(), a.Address()) || len(l.Acts()) != 1 {
		t.Errorf("%v, %+v", err, o)
	}
	if _, err := c.Tombstone(t.Context(), "192.0.2.1:80", "t"); !errors.Is(err, ErrUnknownNode) {
		t.Errorf("an address that is no node of the cluster: %v", err)
	}
}

// TestNothingIsDeletedBlindly: when no lookup answers and nobody is known to have a topic, nothing is deleted anywhere.
func TestNothingIsDeletedBlindly(t *testing.T) {
	a := fakes.NewBroker(t, "a")
	l := fakes.NewLookup(t, a)
	c := start(t, byLookups(l))
	l.Fail(500)
	if _, err := c.Delete(t.Context(), "t", ""); err == nil {
		t.Error("no error")
	}
	if acts := slices.Concat(a.Acts(), l.Acts()); len(acts) != 0 {
		t.Errorf("told %v", acts)
	}
}

// TestPublish: a test message goes to the named node, or to a healthy one that has the topic, or to any.
func TestPublish(t *testing.T) {
	a, b := fakes.NewBroker(t, "a"), fakes.NewBroker(t, "b")
	b.Stats.Topics = []httpapi.Topic{topic("t", "x", 1, 5)}
	c := start(t, byLookups(fakes.NewLookup(t, a, b)))
	for _, test := range []struct {
		node, topic string
		delay       time.Duration
		to          *fakes.Broker
		act         string
	}{
		{"", "t", 0, b, "/pub?topic=t hello"},
		{"", "u", 0, a, "/pub?topic=u hello"},
		{a.Address(), "t", 1500 * time.Millisecond, a, "/pub?topic=t&defer=1500 hello"},
	} {
		node, err := c.Publish(t.Context(), test.node, test.topic, []byte("hello"), test.delay)
		if err != nil || node != test.to.Address() {
			t.Errorf("%+v went to %s, %v", test, node, err)
		}
		if acts := test.to.Acts(); !slices.Equal(acts, []string{test.act}) {
			t.Errorf("%s was told %v, want %s", test.to.Info.Hostname, acts, test.act)
		}
	}
	if _, err := c.Publish(t.Context(), "192.0.2.1:80", "t", []byte("x"), 0); !errors.Is(err, ErrUnknownNode) {
		t.Errorf("to a node that is not of the cluster: %v", err)
	}
	b.Change(func(b *fakes.Broker) { b.Stats.Health = "NOK - disk full" })
	await(t, c, "b is not healthy", func(v *View) bool { return !v.Node(b.Address()).Healthy() })
	if node, err := c.Publish(t.Context(), "", "t", []byte("x"), 0); err != nil || node != a.Address() {
		t.Errorf("with b in trouble it went to %s, %v", node, err)
	}
}

// TestDurability: levels are asked of those that have them.
func TestDurability(t *testing.T) {
	a, b := fakes.NewBroker(t, "a"), fakes.NewBroker(t, "b")
	a.Storage, a.Levels = &httpapi.Storage{}, map[string]string{"t": "fsync"}
	c := start(t, byLookups(fakes.NewLookup(t, a, b)))
	if got := c.Durability(t.Context(), c.View().Nodes, "t"); !slices.Equal(got, []string{"fsync", ""}) {
		t.Errorf("levels %q", got)
	}
}
