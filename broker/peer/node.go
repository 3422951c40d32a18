package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"
)

// Options says who a node is to its peers. Self, Judge and Received are needed.
type Options struct {
	Self   Hello       // who this node is at first, see Become; Lane and Random are filled in
	TLS    *tls.Config // nil: without. Both sides must show a certificate, and versions below 1.3 are refused
	Secret []byte      // what all nodes of the cluster know; nil: nothing

	// Judge is asked about every peer: an error refuses it, with that reason in both logs. What it must keep of the
	// peer it has kept, synced, when it returns.
	Judge func(Hello) error
	// Refused is told of what others refuse this node for; nil: nobody.
	Refused func(*Refusal)
	// Received is told what comes over a lane, in order, by a goroutine of that lane; waiting in it holds up the lane. last says that nothing more was
	// read behind it.
	Received func(folder string, lane Lane, kind Kind, stream uint32, payload []byte, last bool)

	// Asked answers a question; nil: none are. The other may be of any cluster, or of none; Judge has been asked as well.
	Asked func(from Hello, kind Kind, payload []byte) (answer []byte)

	// Ended is told of a connection over which nothing comes any more, for whatever reason, but those that this node has ended or replaced; nil:
	// nobody is. It does not wait.
	Ended func(folder string, lane Lane)

	// Dialer connects to an address; nil: over TCP.
	Dialer func(ctx context.Context, address string) (net.Conn, error)

	BulkRate  int           // bytes a second that are sent over Bulk to one node; 50 MiB, negative: no limit
	Handshake time.Duration // 5 s: what a handshake may take
	Redial    time.Duration // 200 ms: between two tries, up to 16 times that
	Log       *slog.Logger  // nil: nothing is logged

	Skew time.Duration // what tests set the clock by that peers are told of
}

// Node is this node's end of all links. Its methods are safe for concurrent use.
type Node struct {
	o     Options
	ctx   context.Context // ends with Close
	stop  context.CancelFunc
	loops sync.WaitGroup

	mu    sync.Mutex
	self  Hello
	links map[end]*link
	made  uint64            // links that ever were
	conns map[net.Conn]bool // in a handshake; true: somebody else has dialled
	dials map[string]context.CancelFunc
	found map[string]string // folder that answered last, by address

	complaints map[string]bool // reasons for no link that were logged since there was one
}

// end is one lane of a peer.
type end struct {
	folder string
	lane   Lane
}

// ErrInsecure is an address that may not be used without TLS or a secret.
var ErrInsecure = errors.New("without TLS or a secret peers may only be on loopback")

// ErrNoLink is a peer that there is no connection to.
var ErrNoLink = errors.New("there is no link to the peer")

