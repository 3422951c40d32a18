package relay_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/peer"
	"brokerd/broker/relay"
	"brokerd/broker/session"
	"brokerd/broker/topic"
	"brokerd/cmd/leaktest"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/prototest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// world is the nodes of a cluster with one replicated topic, "orders", in a bubble whose time is virtual: each with its topics, relay and sessions.
// Links and the group of replicas are made up: what is appended is committed at once, on all nodes.
type world struct {
	t     *testing.T
	nodes []*node

	mu     sync.Mutex // guards what follows
	next   uint64     // record
	reign  *reign     // of who leads
	serial uint64
	wires  map[[2]*node]*wire
	loops  sync.WaitGroup // of wires
}

// node is one broker.
type node struct {
	w        *world
	name     string
	registry *topic.Registry
	relay    *relay.Relay
	sessions *session.Server
	config   session.Config // of sessions
	standby  *topic.Standby
	led      *topic.Led
	conns    []net.Conn
	serving  sync.WaitGroup

	mu      sync.Mutex
	knows   *node // who leads, as it believes
	outside bool  // it has no replica
	gone    bool  // the topic is deleted, as it knows
	local   bool  // topics that are not there may be made here
	full    bool  // too much waits on its links for more that is not paced
}

// reign is the log of the group for as long as a node leads: a topic.Reign.
type reign struct {
	w        *world
	over     bool
	unleased bool
}

func (r *reign) Append(kind journal.Kind, head, body []byte) journal.Offset {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	if r.over {
		return journal.Offset{}
	}
	data := journal.AppendRecord(journal.AppendFirst(nil, r.w.next), kind, head, body)
	for _, n := range r.w.nodes {
		if err := n.standby.Apply(data); err != nil {
			r.w.t.Error(err)
		}
	}
	r.w.next++
	return journal.Offset{Offset: int64(r.w.next - 1)}
}

func (r *reign) Commit(at journal.Offset, _ bool) error {
	if at == (journal.Offset{}) {
		return topic.ErrNotLeader
	}
	return nil
}

func (r *reign) CommitOwn(at journal.Offset) error { return r.Commit(at, true) }

func (r *reign) Safe(at journal.Offset) bool { return at != (journal.Offset{}) }

func (r *reign) End() journal.Offset {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	return journal.Offset{Offset: int64(r.w.next)}
}

func (r *reign) Leased() bool {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	return !r.over && !r.unleased
}

func (r *reign) Confirm(context.Context) error {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	if r.over {
		return topic.ErrUnconfirmed
	}
	return nil
}

func (r *reign) Err() error  { return nil }
func (r *reign) Gap() error  { return nil }
func (r *reign) Room() error { return nil }

// noLog is a node's log that nothing stands in.
type noLog struct{}

func (noLog) Append(journal.Kind, []byte, []byte) journal.Offset { return journal.Offset{} }
func (noLog) Commit(journal.Offset, bool) error                  { return nil }
func (noLog) End() journal.Offset                                { return journal.Offset{} }
func (noLog) Err() error                                         { return nil }
func (noLog) Gap() error                                         { return nil }

// wire is one direction of a link.
type wire struct {
	serial uint64

	mu     sync.Mutex
	queue  []frame
	bytes  int
	most   int // bytes that ever waited
	held   bool
	closed bool
	room   chan struct{}
	wake   chan struct{}
}

type frame struct {
	kind    peer.Kind
	stream  uint32
	payload []byte
}

const (
	latency = 100 * time.Microsecond
	mostOn  = 1 << 20 // bytes that wait for more that are paced
)

// inBubble has a test run with so many nodes, which know each other, none of which leads.
func inBubble(t *testing.T, count int, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, next: 1, wires: map[[2]*node]*wire{}}
		for i := range count {
			w.nodes = append(w.nodes, w.node(fmt.Sprint("n", i+1)))
		}
		for i, a := range w.nodes {
			for _, b := range w.nodes[:i] {
				w.connect(a, b)
			}
		}
		defer w.end()
		test(w)
	})
}

