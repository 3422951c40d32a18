package registry

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"brokerd/protocol/lookupwire"
)

var epoch = time.Unix(1700000000, 0)

func newRegistry() *Registry {
	return New(Config{InactiveTimeout: 5 * time.Minute, TombstoneLifetime: 45 * time.Second}, epoch)
}

func broker(host string) lookupwire.PeerInfo {
	return lookupwire.PeerInfo{BroadcastAddress: host, TCPPort: 4150, HTTPPort: 4151, Version: "1.3.0", Hostname: host}
}

func told(r *Registry, topic string, now time.Time) []string {
	_, peers, ok := r.Lookup(topic, now)
	if !ok {
		return []string{"unknown"}
	}
	return remotes(peers)
}

func expect(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// An operator deletes a topic: first here, then on each broker. Whatever the brokers say in between, the topic is away and
// stays away, until one of them is given a message for it again.
func TestDeletedTopicDoesNotComeBackByItself(t *testing.T) {
	for _, between := range []struct {
		name string
		does func(r *Registry, p *Peer, now time.Time) *Peer
	}{
		{"nothing", func(_ *Registry, p *Peer, _ time.Time) *Peer { return p }},
		{"makes a channel", func(r *Registry, p *Peer, now time.Time) *Peer {
			r.Register(p, "t", "late", now)
			return p
		}},
		{"reconnects", func(r *Registry, p *Peer, now time.Time) *Peer {
			r.Leave(p, now)
			p = join(r, "new:1", p.Info(), now)
			r.Register(p, "t", "c", now)
			return p
		}},
		{"reconnects twice", func(r *Registry, p *Peer, now time.Time) *Peer {
			for range 2 {
				r.Leave(p, now)
				p = join(r, "new:1", p.Info(), now)
				r.Register(p, "t", "c", now)
			}
			return p
		}},
	} {
		t.Run(between.name, func(t *testing.T) {
			r, now := newRegistry(), epoch
			p := join(r, "a:1", broker("a"), now)
			r.Register(p, "t", "c", now)
			r.DeleteTopic("t", now)
			now = now.Add(2 * time.Second)
			p = between.does(r, p, now)
			away := func(when string) {
				t.Helper()
				expect(t, when+": lookup", told(r, "t", now), []string{"unknown"})
				expect(t, when+": topics", r.Topics(now), []string{})
				expect(t, when+": channels", r.Channels("t", now), []string{})
				expect(t, when+": node's topics", r.Nodes(now)[0].Topics, []NodeTopic{})
			}
			away("before the broker deletes it")
			for _, c := range []string{"c", "late", ""} {
				r.Unregister(p, "t", c, now)
			}
			away("after")
			now = now.Add(time.Hour)
			r.Ping(p, now)
			away("much later")
			r.Register(p, "t", "", now)
			expect(t, "published to again", told(r, "t", now), []string{p.RemoteAddress()})
		})
	}
}

func TestNewLifeOfADeletedTopicIsToldAtOnce(t *testing.T) {
	r, now := newRegistry(), epoch
	p := join(r, "a:1", broker("a"), now)
	r.Register(p, "t", "c", now)
	r.DeleteTopic("t", now)
	r.Unregister(p, "t", "c", now)
	r.Unregister(p, "t", "", now)
	r.Register(p, "t", "c", now)
	expect(t, "same broker", told(r, "t", now), []string{"a:1"})
	expect(t, "channel", r.Channels("t", now), []string{"c"})

	r.DeleteTopic("t", now)
	q := join(r, "b:1", broker("b"), now)
	r.Register(p, "t", "c", now)
	r.Register(q, "t", "d", now)
	expect(t, "another broker", told(r, "t", now), []string{"b:1"})
	expect(t, "another broker's channels", r.Channels("t", now), []string{"d"})
}

// A broker on which the deletion failed still has messages: it is told again when the tombstone lapses.
func TestBrokerThatKeepsADeletedTopicIsToldAgain(t *testing.T) {
	r, now := newRegistry(), epoch
	p := join(r, "a:1", broker("a"), now)
	r.Register(p, "t", "c", now)
	r.DeleteTopic("t", now)
	r.Register(p, "t", "c", now.Add(time.Second))
	now = now.Add(45*time.Second - 1)
	expect(t, "until then", told(r, "t", now), []string{"unknown"})
	expect(t, "then", told(r, "t", now.Add(1)), []string{"a:1"})
	r.Leave(p, now.Add(1))
	expect(t, "a key that was told outlives its broker", r.Topics(now.Add(1)), []string{"t"})
}

func TestDeletedChannelDoesNotComeBackByItself(t *testing.T) {
	r, now := newRegistry(), epoch
	p := join(r, "a:1", broker("a"), now)
	r.Register(p, "t", "c", now)
	expect(t, "known", r.DeleteChannel("t", "c", now), true)
	r.Leave(p, now)
	p = join(r, "a:2", broker("a"), now)
	r.Register(p, "t", "c", now)
	expect(t, "hidden", r.Channels("t", now), []string{})
	expect(t, "deleted already", r.DeleteChannel("t", "c", now), false)
	expect(t, "topic unharmed", told(r, "t", now), []string{"a:2"})
	r.Unregister(p, "t", "c", now)
	expect(t, "gone", r.Channels("t", now.Add(time.Hour)), []string{})
	r.Register(p, "t", "c", now)
	expect(t, "subscribed to again", r.Channels("t", now), []string{"c"})
}

func TestTombstoneNamesABrokerInAnySpelling(t *testing.T) {
	for _, c := range []struct {
		broadcast, node string
		hides           bool
	}{
		{"host", "host:4151", true},
		{"host", "host:4150", false},
		{"host", "host", false},
		{"10.0.0.1", "10.0.0.1:4151", true},
		{"2001:db8::1", "[2001:db8::1]:4151", true},
		{"2001:db8::1", "2001:db8::1:4151", true},
		{"2001:db8::1", "[2001:0DB8:0::1]:4151", true},
		{"[2001:db8::1]", "[2001:db8::1]:4151", true},
		{"fe80::1%eth0", "[fe80::1%eth0]:4151", true},
		{"2001:db8::1", "[2001:db8::2]:4151", false},
	} {
		r := newRegistry()
		p := join(r, "a:1", broker(c.broadcast), epoch)
		r.Register(p, "t", "", epoch)
		r.Register(p, "other", "", epoch)
		hidden := r.Tombstone("t", c.node, epoch) == 1
		_, peers, _ := r.Lookup("t", epoch)
		if hidden != c.hides || (len(peers) == 0) != c.hides {
			t.Errorf("%s as %s: hidden %v, told %d", c.broadcast, c.node, hidden, len(peers))
		}
		expect(t, "other topic", told(r, "other", epoch), []string{"a:1"})
	}
}

func TestTombstoneStaysWithABrokerThatReconnects(t *testing.T) {
	r, now := newRegistry(), epoch
	p := join(r, "a:1", broker("a"), now)
	r.Register(p, "t", "", now)
	r.Tombstone("t", "a:4151", now)
	r.Leave(p, now.Add(time.Second))
	p = join(r, "a:2", broker("a"), now.Add(2*time.Second))
	r.Register(p, "t", "", now.Add(2*time.Second))
	expect(t, "within", told(r, "t", now.Add(44*time.Second)), remotes(nil))
	expect(t, "node's topics", r.Nodes(now.Add(44 * time.Second))[0].Topics, []NodeTopic{{"t", true}})
	expect(t, "lapsed", told(r, "t", now.Add(45*time.Second)), []string{"a:2"})
}

func TestEphemeralKeysGoWithTheirLastBroker(t *testing.T) {
	for name, goes := range map[string]func(*Registry, *Peer){
		"unregister topic": func(r *Registry, p *Peer) { r.Unregister(p, "t", "", epoch); r.Unregister(p, "e#ephemeral", "", epoch) },
		"disconnect":       func(r *Registry, p *Peer) { r.Leave(p, epoch) },
	} {
		r := newRegistry()
		p, q := join(r, "a:1", broker("a"), epoch), join(r, "b:1", broker("b"), epoch)
		for _, peer := range []*Peer{p, q} {
			r.Register(peer, "t", "c", epoch)
			r.Register(peer, "t", "d#ephemeral", epoch)
			r.Register(peer, "e#ephemeral", "c", epoch)
		}
		goes(r, p)
		expect(t, name+": not the last", r.Channels("t", epoch), []string{"c", "d#ephemeral"})
		expect(t, name+": not the last", r.Topics(epoch), []string{"e#ephemeral", "t"})
		goes(r, q)
		expect(t, name+": the last", r.Channels("t", epoch), []string{"c"})
		expect(t, name+": the last", r.Topics(epoch), []string{"t"})
	}
}

// A broker's dead connection that nobody noticed is not told beside its living one.
func TestBrokerIsToldOnce(t *testing.T) {
	r := newRegistry()
	old := join(r, "a:1", broker("a"), epoch)
	r.Register(old, "t", "", epoch)
	r.Register(old, "only-old", "", epoch)
	live := join(r, "a:2", broker("a"), epoch.Add(time.Minute))
	r.Register(live, "t", "", epoch.Add(time.Minute))
	same := broker("a")
	same.Hostname = "another host behind one name"
	r.Register(join(r, "a:3", same, epoch), "t", "", epoch)
	now := epoch.Add(2 * time.Minute)
	expect(t, "topic", told(r, "t", now), []string{"a:2", "a:3"})
	expect(t, "not registered again yet", told(r, "only-old", now), []string{"a:1"})
	expect(t, "nodes", len(r.Nodes(now)), 2)
	r.Leave(live, now)
	expect(t, "after the young one left", told(r, "t", now), []string{"a:1", "a:3"})
}

func TestPeerThatLeftIsNotListenedTo(t *testing.T) {
	r := newRegistry()
	p := join(r, "a:1", broker("a"), epoch)
	r.Leave(p, epoch)
	r.Register(p, "t", "c", epoch)
	r.Unregister(p, "t", "", epoch)
	r.Leave(p, epoch)
	expect(t, "topics", r.Topics(epoch), []string{})
	expect(t, "records", len(r.Records()), 0)
}

// Deleting again and again does not fill the memory with tombstones.
func TestLapsedTombstonesAreForgotten(t *testing.T) {
	r, now := newRegistry(), epoch
	p := join(r, "a:1", broker("a"), now)
	for i := range 1000 {
		topic := fmt.Sprint("t", i)
		r.Register(p, topic, "", now)
		r.DeleteTopic(topic, now)
		now = now.Add(time.Second)
	}
	if n := len(r.graves.at); n > 46 || len(r.graves.order) > 46 {
		t.Errorf("%d tombstones remembered, of which 45 still hide", n)
	}
}

func TestPingWaitsForNoLock(t *testing.T) {
	r := newRegistry()
	p := join(r, "a:1", broker("a"), epoch)
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := testing.AllocsPerRun(100, func() { r.Ping(p, epoch.Add(time.Hour)) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if !r.active(p, r.stamp(epoch.Add(time.Hour))) {
		t.Error("not heard")
	}
}

func TestRecordsShowEverything(t *testing.T) {
	r := newRegistry()
	p := join(r, "a:1", broker("a"), epoch)
	r.Register(p, "t", "c", epoch)
	r.Tombstone("t", "a:4151", epoch.Add(time.Second))
	late := epoch.Add(time.Hour)
	expect(t, "inactive", len(r.Nodes(late)), 0)
	var got []string
	for _, rec := range r.Records() {
		got = append(got, fmt.Sprint(rec.Category, rec.Topic, rec.Channel, rec.Tombstoned, rec.TombstonedAt.UnixNano(), rec.LastUpdate.Equal(epoch)))
	}
	slices.Sort(got)
	expect(t, "records", got, []string{
		"channel" + "t" + "c" + "false -6795364578871345152 true",
		"client" + "" + "" + "false -6795364578871345152 true",
		"topic" + "t" + "" + "true 1700000001000000000 true",
	})
}

func join(r *Registry, remote string, info lookupwire.PeerInfo, now time.Time) *Peer {
	p, err := r.Join(remote, info, now)
	if err != nil {
		panic(err) // there is no limit in these tests
	}
	return p
}

// TestTopicsOfDeadBrokersGo: when nobody has had them for long, or sooner when there is no room; not what was made over HTTP, and not what
// a broker has again.
func TestTopicsOfDeadBrokersGo(t *testing.T) {
	now := epoch
	r := New(Config{InactiveTimeout: time.Hour, ForgetAfter: time.Hour, Limits: Limits{Topics: 5}}, now)
	create := func(topic string) error { return r.CreateTopic(topic, now) }
	if err := create("asked"); err != nil {
		t.Fatal(err)
	}
	p := join(r, "a:1", broker("a"), now)
	for _, topic := range []string{"old", "asked", "back"} {
		if err := r.Register(p, topic, "c", now); err != nil {
			t.Fatal(err)
		}
	}
	r.Leave(p, now)
	now = now.Add(30 * time.Minute)
	p = join(r, "a:2", broker("a"), now)
	if err := r.Register(p, "back", "", now); err != nil {
		t.Fatal(err)
	}
	if got := r.Topics(now); len(got) != 3 {
		t.Errorf("too early: %q", got)
	}
	now = now.Add(31 * time.Minute)
	r.Leave(p, now)
	if got := r.Topics(now); !slices.Equal(got, []string{"asked", "back"}) {
		t.Errorf("after its time: %q", got)
	}
	for _, topic := range []string{"x", "y", "z"} {
		if err := create(topic); err != nil {
			t.Fatal(err)
		}
	}
	if err := create("last"); err != nil {
		t.Errorf("a topic that nobody has did not make room: %v", err)
	}
	if err := create("one too many"); !errors.Is(err, ErrFull) {
		t.Errorf("there was room: %v", err)
	}
	if err := create("x"); err != nil {
		t.Errorf("a topic that is known needs room: %v", err)
	}
	if got := r.Topics(now); !slices.Equal(got, []string{"asked", "last", "x", "y", "z"}) {
		t.Errorf("in the end: %q", got)
	}
}

// TestWhatIsTakenBackIsBounded: a broker that registers and unregisters without end leaves no more than the limits allow, and what nobody has gives
// room to what somebody has.
func TestWhatIsTakenBackIsBounded(t *testing.T) {
	now := epoch
	r := New(Config{InactiveTimeout: time.Hour, ForgetAfter: 24 * time.Hour, Limits: Limits{Topics: 100, Channels: 50, AllChannels: 60}}, now)
	p := join(r, "a:1", broker("a"), now)
	register := func(topic, channel string) error {
		now = now.Add(time.Millisecond)
		return r.Register(p, topic, channel, now)
	}
	unregister := func(topic, channel string) {
		now = now.Add(time.Millisecond)
		r.Unregister(p, topic, channel, now)
	}
	if err := register("first", ""); err != nil {
		t.Fatal(err)
	}
	unregister("first", "") // the oldest orphan, which stays
	for range 10 * fewOrphans {
		if err := register("again", ""); err != nil {
			t.Fatal(err)
		}
		unregister("again", "")
	}
	if got := len(r.orphans); got > 2*len(r.topics)+fewOrphans {
		t.Errorf("%d orphans of %d topics are remembered", got, len(r.topics))
	}
	if got := r.Topics(now); !slices.Equal(got, []string{"again", "first"}) {
		t.Errorf("before the channels: %q", got)
	}
	for i := range 60 {
		topic, channel := fmt.Sprintf("t%d", i/30), fmt.Sprintf("c%d", i)
		if err := register(topic, channel); err != nil {
			t.Fatal(err)
		}
		unregister(topic, channel)
	}
	if err := register("t0", "more"); !errors.Is(err, ErrFull) {
		t.Errorf("a channel too many: %v", err)
	}
	if err := register("new", "c"); !errors.Is(err, ErrFull) {
		t.Errorf("a channel of a new topic: %v", err)
	}
	if err := register("t1", "c59"); err != nil {
		t.Errorf("a channel that is known: %v", err)
	}
	if err := register("new", ""); err != nil {
		t.Errorf("a topic without channels: %v", err)
	}
	unregister("t0", "") // with its 30 channels, an orphan
	if err := register("new", "c"); err != nil {
		t.Errorf("an orphan did not make room: %v", err)
	}
	if got := r.Topics(now); !slices.Equal(got, []string{"new", "t1"}) {
		t.Errorf("in the end: %q", got)
	}
	r.DeleteChannel("t1", "c59", now)
	r.DeleteTopic("t1", now)
	r.Leave(p, now)
	if got := r.Channels("new", now); !slices.Equal(got, []string{"c"}) || r.keys != 1 {
		t.Errorf("%q are left, and %d are counted", got, r.keys)
	}
}