// New returns a node without links. Close ends it.
func New(o Options) (*Node, error) {
	if o.Self.Folder == "" || o.Judge == nil || o.Received == nil {
		return nil, errors.New("a node needs its folder's id, who judges peers and who is told what they say")
	}
	if o.TLS != nil {
		if o.TLS.ClientAuth != tls.RequireAndVerifyClientCert || len(o.TLS.Certificates) == 0 && o.TLS.GetCertificate == nil {
			return nil, errors.New("links between peers need a certificate at both ends, and a CA that has issued them")
		}
		o.TLS = o.TLS.Clone()
		o.TLS.MinVersion = tls.VersionTLS13
	}
	if o.Handshake == 0 {
		o.Handshake = 5 * time.Second
	}
	if o.Redial == 0 {
		o.Redial = 200 * time.Millisecond
	}
	if o.BulkRate == 0 {
		o.BulkRate = 50 << 20
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Dialer == nil {
		d := &net.Dialer{Timeout: o.Handshake}
		o.Dialer = func(ctx context.Context, address string) (net.Conn, error) { return d.DialContext(ctx, "tcp", address) }
	}
	n := &Node{o: o, self: o.Self, links: map[end]*link{}, conns: map[net.Conn]bool{}, dials: map[string]context.CancelFunc{}, found: map[string]string{},
		complaints: map[string]bool{}}
	n.ctx, n.stop = context.WithCancel(context.Background())
	return n, nil
}

// allowed reports whether an address may be used with what is there to tell peers from others.
func (n *Node) allowed(addr net.Addr) error {
	tcp, ok := addr.(*net.TCPAddr)
	if n.o.TLS == nil && len(n.o.Secret) == 0 && ok && !tcp.IP.IsLoopback() {
		return fmt.Errorf("%v: %w", addr, ErrInsecure)
	}
	return nil
}

// Serve takes peers' connections until the listener, or the node, is closed; it closes the listener. It returns
// ErrInsecure at once for an address that may not be used.
func (n *Node) Serve(l net.Listener) error {
	if err := n.allowed(l.Addr()); err != nil {
		l.Close()
		return err
	}
	n.loops.Go(func() {
		defer context.AfterFunc(n.ctx, func() { l.Close() })()
		n.accept(l)
	})
	return nil
}

// How long nothing is accepted after an error that may pass, such as too many open files; it doubles.
const (
	minAcceptRest = 5 * time.Millisecond
	maxAcceptRest = time.Second
)

// accept takes connections until the listener is closed.
func (n *Node) accept(l net.Listener) {
	for rest := minAcceptRest; ; {
		c, err := l.Accept()
		switch {
		case err == nil:
			rest = minAcceptRest
			n.loops.Go(func() { n.talk(c, "", Control) })
			continue
		case n.ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		}
		if rest == minAcceptRest {
			n.o.Log.Error("a peer's connection cannot be taken now", "error", err)
		}
		select {
		case <-time.After(rest):
		case <-n.ctx.Done():
		}
		rest = min(2*rest, maxAcceptRest)
	}
}

// Dial keeps a connection for each lane to the node at an address, until Forget or Close.
func (n *Node) Dial(address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dials[address] != nil || n.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(n.ctx)
	n.dials[address] = cancel
	for lane := range Ask {
		n.loops.Go(func() { n.keep(ctx, address, lane) })
	}
}

// Forget ends what Dial has begun. Connections go on until they break.
func (n *Node) Forget(address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if cancel := n.dials[address]; cancel != nil {
		cancel()
		delete(n.dials, address)
	}
}

// keep dials again and again.
func (n *Node) keep(ctx context.Context, address string, lane Lane) {
	pause := n.o.Redial
	for ctx.Err() == nil {
		began := time.Now()
		if l := n.linkAt(address, lane); l != nil { // the other has dialled
			select {
			case <-ctx.Done():
			case <-l.gone:
			}
			continue
		}
		c, err := n.o.Dialer(ctx, address)
		if err == nil {
			err = n.allowed(c.RemoteAddr())
			if err != nil {
				c.Close()
				n.o.Log.Error("a peer cannot be used", "address", address, "error", err)
			} else {
				n.talk(c, address, lane)
			}
		}
		if pause = min(2*pause, 16*n.o.Redial); time.Since(began) > silence {
			pause = n.o.Redial
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// talk makes sure of who is at the other end of a connection, and is its link until it ends. address is where it was
// dialled; empty: it was accepted.
func (n *Node) talk(c net.Conn, address string, lane Lane) {
	defer c.Close()
	dials := address != ""
	own, ok := n.enter(c, dials)
	if !ok {
		return
	}
	if n.o.TLS != nil {
		c = n.secure(c, address)
	}
	own.Lane = lane
	other, err := handshake(c, dials, own, n.o.Secret, n.judge, n.o.Handshake)
	if err == nil && other.Lane == Ask {
		n.answer(c, other)
		n.leave(c, "", "")
		return
	}
	n.leave(c, address, other.Folder)
	if !dials && errors.Is(err, io.EOF) && other.Folder == "" {
		return // it was only looked whether somebody listens
	}
	if err != nil {
		var r *Refusal
		if errors.As(err, &r) && r.received && n.o.Refused != nil {
			n.o.Refused(r)
		}
		n.complain(c.RemoteAddr(), other, err)
		return
	}
	l := newLink(c, other, dials == (own.Folder < other.Folder))
	l.skew = n.o.Skew
	if other.Lane == Bulk {
		l.rate = max(0, n.o.BulkRate)
	}
	if !n.add(l, &own) {
		l.close()
		return
	}
	n.mu.Lock()
	clear(n.complaints)
	n.mu.Unlock()
	n.o.Log.Info("link to a peer", "peer", other.Name, "folder", other.Folder, "lane", other.Lane.String())
	err = l.run(func(kind Kind, stream uint32, payload []byte, last bool) {
		n.o.Received(other.Folder, other.Lane, kind, stream, payload, last)
	})
	was := n.remove(l)
	close(l.gone)
	if was && n.o.Ended != nil && n.ctx.Err() == nil {
		n.o.Ended(other.Folder, other.Lane)
	}
	if n.ctx.Err() == nil {
		n.o.Log.Info("the link to a peer has ended", "peer", other.Name, "lane", other.Lane.String(), "why", err)
	}
}

// complain logs why there is no link to a peer, once for each reason until there is a link again: it is tried again and again.
func (n *Node) complain(addr net.Addr, other Hello, err error) {
	host, _, _ := net.SplitHostPort(addr.String())
	text := host + " " + other.Folder + " " + err.Error()
	n.mu.Lock()
	known := n.complaints[text] || len(n.complaints) >= maxComplaints // what strangers say may be something else each time
	if !known {
		n.complaints[text] = true
	}
	n.mu.Unlock()
	if !known && n.ctx.Err() == nil {
		n.o.Log.Warn("no link to a peer", "address", addr.String(), "peer", other.Name, "folder", other.Folder, "lane", other.Lane.String(), "error", err)
	}
}

// maxComplaints bounds what is remembered of reasons, and logged while there is no link.
const maxComplaints = 1000

// secure speaks TLS with who was dialled at an address, whose name the certificate must have, or has dialled.
func (n *Node) secure(c net.Conn, address string) net.Conn {
	if address == "" {
		return tls.Server(c, n.o.TLS)
	}
	conf := n.o.TLS.Clone()
	if host, _, err := net.SplitHostPort(address); err == nil && conf.ServerName == "" {
		conf.ServerName = host
	}
	return tls.Client(c, conf)
}

// judge refuses what needs no asking, and asks.
func (n *Node) judge(h Hello) error {
	n.mu.Lock()
	self := n.self
	switch {
	case h.Folder == self.Folder:
		n.mu.Unlock()
		return fmt.Errorf("%w: it has this node's folder, or is this node", ErrRefused)
	case h.Cluster != self.Cluster && h.Lane != Ask:
		n.mu.Unlock()
		return fmt.Errorf("%w: it is of cluster %q, and this node of %q", ErrRefused, h.Cluster, self.Cluster)
	}
	for at, l := range n.links {
		if at.folder == h.Folder && (l.other.Starts != h.Starts || l.other.Nonce != h.Nonce) && h.Starts <= l.other.Starts {
			n.mu.Unlock()
			return fmt.Errorf("%w: another process with the same folder is connected", ErrRefused)
		}
	}
	n.mu.Unlock()
	if err := n.o.Judge(h); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil
}

// enter notes a connection, so that Close can end it, and returns who this node is; false: it is to be closed.
func (n *Node) enter(c net.Conn, dials bool) (own Hello, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx.Err() != nil || !dials && n.crowdedLocked(c) {
		return own, false
	}
	n.conns[c] = !dials
	return n.self, true
}

// How many connections may be in a handshake, or in a question, for more to be taken: nobody knows yet whose they are.
const (
	maxHandshakes     = 256
	maxHandshakesHost = maxHandshakes / 4 // of one host
)

// crowdedLocked reports whether too many connections that others have dialled are in a handshake.
func (n *Node) crowdedLocked(c net.Conn) bool {
	host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
	all, same := 0, 0
	for other, accepted := range n.conns {
		if !accepted {
			continue
		}
		all++
		if h, _, _ := net.SplitHostPort(other.RemoteAddr().String()); h == host {
			same++
		}
	}
	return all >= maxHandshakes || same >= maxHandshakesHost
}

// leave notes that the handshake of a connection is over, and who was at an address.
func (n *Node) leave(c net.Conn, address, folder string) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, c)
	if address != "" && folder != "" {
		n.found[address] = folder
	}
}

// add makes a link, made as somebody whom this node must still be, the one of its lane, and closes an older one. Of two that were dialled from both sides one stays,
// the same at both ends.
func (n *Node) add(l *link, as *Hello) bool {
	at := end{l.other.Folder, l.other.Lane}
	n.mu.Lock()
	old := n.links[at]
	if n.ctx.Err() != nil || as.Cluster != n.self.Cluster || as.Nonce != n.self.Nonce || old != nil && old.lower && !l.lower && old.other.Starts == l.other.Starts {
		n.mu.Unlock()
		return false
	}
	n.links[at] = l
	n.made++
	l.serial = n.made
	n.mu.Unlock()
	if old != nil {
		old.close()
	}
	return true
}

// linkAt returns the link to who answered at an address last, nil when there is none.
func (n *Node) linkAt(address string, lane Lane) *link {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.links[end{n.found[address], lane}]
}

// remove reports whether the link was still the one of its lane.
func (n *Node) remove(l *link) bool {
	at := end{l.other.Folder, l.other.Lane}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.links[at] != l {
		return false
	}
	delete(n.links, at)
	return true
}

// Refuses reports whether the host of an address says that nobody listens there: it lives, and the process does not. It waits for some
// milliseconds in a network that works, and for within at most.
func (n *Node) Refuses(ctx context.Context, address string, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	c, err := n.o.Dialer(ctx, address)
	if err == nil {
		c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

func (n *Node) link(folder string, lane Lane) (*link, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if l := n.links[end{folder, lane}]; l != nil {
		return l, nil
	}
	return nil, fmt.Errorf("%s, lane %v: %w", folder, lane, ErrNoLink)
}

// Link returns the number of the connection that Send would use, which no other ever has, 0 when there is none. What was sent while it was
// another one may be lost.
func (n *Node) Link(folder string, lane Lane) (serial uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if l := n.links[end{folder, lane}]; l != nil {
		return l.serial
	}
	return 0
}

// Distance returns how far away a peer is.
func (n *Node) Distance(folder string) Distance {
	n.mu.Lock()
	l := n.links[end{folder, Control}]
	n.mu.Unlock()
	if l == nil {
		return Distance{}
	}
	return l.distance()
}

// Peers returns the folders of those that are connected by all lanes.
func (n *Node) Peers() (folders []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for at := range n.links {
		whole := at.lane == Control
		for lane := range Ask {
			whole = whole && n.links[end{at.folder, lane}] != nil
		}
		if whole {
			folders = append(folders, at.folder)
		}
	}
	return folders
}

// Linked returns the folders of those that are connected by any lane.
func (n *Node) Linked() (folders []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	seen := map[string]bool{}
	for at := range n.links {
		if !seen[at.folder] {
			seen[at.folder] = true
			folders = append(folders, at.folder)
		}
	}
	return folders
}

// Become replaces who this node is. All links end, and are made again where they are dialled.
func (n *Node) Become(self Hello) {
	n.mu.Lock()
	n.self = self
	links := n.links
	n.links = map[end]*link{}
	n.mu.Unlock()
	for _, l := range links {
		l.close()
	}
}

// Cut ends the links of a peer, which may dial again.
func (n *Node) Cut(folder string) {
	n.mu.Lock()
	var cut []*link
	for at, l := range n.links {
		if at.folder == folder {
			cut = append(cut, l)
			delete(n.links, at)
		}
	}
	n.mu.Unlock()
	for _, l := range cut {
		l.close()
	}
}

// Close ends all links and waits for what they are doing.
func (n *Node) Close() {
	n.stop()
	n.mu.Lock()
	for c := range n.conns {
		c.Close()
	}
	links := n.links
	n.links = map[end]*link{}
	n.mu.Unlock()
	for _, l := range links {
		l.close()
	}
	n.loops.Wait()
}
