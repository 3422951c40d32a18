package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"brokerd/admin/fakes"
	"brokerd/cmd/leaktest"
	"brokerd/protocol/httpapi"
)

var now = time.Unix(1700000000, 0)

func TestMain(m *testing.M) { leaktest.Main(m) }

// patience is for daemons of which none hangs.
const patience = 2 * time.Minute

// start runs a Cluster over lookups, or over brokers when there are no lookups, and waits for its first round. A daemon may take as long as it likes for an
// answer: a test that waits for one which hangs never ends.
func start(t *testing.T, change func(*Config)) *Cluster {
	t.Helper()
	cfg := Config{
		HTTP:     httpapi.NewHTTPClient(httpapi.ClientConfig{ConnectTimeout: patience, RequestTimeout: time.Hour}),
		Interval: 20 * time.Millisecond, Patience: patience, Round: patience, Log: slog.New(slog.DiscardHandler),
	}
	change(&cfg)
	c := New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		cfg.HTTP.Close()
	})
	if v := c.Await(ctx); v.Seq == 0 {
		t.Fatal("no first round")
	}
	return c
}

// await waits for a View that is as wanted.
func await(t *testing.T, c *Cluster, what string, ok func(*View) bool) *View {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	for {
		v, next := c.Next()
		if ok(v) {
			return v
		}
		select {
		case <-next:
		case <-deadline:
			t.Fatalf("not within 2 minutes: %s", what)
		}
	}
}

// topic is a topic with one channel, both with a depth and a count.
func topic(name, channel string, depth int64, count uint64) httpapi.Topic {
	return httpapi.Topic{TopicName: name, Depth: depth, MessageCount: count, Channels: []httpapi.Channel{
		{ChannelName: channel, Depth: 10 * depth, MessageCount: count, InFlightCount: 1, RequeueCount: 2, TimeoutCount: 3, ClientCount: 4}}}
}

func byLookups(lookups ...*fakes.Lookup) func(*Config) {
	return func(c *Config) {
		for _, l := range lookups {
			c.Lookups = append(c.Lookups, l.Address())
		}
	}
}

// TestSums: a View has the topics of all brokers, each with what it adds up to, and the topics that only lookups know.
func TestSums(t *testing.T) {
	a, b := fakes.NewBroker(t, "a"), fakes.NewBroker(t, "b")
	a.Stats.Topics = []httpapi.Topic{topic("t", "x", 1, 5), topic("u", "y", 2, 6)}
	b.Stats.Topics = []httpapi.Topic{topic("t", "x", 3, 7)}
	b.Storage = &httpapi.Storage{FreeBytes: 1, TotalBytes: 2}
	l := fakes.NewLookup(t, b, a)
	l.Channels["only-known"] = nil
	c := start(t, byLookups(l))
	v := c.View()
	var names []string
	for _, tp := range v.Topics {
		names = append(names, fmt.Sprintf("%s %d/%d on %d", tp.Name, tp.Sum.Depth, tp.Sum.MessageCount, len(tp.On)))
	}
	if got, want := strings.Join(names, ", "), "only-known 0/0 on 0, t 44/12 on 2, u 22/6 on 1"; got != want {
		t.Errorf("topics %s, want %s", got, want)
	}
	ch := v.Topic("t").Channel("x")
	if f := ch.Sum; len(ch.On) != 2 || f.Depth != 40 || f.InFlight != 2 || f.RequeueCount != 4 || f.TimeoutCount != 6 || f.Clients != 8 || f.MessageCount != 12 {
		t.Errorf("channel x on %d nodes: %+v", len(ch.On), f)
	}
	if v.Nodes[0].Hostname != "a" || v.Nodes[0].IsBroker || !v.Nodes[1].IsBroker || v.Nodes[0].Sum.Depth != 33 || v.Sum.Depth != 66 {
		t.Errorf("nodes %+v, sum %+v", v.Nodes, v.Sum)
	}
	if n := v.Node(a.Address()); n == nil || len(n.Lookups) != 1 || n.Stale || n.Topic("u") == nil || n.Topic("v") != nil {
		t.Errorf("node a is %+v", n)
	}
}