func (w *world) node(name string) *node {
	n := &node{w: w, name: name, standby: topic.NewStandby()}
	n.registry = topic.NewRegistry(topic.Config{MemQueueSize: 1000, MaxMsgTimeout: 15 * time.Minute, MaxReqTimeout: time.Hour, Journal: noLog{},
		Elsewhere: func(string) error {
			n.mu.Lock()
			defer n.mu.Unlock()
			if n.local {
				return nil
			}
			return topic.ErrElsewhere
		}})
	n.registry.Start()
	n.relay = relay.New(relay.Options{Topics: n.registry, Cluster: n, Node: name, Log: slog.New(slog.NewTextHandler(w.t.Output(), nil)),
		Locality: func(string, string) topic.Locality { return topic.ZoneLocal }})
	n.relay.Start()
	n.config = session.Config{Topics: n.registry, Version: "1.3.0", Relays: relays{n.relay},
		Limits: protocol.IdentifyLimits{MaxHeartbeatInterval: time.Minute, MinOutputBufferTimeout: 25 * time.Millisecond,
			MaxOutputBufferTimeout: 30 * time.Second, MaxOutputBufferSize: 64 << 10, MaxMsgTimeout: 15 * time.Minute},
		MaxMsgSize: 1 << 20, MaxBodySize: 5 << 20, MaxRdyCount: 2500, MaxReqTimeout: time.Hour, MaxDefer: time.Hour, MsgTimeout: time.Minute,
		HeartbeatInterval: 30 * time.Second, OutputBufferTimeout: 250 * time.Millisecond, Deflate: true, Snappy: true, MaxDeflateLevel: 6,
		Log: slog.New(slog.DiscardHandler)}
	n.sessions = session.NewServer(n.config)
	return n
}

// relays is a relay as sessions see it.
type relays struct{ r *relay.Relay }

func (r relays) Consumer(name, channel string, o topic.SubscribeOptions, about httpapi.Client) session.Relayed {
	return r.r.NewConsumer(name, channel, o, about)
}

// connect makes a link between two nodes, with another number than it had.
func (w *world) connect(a, b *node) {
	w.cut(a, b)
	w.mu.Lock()
	w.serial++
	for _, pair := range [][2]*node{{a, b}, {b, a}} {
		wire := &wire{serial: w.serial, wake: make(chan struct{}, 1)}
		w.wires[pair] = wire
		w.loops.Go(func() { wire.run(pair[0], pair[1]) })
	}
	w.mu.Unlock()
}

// cut ends the link between two nodes; what is on its way is lost.
func (w *world) cut(a, b *node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, pair := range [][2]*node{{a, b}, {b, a}} {
		if wire := w.wires[pair]; wire != nil {
			delete(w.wires, pair)
			wire.set(func() { wire.closed = true })
		}
	}
}

// isolate cuts all links of a node.
func (w *world) isolate(n *node) {
	for _, o := range w.nodes {
		if o != n {
			w.cut(n, o)
		}
	}
}

func (w *world) wire(from, to *node) *wire {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wires[[2]*node{from, to}]
}

func (l *wire) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	l.tellLocked()
}

