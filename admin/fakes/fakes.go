package fakes

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"brokerd/protocol/httpapi"
)

// daemon is what brokers and lookups have in common.
type daemon struct {
	server *httptest.Server
	closed chan struct{} // lets requests go that hang

	mu     sync.Mutex
	status int           // that every request is answered with; 0 for the right one
	hang   chan struct{} // not nil: requests wait until it is closed
	acts   []string      // POSTs, as "/topic/pause?topic=t", with the body behind a space
	asked  int           // GETs
}

func (d *daemon) start(t testing.TB, h http.HandlerFunc) {
	d.closed = make(chan struct{})
	d.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.intercepted(w, r) {
			return
		}
		h(w, r)
	}))
	t.Cleanup(func() {
		close(d.closed)
		d.server.Close()
	})
}

// intercepted hangs, fails or takes an act down as told.
func (d *daemon) intercepted(w http.ResponseWriter, r *http.Request) bool {
	var body strings.Builder
	if r.Method == http.MethodPost {
		var b [256]byte
		if n, _ := r.Body.Read(b[:]); n > 0 {
			body.WriteString(" " + string(b[:n]))
		}
	}
	d.mu.Lock()
	hang, status := d.hang, d.status
	if r.Method == http.MethodPost {
		d.acts = append(d.acts, r.URL.RequestURI()+body.String())
	} else {
		d.asked++
	}
	d.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-d.closed:
		case <-r.Context().Done():
		}
	}
	if status != 0 {
		httpapi.RespondV1(w, status, map[bool]string{true: "TOPIC_NOT_FOUND", false: "BROKEN"}[status == 404])
		return true
	}
	return false
}

// Address returns host:port.
func (d *daemon) Address() string { return d.server.Listener.Addr().String() }

// Port returns the port.
func (d *daemon) Port() int { return d.server.Listener.Addr().(*net.TCPAddr).Port }

// Fail makes every request answered with a status from now on; 0 ends it.
func (d *daemon) Fail(status int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status = status
}

// Hang makes every request wait from now on, until the returned function is called.
func (d *daemon) Hang() (release func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	hang := make(chan struct{})
	d.hang = hang
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.hang = nil
		close(hang)
	}
}

// Kill closes the daemon's port.
func (d *daemon) Kill() { d.server.Close() }

// Acts returns what the daemon was asked to do, and forgets it.
func (d *daemon) Acts() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	acts := d.acts
	d.acts = nil
	return acts
}

// Asked returns how many questions there were.
func (d *daemon) Asked() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

// Broker is a broker. Its fields are set before anybody asks, or within Change.
type Broker struct {
	daemon
	Info    httpapi.Info
	Stats   httpapi.Stats
	Storage *httpapi.Storage               // nil: it is an nsqd
	Levels  map[string]string              // by topic: what /topic/config tells
	Options map[string]httpapi.OptionValue // what /topic/config and /channel/config tell besides, of whatever is asked for
	Refuse  string                         // with what a POST there is refused; empty: it is taken
	Config  *httpapi.Settings              // what /config tells; nil: it has no such call
	encoded []byte                         // of all of Stats without clients, until the next Change
}

// NewBroker starts a broker without topics, an nsqd.
func NewBroker(t testing.TB, hostname string) *Broker {
	b := &Broker{}
	b.start(t, b.serve)
	b.Info = httpapi.Info{Version: "1.3.0", BroadcastAddress: "127.0.0.1", Hostname: hostname, HTTPPort: b.Port(), TCPPort: b.Port() + 1}
	b.Stats = httpapi.Stats{Version: "1.3.0", Health: "OK", StartTime: 1700000000, Topics: []httpapi.Topic{}}
	return b
}

// Change changes the broker.
func (b *Broker) Change(f func(b *Broker)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(b)
	b.encoded = nil
}

// Node is the broker as lookups tell it.
func (b *Broker) Node() httpapi.Node {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := httpapi.Node{Producer: httpapi.Producer{
		RemoteAddress: "127.0.0.1:" + strconv.Itoa(b.Info.TCPPort), Hostname: b.Info.Hostname, BroadcastAddress: b.Info.BroadcastAddress,
		TCPPort: b.Info.TCPPort, HTTPPort: b.Info.HTTPPort, Version: b.Info.Version,
	}}
	for _, t := range b.Stats.Topics {
		n.Topics, n.Tombstones = append(n.Topics, t.TopicName), append(n.Tombstones, false)
	}
	return n
}

