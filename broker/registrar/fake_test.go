package registrar

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
	"brokerd/cmd/leaktest"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/lookupwire"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// behaviour is how a fake lookup treats a connection.
type behaviour int

const (
	works      behaviour = iota
	dead                 // refuses connections
	blackHole            // a dial never ends by itself
	silent               // takes connections and never answers
	stops                // answers IDENTIFY, then nothing
	refuses              // IDENTIFY is an error
	babbles              // IDENTIFY's answer is not JSON
	boasts               // announces an answer of 2 GiB
	interrupts           // sends an answer that nobody asked for
)

// fakeLookup is a lookup on net.Pipe connections, to be used inside a synctest bubble.
type fakeLookup struct {
	mu       sync.Mutex
	does     behaviour
	conns    []net.Conn
	dials    []time.Time
	said     []string            // the command lines of the last connection, PING excepted
	pings    []time.Time         // of all connections
	known    map[string]struct{} // "topic" and "topic channel" of the last connection
	identity lookupwire.PeerInfo
}

// network is the fake lookups by address; it is what a Registrar dials.
type network map[string]*fakeLookup

func (n network) dial(ctx context.Context, _, address string) (net.Conn, error) {
	f := n[address]
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dials = append(f.dials, time.Now())
	switch f.does {
	case dead:
		return nil, errors.New("connection refused")
	case blackHole:
		f.mu.Unlock()
		<-ctx.Done()
		f.mu.Lock()
		return nil, ctx.Err()
	}
	here, there := net.Pipe()
	f.conns = append(f.conns, there)
	go f.serve(there, f.does)
	return here, nil
}

// set changes what the lookup does with the next connections, and ends those it has: a restart.
func (f *fakeLookup) set(does behaviour) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.does, f.known = does, nil
	for _, c := range f.conns {
		c.Close()
	}
	f.conns = nil
}

func (f *fakeLookup) serve(conn net.Conn, does behaviour) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	if does == silent {
		io.Copy(io.Discard, r)
		return
	}
	if err := f.welcome(conn, r, does); err != nil {
		return
	}
	if does == stops {
		io.Copy(io.Discard, r)
		return
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		f.take(strings.TrimSuffix(line, "\n"))
		if _, err := conn.Write(lookupwire.AppendReply(nil, lookupwire.ReplyOK)); err != nil {
			return
		}
	}
}

// welcome reads the magic and IDENTIFY and answers.
func (f *fakeLookup) welcome(conn net.Conn, r *bufio.Reader, does behaviour) error {
	head := make([]byte, len(lookupwire.Magic+"IDENTIFY\n")+4)
	if _, err := io.ReadFull(r, head); err != nil {
		return err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[len(head)-4:]))
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	info, err := lookupwire.ParseIdentify(body)
	if err != nil || !bytes.HasPrefix(head, []byte("  V1IDENTIFY\n")) {
		panic(fmt.Sprintf("%q %v", head, err))
	}
	reply := lookupwire.AppendIdentifyReply(nil, lookupwire.LookupInfo{BroadcastAddress: "lookup", HTTPPort: 4161, TCPPort: 4160, Version: "1"})
	switch does {
	case refuses:
		reply = lookupwire.AppendReply(nil, "E_BAD_BODY IDENTIFY missing fields")
	case babbles:
		reply = lookupwire.AppendReply(nil, "what?")
	case boasts:
		reply = []byte{0x7f, 0xff, 0xff, 0xff}
	case interrupts:
		reply = append(reply, lookupwire.AppendReply(nil, "OK")...)
	}
	f.mu.Lock()
	f.identity, f.said, f.known = info, nil, map[string]struct{}{}
	f.mu.Unlock()
	_, err = conn.Write(reply)
	return err
}

// take does what a command says.
func (f *fakeLookup) take(line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if line == lookupwire.Ping {
		f.pings = append(f.pings, time.Now())
		return
	}
	f.said = append(f.said, line)
	word, names, _ := strings.Cut(line, " ")
	topic, _, _ := strings.Cut(names, " ")
	switch word {
	case lookupwire.Register:
		f.known[names], f.known[topic] = struct{}{}, struct{}{}
	case lookupwire.Unregister:
		if _, ok := f.known[names]; !ok {
			panic("unregistered what was never registered: " + line)
		}
		delete(f.known, names)
	default:
		panic("unknown command " + line)
	}
}

func (f *fakeLookup) registered() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Keys(f.known)), ",")
}

func (f *fakeLookup) commands() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.said, ",")
}

func (f *fakeLookup) attempts() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.dials)
}

// world is what the broker has.
type world struct {
	mu     sync.Mutex
	topics map[string][]string
}

func (w *world) source() (list []Topic) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, channels := range w.topics {
		list = append(list, Topic{Name: name, Channels: slices.Clone(channels)})
	}
	return list
}

func (w *world) set(topic string, channels ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.topics[topic] = channels
}

func (w *world) remove(topic string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.topics, topic)
}

// logBuffer is a log that can be read while it is written.
type logBuffer struct{ cmdtest.Screen }

// count returns how many lines hold the text.
func (b *logBuffer) count(text string) (n int) {
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

var testInfo = Info{Version: "1.3.0", TCPPort: 4150, HTTPPort: 4151, Hostname: "host", BroadcastAddress: "10.0.0.1", TopologyZone: "z"}

// rig is a Registrar in a bubble with its lookups.
type rig struct {
	*Registrar
	world world
	net   network
	log   logBuffer
}

// newRig makes fake lookups that do as told, named after what they do, and a Registrar for the given ones, not started.
func newRig(t *testing.T, does map[string]behaviour, addresses ...string) *rig {
	t.Helper()
	g := &rig{world: world{topics: map[string][]string{}}, net: network{}}
	for address, b := range does {
		g.net[address] = &fakeLookup{does: b}
	}
	client := httpapi.NewHTTPClient(httpapi.ClientConfig{ConnectTimeout: time.Second, RequestTimeout: time.Second})
	var err error
	g.Registrar, err = New(Config{
		Addresses: addresses, Source: g.world.source, Info: func() Info { return testInfo }, HTTP: func() *httpapi.HTTPClient { return client },
		Logger: slog.New(slog.NewTextHandler(&g.log, nil)), Dial: g.net.dial,
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// end closes the Registrar and the lookups, so that no goroutine is left in the bubble.
func (g *rig) end() {
	g.Close()
	for _, f := range g.net {
		f.set(dead)
	}
}