// TestRates: rates come from two answers of the same process, and a counter that went back makes none.
func TestRates(t *testing.T) {
	at := time.Unix(1700000000, 0)
	stats := func(started int64, topics ...httpapi.Topic) httpapi.Stats {
		return httpapi.Stats{StartTime: started, Topics: topics}
	}
	first := digest(nil, stats(1, topic("t", "x", 1, 100), topic("z", "x", 0, 9)), at)
	later := topic("t", "x", 1, 150)
	later.Channels[0].Depth, later.Channels[0].RequeueCount, later.Channels[0].TimeoutCount = 20, 12, 23
	second := digest(first, stats(1, topic("a", "x", 0, 1000), later, topic("z", "x", 0, 3)), at.Add(10*time.Second))
	got := second.topics[1]
	ch := got.Channels[0]
	// 50 came, 10 of them wait: 40 left in 10 seconds.
	if got.RateIn != 5 || ch.RateIn != 5 || ch.RateOut != 4 || ch.RequeueRate != 1 || ch.TimeoutRate != 2 {
		t.Errorf("topic %v, channel in %v out %v requeued %v timed out %v", got.RateIn, ch.RateIn, ch.RateOut, ch.RequeueRate, ch.TimeoutRate)
	}
	if second.topics[0].RateIn != 0 || second.topics[2].RateIn != 0 {
		t.Error("a rate without a past, or of a counter that went back")
	}
	if third := digest(second, stats(2, later), at.Add(20*time.Second)); third.topics[0].RateIn != 0 {
		t.Error("a rate across a restart")
	}
}

// TestAHangingBroker: one broker that hangs delays nobody; its last good answer stays, is marked, and stands in.
func TestAHangingBroker(t *testing.T) {
	a, b := fakes.NewBroker(t, "a"), fakes.NewBroker(t, "b")
	a.Stats.Topics, b.Stats.Topics = []httpapi.Topic{topic("t", "x", 1, 5)}, []httpapi.Topic{topic("t", "x", 3, 7)}
	l := fakes.NewLookup(t, a, b)
	c := start(t, func(cfg *Config) { cfg.Lookups, cfg.Round = []string{l.Address()}, time.Second })
	await(t, c, "both are known", func(v *View) bool {
		of := func(b *fakes.Broker) bool { n := v.Node(b.Address()); return n != nil && n.Known && !n.Stale }
		return of(a) && of(b)
	})
	release := b.Hang()
	v := await(t, c, "b is stale, and a is not", func(v *View) bool { return v.Node(b.Address()).Stale && !v.Node(a.Address()).Stale })
	n := v.Node(b.Address())
	if n.Err == nil || !n.Known || n.Topic("t").Depth != 3 || !v.Topic("t").Stale || v.Topic("t").Sum.Depth != 44 {
		t.Errorf("b is %+v", n)
	}
	answers := c.Ask(t.Context(), v.Nodes, Query{Topic: "t"})
	known, warnings, err := Sift(answers)
	if err != nil || len(known) != 2 || len(warnings) != 1 || !strings.Contains(warnings[0].Error(), b.Address()) {
		t.Errorf("%d known, warnings %v, error %v", len(known), warnings, err)
	}
	if topics := known[1].Stats.Topics; len(topics) != 1 || topics[0].Depth != 3 {
		t.Errorf("b's last answer is %+v", topics)
	}
	release()
	await(t, c, "b is back", func(v *View) bool { n := v.Node(b.Address()); return !n.Stale && n.Err == nil })
}

// TestASlowQuestion: where a last good answer can stand in, a question of the moment is given up soon, even on a broker that
// was fine in the last round.
func TestASlowQuestion(t *testing.T) {
	a := fakes.NewBroker(t, "a")
	a.Stats.Topics = []httpapi.Topic{topic("t", "x", 1, 5)}
	c := start(t, func(cfg *Config) {
		cfg.Brokers, cfg.Interval, cfg.Patience = []string{a.Address()}, time.Hour, 50*time.Millisecond
	})
	nodes := c.View().Nodes
	defer a.Hang()()
	answers := c.Ask(t.Context(), nodes, Query{Topic: "t", Channel: "x", Clients: true})
	if answers[0].Err == nil || !answers[0].Known || len(answers[0].Stats.Topics[0].Channels) != 1 {
		t.Errorf("got %+v", answers[0])
	}
}