func (b *Broker) serve(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case r.URL.Path == "/info":
		httpapi.RespondV1(w, 200, b.Info)
	case r.URL.Path == "/storage" && b.Storage != nil:
		httpapi.RespondV1(w, 200, b.Storage)
	case strings.HasSuffix(r.URL.Path, "/config") && r.Method == http.MethodPost && b.Options != nil && b.Refuse != "":
		httpapi.RespondV1(w, 400, b.Refuse)
	case r.URL.Path == "/channel/config" && b.Options != nil:
		httpapi.RespondV1(w, 200, httpapi.Options{Options: b.Options})
	case r.URL.Path == "/topic/config" && b.Levels != nil:
		httpapi.RespondV1(w, 200, httpapi.Options{Durability: b.Levels[q.Get("topic")], Options: b.Options})
	case r.URL.Path == "/config" && b.Config != nil:
		httpapi.RespondV1(w, 200, b.Config)
	case r.URL.Path == "/stats":
		b.stats(w, q.Get("topic"), q.Get("channel"), q.Get("include_clients") != "false")
	case r.URL.Path == "/channel/rewind" || r.URL.Path == "/channel/skip":
		httpapi.RespondV1(w, 200, httpapi.Moved{Position: 1, Messages: 3})
	case r.Method == http.MethodPost && r.URL.Path != "/topic/config":
		httpapi.RespondV1(w, 200, nil)
	default:
		httpapi.RespondV1(w, 404, "NOT_FOUND")
	}
}

func (b *Broker) stats(w http.ResponseWriter, topic, channel string, clients bool) {
	if topic == "" && channel == "" && !clients {
		if b.encoded == nil {
			b.encoded = encode(filtered(b.Stats, topic, channel, clients))
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(b.encoded)
		return
	}
	httpapi.RespondV1(w, 200, filtered(b.Stats, topic, channel, clients))
}

func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

// filtered is what a broker tells of s.
func filtered(s httpapi.Stats, topic, channel string, clients bool) httpapi.Stats {
	all := s.Topics
	s.Topics = []httpapi.Topic{}
	for _, t := range all {
		if topic != "" && t.TopicName != topic {
			continue
		}
		t.Channels = slices.DeleteFunc(slices.Clone(t.Channels), func(c httpapi.Channel) bool { return channel != "" && c.ChannelName != channel })
		for i := range t.Channels {
			if !clients {
				t.Channels[i].Clients = nil
			}
		}
		if channel == "" || len(t.Channels) > 0 {
			s.Topics = append(s.Topics, t)
		}
	}
	if !clients {
		s.Producers = nil
	}
	return s
}

// Lookup is a lookup. Its fields are set before anybody asks, or within Change.
type Lookup struct {
	daemon
	Nodes    []httpapi.Node
	Channels map[string][]string // by topic; topics that no node has as well
}

// NewLookup starts a lookup that tells of some brokers.
func NewLookup(t testing.TB, brokers ...*Broker) *Lookup {
	l := &Lookup{Channels: map[string][]string{}}
	for _, b := range brokers {
		l.Nodes = append(l.Nodes, b.Node())
	}
	l.start(t, l.serve)
	return l
}

// Change changes the lookup.
func (l *Lookup) Change(f func(l *Lookup)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(l)
}

func (l *Lookup) serve(w http.ResponseWriter, r *http.Request) {
	topic := r.URL.Query().Get("topic")
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case r.Method == http.MethodPost:
		httpapi.RespondV1(w, 200, nil)
	case r.URL.Path == "/info":
		httpapi.RespondV1(w, 200, httpapi.LookupInfo{Version: "1.3.0"})
	case r.URL.Path == "/nodes":
		httpapi.RespondV1(w, 200, httpapi.Nodes{Producers: l.Nodes})
	case r.URL.Path == "/topics":
		httpapi.RespondV1(w, 200, httpapi.Topics{Topics: l.topics()})
	case r.URL.Path == "/channels":
		httpapi.RespondV1(w, 200, httpapi.Channels{Channels: l.Channels[topic]})
	case r.URL.Path == "/lookup" && slices.Contains(l.topics(), topic):
		answer := httpapi.Lookup{Channels: l.Channels[topic], Producers: []httpapi.Producer{}}
		for _, n := range l.Nodes {
			if i := slices.Index(n.Topics, topic); i >= 0 && !n.Tombstones[i] {
				answer.Producers = append(answer.Producers, n.Producer)
			}
		}
		httpapi.RespondV1(w, 200, answer)
	case r.URL.Path == "/lookup":
		httpapi.RespondV1(w, 404, "TOPIC_NOT_FOUND")
	default:
		httpapi.RespondV1(w, 404, "NOT_FOUND")
	}
}

func (l *Lookup) topics() []string {
	var names []string
	for _, n := range l.Nodes {
		names = append(names, n.Topics...)
	}
	for name := range l.Channels {
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
