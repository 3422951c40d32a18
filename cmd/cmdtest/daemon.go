package cmdtest

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"brokerd/protocol/httpapi"
)

// unhurried are flags that leave a lookup or an admin of ours as much time to stop as a busy machine may need; NSQ's take it.
func unhurried(name string) []string {
	if strings.HasPrefix(name, "nsq") {
		return nil
	}
	return []string{"--shutdown-timeout=" + Patience.String()}
}

// NewLookup prepares a lookup: name is lookupd or nsqlookupd.
func NewLookup(t testing.TB, name string) *Process {
	t.Helper()
	tcp, http := FreeAddress(t), FreeAddress(t)
	p := New(t, name, append(unhurried(name), "--tcp-address="+tcp, "--http-address="+http, "--broadcast-address=127.0.0.1")...)
	p.TCP, p.HTTP = tcp, http
	return p
}

// Lookup starts a lookup.
func Lookup(t testing.TB, name string) *Process {
	t.Helper()
	p := NewLookup(t, name)
	p.Start(t)
	return p
}

// NewBroker prepares a broker over a data folder: name is brokerd or nsqd.
func NewBroker(t testing.TB, name, data string, args ...string) *Process {
	t.Helper()
	tcp, http := FreeAddress(t), FreeAddress(t)
	p := New(t, name, append([]string{"--tcp-address=" + tcp, "--http-address=" + http, "--broadcast-address=127.0.0.1",
		"--http-client-connect-timeout=" + Patience.String(), "--http-client-request-timeout=" + Patience.String(), // of asking lookups for channels
		"--data-path=" + data}, args...)...)
	p.TCP, p.HTTP, p.Data = tcp, http, data
	return p
}

// Broker starts a broker over a folder of its own that registers with the lookups.
func Broker(t testing.TB, name string, lookups []*Process, args ...string) *Process {
	t.Helper()
	p := NewBroker(t, name, t.TempDir(), args...)
	for _, lookup := range lookups {
		p.Args = append(p.Args, "--lookupd-tcp-address="+lookup.TCP)
	}
	p.Start(t)
	return p
}

// NewAdmin prepares an admin over the daemons that its flags name: name is admind or nsqadmin.
func NewAdmin(t testing.TB, name string, args ...string) *Process {
	t.Helper()
	http := FreeAddress(t)
	p := New(t, name, slices.Concat(unhurried(name), []string{"--http-address=" + http, "--http-client-connect-timeout=" + Patience.String(),
		"--http-client-request-timeout=" + Patience.String()}, args)...)
	p.HTTP = http
	for _, arg := range args {
		if base, ok := strings.CutPrefix(arg, "--base-path="); ok {
			p.Base = base
		}
	}
	return p
}

// Admin starts an admin.
func Admin(t testing.TB, name string, args ...string) *Process {
	t.Helper()
	p := NewAdmin(t, name, args...)
	p.Start(t)
	return p
}

// Ask asks a daemon, and decodes its answer.
func (p *Process) Ask(t testing.TB, path string, answer any) error {
	return p.client.Get(t.Context(), p.url(path), answer)
}

// Get asks a daemon that must answer, and decodes its answer.
func (p *Process) Get(t testing.TB, path string, answer any) {
	t.Helper()
	if err := p.Ask(t, path, answer); err != nil {
		t.Fatalf("%s %s: %v", p.Label, path, err)
	}
}

// Post sends a daemon something, as JSON unless it is nil.
func (p *Process) Post(t testing.TB, path string, body any) {
	t.Helper()
	if err := p.client.Post(t.Context(), p.url(path), body, nil); err != nil {
		t.Fatalf("%s %s: %v", p.Label, path, err)
	}
}

// Publish posts a message to a broker.
func (p *Process) Publish(t testing.TB, topic, body string) {
	t.Helper()
	if _, err := p.client.PostBytes(t.Context(), p.url("/pub?topic="+url.QueryEscape(topic)), []byte(body)); err != nil {
		t.Fatalf("%s: publishing to %s: %v", p.Label, topic, err)
	}
}

// Create makes a topic on a broker or known to a lookup, and its channels.
func (p *Process) Create(t testing.TB, topic string, channels ...string) {
	t.Helper()
	p.Act(t, "/topic/create", topic, "")
	for _, channel := range channels {
		p.Act(t, "/channel/create", topic, channel)
	}
}

// Act has a daemon do something to a topic, or to a channel when there is one: verb is a route, as in /channel/pause.
func (p *Process) Act(t testing.TB, verb, topic, channel string) {
	t.Helper()
	path := verb + "?topic=" + url.QueryEscape(topic)
	if channel != "" {
		path += "&channel=" + url.QueryEscape(channel)
	}
	p.Post(t, path, nil)
}

// Topic returns a broker's figures of a topic, the zero value when it or the broker is not there.
func (p *Process) Topic(t testing.TB, topic string) httpapi.Topic {
	t.Helper()
	var stats httpapi.Stats
	path := "/stats?format=json&include_mem=false&topic=" + url.QueryEscape(topic)
	if p.Ask(t, path, &stats) != nil || len(stats.Topics) != 1 {
		return httpapi.Topic{}
	}
	return stats.Topics[0]
}

// Channel returns a broker's figures of a channel, the zero value when it or the broker is not there.
func (p *Process) Channel(t testing.TB, topic, channel string) httpapi.Channel {
	t.Helper()
	return ChannelOf(p.Topic(t, topic), channel)
}

// ChannelOf returns a channel's figures of those of its topic, the zero value when it is not there.
func ChannelOf(topic httpapi.Topic, channel string) httpapi.Channel {
	for _, c := range topic.Channels {
		if c.ChannelName == channel {
			return c
		}
	}
	return httpapi.Channel{}
}

// Remote is a process that somebody else has started, at an HTTP address: it can be asked, not ended.
func Remote(t testing.TB, label, address string) *Process {
	t.Helper()
	p := &Process{Name: label, Label: label, HTTP: address,
		client: httpapi.NewHTTPClient(httpapi.ClientConfig{ConnectTimeout: Patience, RequestTimeout: Patience})}
	t.Cleanup(p.client.Close)
	return p
}