// TestFailingLookups: a lookup that fails is a warning while another one answers, and its brokers stay; when all fail it is an
// error for questions, and what was known stays.
func TestFailingLookups(t *testing.T) {
	a := fakes.NewBroker(t, "a")
	a.Stats.Topics = []httpapi.Topic{topic("t", "x", 1, 5)}
	one, other := fakes.NewLookup(t, a), fakes.NewLookup(t, a)
	c := start(t, byLookups(one, other))
	one.Fail(500)
	await(t, c, "one fails", func(v *View) bool { return v.Lookups[0].Err != nil })
	names, warnings, err := c.TopicNames(t.Context())
	if !slices.Equal(names, []string{"t"}) || len(warnings) != 1 || err != nil {
		t.Errorf("topics %v, warnings %v, error %v", names, warnings, err)
	}
	other.Kill()
	v := await(t, c, "both fail", func(v *View) bool { return v.Lookups[1].Err != nil })
	if len(v.Nodes) != 1 || v.Nodes[0].Gone || v.Nodes[0].Stale || v.Topic("t") == nil {
		t.Errorf("nodes %+v", v.Nodes)
	}
	if _, _, err = c.TopicNames(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "failed to query any nsqlookupd: ") {
		t.Errorf("error %v", err)
	}
	if p, err := c.Producers(t.Context(), "t"); err != nil || len(p.Nodes) != 1 || len(p.Warnings) != 1 {
		t.Errorf("producers %+v, error %v", p, err)
	}
}

// TestUnknownIsNoFailure: a lookup that does not know a topic is no reason for a warning.
func TestUnknownIsNoFailure(t *testing.T) {
	a := fakes.NewBroker(t, "a")
	a.Stats.Topics = []httpapi.Topic{topic("t", "x", 1, 5)}
	c := start(t, byLookups(fakes.NewLookup(t, a), fakes.NewLookup(t)))
	if p, err := c.Producers(t.Context(), "t"); err != nil || !p.Known || len(p.Nodes) != 1 || len(p.Warnings) != 0 {
		t.Errorf("producers %+v, error %v", p, err)
	}
	if p, err := c.Producers(t.Context(), "none"); err != nil || p.Known || len(p.Nodes) != 0 {
		t.Errorf("producers of none %+v, error %v", p, err)
	}
}

// TestABrokerOnceSeenIsKeptUntilItIsDismissed: that no lookup names it, and that it does not answer, is no reason to forget it.
func TestABrokerOnceSeenIsKeptUntilItIsDismissed(t *testing.T) {
	a, b := fakes.NewBroker(t, "a"), fakes.NewBroker(t, "b")
	b.Stats.Topics = []httpapi.Topic{topic("t", "x", 1, 5)}
	l := fakes.NewLookup(t, a, b)
	c := start(t, byLookups(l))
	named := b.Node()
	await(t, c, "b has a topic", func(v *View) bool { return v.Topic("t") != nil })
	if err := c.Dismiss(b.Address()); !errors.Is(err, ErrAnswers) {
		t.Errorf("dismissing one that answers: %v", err)
	}
	if err := c.Dismiss("nobody:1"); !errors.Is(err, ErrUnknownNode) {
		t.Errorf("dismissing nobody: %v", err)
	}
	l.Change(func(l *fakes.Lookup) { l.Nodes = l.Nodes[:1] })
	b.Kill()
	v := await(t, c, "b is gone", func(v *View) bool { return v.Node(b.Address()).Gone && v.Node(b.Address()).Stale })
	if v.Node(a.Address()).Gone {
		t.Error("a is gone as well")
	}
	seq := v.Seq
	v = await(t, c, "some rounds later", func(v *View) bool { return v.Seq > seq+20 })
	if n := v.Node(b.Address()); n == nil || n.Sum.Left() != 12 || v.Topic("t") == nil {
		t.Fatalf("what was on it is not shown any more: %+v", n)
	}
	if err := c.Dismiss(b.Address()); err != nil {
		t.Fatal(err)
	}
	v = await(t, c, "b is dismissed", func(v *View) bool { return v.Node(b.Address()) == nil && len(v.Nodes) == 1 })
	if len(v.Kept()) != 1 {
		t.Errorf("kept %+v", v.Kept())
	}
	l.Change(func(l *fakes.Lookup) { l.Nodes = append(l.Nodes, named) })
	await(t, c, "b is named again, and shown", func(v *View) bool { n := v.Node(b.Address()); return n != nil && n.Stale })
}