func (l *wire) tellLocked() {
	if l.room != nil {
		close(l.room)
		l.room = nil
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run carries frames.
func (l *wire) run(from, to *node) {
	for {
		l.mu.Lock()
		closed := l.closed
		var out []frame
		if !l.held {
			out = l.queue
			l.queue, l.bytes = nil, 0
			if len(out) > 0 {
				l.tellLocked()
			}
		}
		l.mu.Unlock()
		switch {
		case closed:
			return
		case len(out) == 0:
			<-l.wake
			continue
		}
		time.Sleep(latency)
		for _, f := range out {
			l.mu.Lock()
			closed := l.closed
			l.mu.Unlock()
			if closed {
				return
			}
			to.relay.Received(from.name, f.kind, f.stream, f.payload)
		}
	}
}

func (l *wire) putLocked(kind peer.Kind, stream uint32, payload [][]byte) {
	whole := slices.Concat(payload...)
	l.queue = append(l.queue, frame{kind, stream, whole})
	l.bytes += len(whole)
	l.most = max(l.most, l.bytes)
	l.tellLocked()
}

// pace returns with l.mu held once there is room.
func (l *wire) pace(done <-chan struct{}) error {
	for {
		l.mu.Lock()
		switch {
		case l.closed:
			l.mu.Unlock()
			return net.ErrClosed
		case l.bytes < mostOn:
			return nil
		case l.room == nil:
			l.room = make(chan struct{})
		}
		room := l.room
		l.mu.Unlock()
		select {
		case <-room:
		case <-done:
			return peer.ErrGivenUp
		}
	}
}

func (w *world) called(name string) *node {
	for _, n := range w.nodes {
		if n.name == name {
			return n
		}
	}
	w.t.Fatalf("there is no node %q", name)
	return nil
}

// Lead is relay.Cluster's, as the rest.
func (n *node) Lead(string) relay.Lead {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := relay.Lead{Known: !n.gone, Member: !n.outside}
	for _, o := range n.w.nodes {
		if o != n && !o.outside {
			l.Others = append(l.Others, o.name)
		}
	}
	if n.knows != nil && !n.outside {
		l.Folder, l.Here = n.knows.name, n.knows == n
	}
	return l
}

func (n *node) Link(folder string) uint64 {
	if l := n.w.wire(n, n.w.called(folder)); l != nil {
		return l.serial
	}
	return 0
}

func (n *node) Send(folder string, kind peer.Kind, stream uint32, payload ...[]byte) error {
	l := n.w.wire(n, n.w.called(folder))
	n.mu.Lock()
	full := n.full
	n.mu.Unlock()
	switch {
	case l == nil:
		return peer.ErrNoLink
	case full:
		return peer.ErrFull
	}
	l.set(func() { l.putLocked(kind, stream, payload) })
	return nil
}

func (n *node) SendPaced(done <-chan struct{}, folder string, kind peer.Kind, stream uint32, payload ...[]byte) error {
	l := n.w.wire(n, n.w.called(folder))
	if l == nil {
		return peer.ErrNoLink
	}
	if err := l.pace(done); err != nil {
		return err
	}
	l.putLocked(kind, stream, payload)
	l.mu.Unlock()
	return nil
}

func (n *node) Pace(done <-chan struct{}, folder string) error {
	l := n.w.wire(n, n.w.called(folder))
	if l == nil {
		return peer.ErrNoLink
	}
	err := l.pace(done)
	if err == nil {
		l.mu.Unlock()
	}
	return err
}

// fill says whether the links of a node are full.
func (n *node) fill(full bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.full = full
}

// know says who leads, as some nodes believe; nil: nobody.
func (w *world) know(leader *node, who ...*node) {
	if len(who) == 0 {
		who = w.nodes
	}
	for _, n := range who {
		n.mu.Lock()
		n.knows = leader
		n.mu.Unlock()
	}
}

// endReign has nobody lead: what is appended goes nowhere. The node that led finds that out by drop.
func (w *world) endReign() {
	w.mu.Lock()
	if w.reign != nil {
		w.reign.over = true
	}
	w.mu.Unlock()
	for _, n := range w.nodes {
		n.standby.EndReign()
	}
}

// drop has a node find that it does not lead any more.
func (n *node) drop() {
	if n.led != nil {
		n.led.Drop()
		n.led = nil
	}
}

// lead has a node lead, and all know. Who led before finds out.
func (w *world) lead(n *node) {
	w.t.Helper()
	w.promote(n)
	for _, o := range w.nodes {
		if o != n {
			o.drop()
		}
	}
	w.know(n)
}

// promote has a node lead. Nobody else knows.
func (w *world) promote(n *node) {
	w.t.Helper()
	w.endReign()
	if n.led != nil {
		n.drop()
	}
	r := &reign{w: w}
	w.mu.Lock()
	w.reign = r
	w.mu.Unlock()
	var err error
	if n.led, err = n.registry.Lead(n.standby, r); err != nil {
		w.t.Fatal(err)
	}
	if len(n.standby.Topics()) == 0 {
		if err := n.led.Create(1, "orders"); err != nil {
			w.t.Fatal(err)
		}
	}
	if failed := n.led.Serve(); len(failed) > 0 {
		w.t.Fatal(failed)
	}
}

// kill has a node die: its connections and links end, and it leads no more.
func (w *world) kill(n *node) {
	w.isolate(n)
	if n.led != nil {
		w.endReign()
	}
	for _, c := range n.conns {
		c.Close()
	}
	n.drop()
	for _, o := range w.nodes {
		o.mu.Lock()
		if o.knows == n {
			o.knows = nil
		}
		o.mu.Unlock()
	}
}

func (w *world) end() {
	for _, n := range w.nodes {
		n.relay.Refuse()
		for _, c := range n.conns {
			c.Close()
		}
		err := n.sessions.Close(context.Background())
		n.drop()
		n.serving.Wait()
		w.isolate(n)
		n.relay.Close()
		if err := errors.Join(err, n.registry.Close()); err != nil {
			w.t.Error(err)
		}
	}
	w.loops.Wait()
}

// leader returns the node that leads.
func (w *world) leader() *node {
	for _, n := range w.nodes {
		if n.led != nil {
			return n
		}
	}
	w.t.Fatal("nobody leads")
	return nil
}

// publish publishes at who leads.
func (w *world) publish(bodies ...string) {
	w.t.Helper()
	var b topic.Batch
	for _, body := range bodies {
		b.Add([]byte(body))
	}
	if err := w.leader().registry.Lookup("orders").Publish(&b); err != nil {
		w.t.Fatal(err)
	}
}

// channel returns the figures of channel c at who leads.
func (w *world) channel() topic.ChannelStats {
	w.t.Helper()
	c := w.leader().registry.Lookup("orders").LookupChannel("c")
	if c == nil {
		w.t.Fatal("there is no channel c")
	}
	return c.Stats()
}

// client is a stock consumer: it notes all that it is told.
type client struct {
	*prototest.Client
	w      *world
	closed chan struct{}
	says   chan string // what is to be sent, by a goroutine that nothing else waits for

	mu     sync.Mutex
	got    []prototest.Delivered
	errors []string
	holds  map[string]int // messages that it has and has not answered
	most   int            // that it ever had at once
	answer func(m prototest.Delivered) string
	after  func() time.Duration // how long it takes to answer; nil: no time
}

// dial connects to a node; the client does not read by itself.
func (n *node) dial() *prototest.Client {
	ours, theirs := net.Pipe()
	n.conns = append(n.conns, theirs)
	n.serving.Go(func() {
		if err := n.sessions.Serve(theirs); err != nil {
			fmt.Fprintf(n.w.t.Output(), "%s: a session has ended: %v\n", n.name, err)
		}
	})
	c := prototest.NewClient(n.w.t, ours)
	c.Timeout = 24 * time.Hour
	c.Send(prototest.Magic)
	return c
}

// consume connects to a node, subscribes to channel c with so much credit, and gives each message the answer, "" for none. identify is the body
// of IDENTIFY, "" for none.
func (n *node) consume(rdy int, identify string, answer func(m prototest.Delivered) string) *client {
	n.w.t.Helper()
	return n.consumeFrom("c", rdy, identify, answer)
}

func (n *node) consumeFrom(channel string, rdy int, identify string, answer func(m prototest.Delivered) string) *client {
	n.w.t.Helper()
	c := &client{Client: n.dial(), w: n.w, closed: make(chan struct{}), says: make(chan string, 1<<16), holds: map[string]int{}, answer: answer}
	if identify != "" {
		c.Send("IDENTIFY\n" + prototest.Body(identify))
		c.Expect("OK")
	}
	c.Send("SUB orders " + channel + "\n")
	c.Expect("OK")
	go c.read()
	go c.write()
	c.tell(fmt.Sprintf("RDY %d\n", rdy))
	return c
}

// tell sends a command, behind those before it.
func (c *client) tell(command string) { c.says <- command }

func (c *client) write() {
	for {
		select {
		case text := <-c.says:
			if err := c.Write(text); err != nil && !errors.Is(err, io.ErrClosedPipe) && !errors.Is(err, net.ErrClosed) {
				c.w.t.Error(err)
			}
		case <-c.closed:
			return
		}
	}
}

// read notes what comes, and answers.
func (c *client) read() {
	defer close(c.closed)
	for {
		f, err := c.ReadAny()
		if err != nil {
			return
		}
		switch {
		case f.Type == prototest.Response && string(f.Payload) == protocol.Heartbeat:
			c.tell("NOP\n")
		case f.Type == prototest.Error:
			c.mu.Lock()
			c.errors = append(c.errors, string(f.Payload))
			c.mu.Unlock()
		case f.Type == prototest.Message:
			c.take(f.Message())
		}
	}
}

func (c *client) take(m prototest.Delivered) {
	c.mu.Lock()
	c.got = append(c.got, m)
	c.holds[m.ID]++
	held := 0
	for _, n := range c.holds {
		held += n
	}
	c.most = max(c.most, held)
	answer := ""
	if c.answer != nil {
		answer = c.answer(m)
	}
	after := c.after
	c.mu.Unlock()
	switch {
	case answer == "":
	case after == nil:
		c.say(answer, m.ID)
	default:
		time.AfterFunc(after(), func() { c.say(answer, m.ID) })
	}
}

// say answers a message: FIN, REQ or TOUCH.
func (c *client) say(verb, id string) {
	text := verb + " " + id
	if verb == "REQ" {
		text += " 0"
	}
	if verb != "TOUCH" {
		c.mu.Lock()
		if c.holds[id]--; c.holds[id] <= 0 {
			delete(c.holds, id)
		}
		c.mu.Unlock()
	}
	c.tell(text + "\n")
}

// bodies returns the bodies that came, with the attempt of each, in their order.
func (c *client) bodies() (list []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.got {
		list = append(list, fmt.Sprintf("%s/%d", m.Body, m.Attempts))
	}
	return list
}

// id returns the id of the newest message with a body.
func (c *client) id(body string) (id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.got {
		if string(m.Body) == body {
			id = m.ID
		}
	}
	if id == "" {
		c.w.t.Errorf("%q has not come", body)
	}
	return id
}

func (c *client) told() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.errors)
}

// left reports whether the broker has closed the connection.
func (c *client) left() bool {
	synctest.Wait()
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

// fin answers each message with FIN.
func fin(prototest.Delivered) string { return "FIN" }

// settle waits until all is done that takes less than a heartbeat.
func settle() {
	time.Sleep(300 * time.Millisecond)
	synctest.Wait()
}
