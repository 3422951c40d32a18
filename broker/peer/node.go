package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Options says who a node is to its peers. Self, Judge and Received are needed.
type Options struct {
	Self   Hello       // who this node is; Lane and Random are filled in
	TLS    *tls.Config // nil: without. Both sides must show a certificate, and versions below 1.3 are refused
	Secret []byte      // what all nodes of the cluster know; nil: nothing

	// Judge is asked about every peer: an error refuses it, with that reason in both logs. What it must keep of the
	// peer it has kept, synced, when it returns.
	Judge func(Hello) error
	// Refused is told of what others refuse this node for; nil: nobody.
	Refused func(*Refusal)
	// Received is told what comes over a lane, in order, by a goroutine of that lane; waiting in it holds up the lane.
	Received func(folder string, lane Lane, kind Kind, stream uint32, payload []byte)

	Handshake time.Duration // 5 s: what a handshake may take
	Redial    time.Duration // 200 ms: between two tries, up to 16 times that
	Log       *slog.Logger  // nil: nothing is logged
}

// Node is this node's end of all links. Its methods are safe for concurrent use.
type Node struct {
	o     Options
	ctx   context.Context // ends with Close
	stop  context.CancelFunc
	loops sync.WaitGroup

	mu    sync.Mutex
	links map[end]*link
	conns map[net.Conn]bool // in a handshake
	dials map[string]context.CancelFunc
	found map[string]string // folder that answered last, by address
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
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	n := &Node{o: o, links: map[end]*link{}, conns: map[net.Conn]bool{}, dials: map[string]context.CancelFunc{}, found: map[string]string{}}
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
		for {
			c, err := l.Accept()
			if err != nil {
				if n.ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
					n.o.Log.Error("peers' connections are not taken any more", "error", err)
				}
				return
			}
			n.loops.Go(func() { n.talk(c, "", Control) })
		}
	})
	return nil
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
	for lane := range lanes {
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
		if n.linked(address, lane) { // the other has dialled
			select {
			case <-ctx.Done():
			case <-time.After(n.o.Redial):
			}
			continue
		}
		c, err := (&net.Dialer{Timeout: n.o.Handshake}).DialContext(ctx, "tcp", address)
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
	if !n.enter(c) {
		return
	}
	if n.o.TLS != nil {
		c = n.secure(c, dials)
	}
	own := n.o.Self
	own.Lane = lane
	other, err := handshake(c, dials, own, n.o.Secret, n.judge, n.o.Handshake)
	n.leave(c, address, other.Folder)
	if err != nil {
		var r *Refusal
		if errors.As(err, &r) && n.o.Refused != nil {
			n.o.Refused(r)
		}
		if n.ctx.Err() == nil {
			n.o.Log.Warn("no link to a peer", "address", c.RemoteAddr().String(), "peer", other.Name, "folder", other.Folder, "lane", other.Lane.String(), "error", err)
		}
		return
	}
	l := newLink(c, other, dials == (n.o.Self.Folder < other.Folder))
	if !n.add(l) {
		l.close()
		return
	}
	n.o.Log.Info("link to a peer", "peer", other.Name, "folder", other.Folder, "lane", other.Lane.String())
	err = l.run(func(kind Kind, stream uint32, payload []byte) {
		n.o.Received(other.Folder, other.Lane, kind, stream, payload)
	})
	n.remove(l)
	if n.ctx.Err() == nil {
		n.o.Log.Info("the link to a peer has ended", "peer", other.Name, "lane", other.Lane.String(), "why", err)
	}
}

func (n *Node) secure(c net.Conn, dials bool) net.Conn {
	if !dials {
		return tls.Server(c, n.o.TLS)
	}
	conf := n.o.TLS.Clone()
	if host, _, err := net.SplitHostPort(c.RemoteAddr().String()); err == nil && conf.ServerName == "" {
		conf.ServerName = host
	}
	return tls.Client(c, conf)
}

// judge refuses what needs no asking, and asks.
func (n *Node) judge(h Hello) error {
	if h.Folder == n.o.Self.Folder {
		return fmt.Errorf("%w: it has this node's folder, or is this node", ErrRefused)
	}
	if h.Cluster != n.o.Self.Cluster {
		return fmt.Errorf("%w: it is of cluster %q, and this node of %q", ErrRefused, h.Cluster, n.o.Self.Cluster)
	}
	n.mu.Lock()
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

// enter notes a connection, so that Close can end it; false: it is closed.
func (n *Node) enter(c net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx.Err() != nil {
		return false
	}
	n.conns[c] = true
	return true
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

// add makes a link the one of its lane, and closes an older one. Of two that were dialled from both sides one stays,
// the same at both ends.
func (n *Node) add(l *link) bool {
	at := end{l.other.Folder, l.other.Lane}
	n.mu.Lock()
	old := n.links[at]
	if n.ctx.Err() != nil || old != nil && old.lower && !l.lower && old.other.Starts == l.other.Starts {
		n.mu.Unlock()
		return false
	}
	n.links[at] = l
	n.mu.Unlock()
	if old != nil {
		old.close()
	}
	return true
}

// linked reports whether there is a link to who answered at an address last.
func (n *Node) linked(address string, lane Lane) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.links[end{n.found[address], lane}] != nil
}

func (n *Node) remove(l *link) {
	at := end{l.other.Folder, l.other.Lane}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.links[at] == l {
		delete(n.links, at)
	}
}

// Send gives a frame to a peer. It waits for nothing. kind must be FirstFree or higher. It returns ErrNoLink,
// ErrFull, or ErrFrame; after nil the frame may still be lost with the connection.
func (n *Node) Send(folder string, lane Lane, kind Kind, stream uint32, payload ...[]byte) error {
	if kind < FirstFree {
		return fmt.Errorf("%w: kind %d is the link's own", ErrFrame, kind)
	}
	n.mu.Lock()
	l := n.links[end{folder, lane}]
	n.mu.Unlock()
	if l == nil {
		return fmt.Errorf("%s, lane %v: %w", folder, lane, ErrNoLink)
	}
	return l.send(kind, stream, payload...)
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

// Peers returns the folders of those that are connected by both lanes.
func (n *Node) Peers() (folders []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for at := range n.links {
		if at.lane == Control && n.links[end{at.folder, Log}] != nil {
			folders = append(folders, at.folder)
		}
	}
	return folders
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