// TestADismissedBrokerComesBack when it answers again, also one that a lookup named all the time.
func TestADismissedBrokerComesBack(t *testing.T) {
	a := fakes.NewBroker(t, "a")
	c := start(t, byLookups(fakes.NewLookup(t, a)))
	a.Fail(500)
	await(t, c, "a fails", func(v *View) bool { return v.Node(a.Address()).Stale })
	if err := c.Dismiss(a.Address()); err != nil {
		t.Fatal(err)
	}
	v := await(t, c, "a is dismissed", func(v *View) bool { return len(v.Nodes) == 0 })
	await(t, c, "some rounds later it still is", func(w *View) bool { return len(w.Nodes) == 0 && w.Seq > v.Seq+5 })
	a.Fail(0)
	await(t, c, "a is back", func(v *View) bool { n := v.Node(a.Address()); return n != nil && !n.Stale })
}

// TestManyGoneBrokersLeaveRoom: where each start has a new address, those heard of last are kept, and what a lookup names now is asked.
func TestManyGoneBrokersLeaveRoom(t *testing.T) {
	a := fakes.NewBroker(t, "a")
	var kept []Kept
	for i := range maxBrokers {
		kept = append(kept, Kept{Address: fmt.Sprintf("127.0.0.1:%d", i+1), Producer: httpapi.Producer{BroadcastAddress: "127.0.0.1", HTTPPort: i + 1}, At: now.Add(time.Duration(i) * time.Second)})
	}
	l := fakes.NewLookup(t, a)
	c := New(Config{Lookups: []string{l.Address()}, Kept: kept, Log: slog.New(slog.DiscardHandler)})
	c.lists[0].at, c.lists[0].nodes = now, []httpapi.Node{a.Node()}
	for range 2 {
		c.adopt(now)
	}
	if c.nodes[a.Address()] == nil || len(c.nodes) != maxGone+1 || c.nodes[kept[maxBrokers-1].Address] == nil || c.nodes[kept[0].Address] != nil {
		t.Errorf("%d brokers, the new one %v", len(c.nodes), c.nodes[a.Address()])
	}
}

// TestKeptBrokers of an earlier life are stale with what was on them, until they answer; no rates come of what was then. Where brokers are
// listed only those on the list are, and none can be dismissed.
func TestKeptBrokers(t *testing.T) {
	a, b := fakes.NewBroker(t, "a"), fakes.NewBroker(t, "b")
	a.Stats.Topics = []httpapi.Topic{topic("t", "x", 1, 500)}
	dead := httpapi.Producer{BroadcastAddress: "127.0.0.1", Hostname: "dead", HTTPPort: 1, Version: "1.3.0"}
	kept := []Kept{{Address: "127.0.0.1:1", Producer: dead, IsBroker: true, At: time.Now().Add(-time.Hour), Topics: []httpapi.Topic{topic("gone", "x", 3, 9)}},
		{Address: a.Address(), Producer: a.Node().Producer, At: time.Now().Add(-time.Hour), Topics: []httpapi.Topic{topic("t", "x", 1, 1)}}}
	lookup := fakes.NewLookup(t, a)
	c := start(t, func(cfg *Config) { cfg.Lookups, cfg.Kept = []string{lookup.Address()}, kept })
	v := await(t, c, "both are known", func(v *View) bool { n := v.Node(a.Address()); return n != nil && !n.Stale && len(v.Nodes) == 2 })
	if n := v.Node("127.0.0.1:1"); !n.Stale || !n.Gone || !n.Known || !n.MayDismiss() || n.Sum.Left() != 34 || v.Topic("gone") == nil {
		t.Errorf("the dead one %+v", n)
	}
	if n := v.Node(a.Address()); n.Sum.RateIn != 0 || n.Sum.RateOut != 0 {
		t.Errorf("rates of an earlier life: %+v", n.Sum)
	}
	listed := start(t, func(cfg *Config) { cfg.Brokers, cfg.Kept = []string{a.Address(), b.Address()}, kept })
	if v := listed.View(); len(v.Nodes) != 2 || v.Topic("gone") != nil {
		t.Errorf("nodes %+v", v.Nodes)
	}
	if err := listed.Dismiss(a.Address()); !errors.Is(err, ErrListed) {
		t.Errorf("dismissing one of the list: %v", err)
	}
}

// TestSetLookups: other lookups count from the next round on.
func TestSetLookups(t *testing.T) {
	a, b := fakes.NewBroker(t, "a"), fakes.NewBroker(t, "b")
	one, other := fakes.NewLookup(t, a), fakes.NewLookup(t, b)
	c := start(t, byLookups(one))
	for _, wrong := range []string{"", "host", "host:", ":80", "http://host:80"} {
		if c.SetLookups([]string{wrong}) == nil {
			t.Errorf("%q was taken", wrong)
		}
	}
	if err := c.SetLookups([]string{other.Address()}); err != nil {
		t.Fatal(err)
	}
	await(t, c, "b is there", func(v *View) bool { n := v.Node(b.Address()); return n != nil && n.Known })
	if got := c.Lookups(); !slices.Equal(got, []string{other.Address()}) {
		t.Errorf("lookups %v", got)
	}
}

// TestFixedBrokers: without lookups brokers are asked where they were said to be, whatever they broadcast, and are found by both
// addresses.
func TestFixedBrokers(t *testing.T) {
	a := fakes.NewBroker(t, "a")
	a.Info.BroadcastAddress, a.Info.HTTPPort = "behind.a.nat", 4151
	a.Stats.Topics = []httpapi.Topic{topic("t", "x", 1, 5)}
	c := start(t, func(cfg *Config) { cfg.Brokers = []string{a.Address()} })
	v := c.View()
	n := v.Node("behind.a.nat:4151")
	if n == nil || n != v.Node(a.Address()) || n.Address != a.Address() || n.Hostname != "a" || n.Stale {
		t.Fatalf("node %+v", n)
	}
	if o, err := c.Do(t.Context(), "pause", "t", ""); err != nil || o.Warning() != "" {
		t.Errorf("pause: %+v, %v", o, err)
	}
	if acts := a.Acts(); !slices.Equal(acts, []string{"/topic/pause?topic=t"}) {
		t.Errorf("acts %v", acts)
	}
}

// TestFewQuestions: a broker is asked for its disk once, not each round, and one without an answer not again; a lookup is asked
// for its version once.
func TestFewQuestions(t *testing.T) {
	a := fakes.NewBroker(t, "a")
	l := fakes.NewLookup(t, a)
	c := start(t, byLookups(l))
	await(t, c, "20 rounds", func(v *View) bool { return v.Seq > 20 })
	if asked, rounds := a.Asked(), int(c.View().Seq); asked > rounds+4 {
		t.Errorf("%d questions in %d rounds", asked, rounds)
	}
	if asked, rounds := l.Asked(), int(c.View().Seq); asked > 2*rounds+5 {
		t.Errorf("%d questions to the lookup in %d rounds", asked, rounds)
	}
	if v := c.View().Lookups[0].Version; v != "1.3.0" {
		t.Errorf("the lookup's version is %q", v)
	}
}

func TestParseVersion(t *testing.T) {
	for text, want := range map[string][3]int{"1.3.0": {1, 3, 0}, "1.10.2-rc1": {1, 10, 2}, "": {}, "1.2": {}, "a.b.c": {}, "1.-2.3": {}} {
		if got := ParseVersion(text); got != want {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
}
