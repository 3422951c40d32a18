package simnet

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Net is a network. Its methods are safe for concurrent use.
type Net struct {
	mu        sync.Mutex
	rng       *rand.Rand
	listeners map[string]*listener // by address
	cut       map[[2]string]bool   // by host, from and to
	some      map[[2]string]func(opening []byte) bool
	down      map[string]bool          // hosts whose process has ended
	paused    map[string]chan struct{} // those whose process stands; closed when it goes on
	observe   func(Sent)
	dark      map[string]bool // those without power
	pairs     map[*pair]bool
	delay     [2]time.Duration // of what is sent, from and to
}

// New returns a network on which nobody listens. How long what is sent takes is drawn from the seed.
func New(seed uint64) *Net {
	return &Net{rng: rand.New(rand.NewPCG(seed, 0x2e7)), listeners: map[string]*listener{}, cut: map[[2]string]bool{}, some: map[[2]string]func([]byte) bool{}, down: map[string]bool{},
		paused: map[string]chan struct{}{}, dark: map[string]bool{}, pairs: map[*pair]bool{},
		delay: [2]time.Duration{50 * time.Microsecond, 500 * time.Microsecond}}
}

// addr is host:port.
type addr string

func (addr) Network() string  { return "sim" }
func (a addr) String() string { return string(a) }

// HostOf returns the host of an address.
func HostOf(address string) string {
	host, _, _ := net.SplitHostPort(address)
	return host
}

// listener takes connections to one address.
type listener struct {
	n       *Net
	address string
	conns   chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

// Listen takes connections to an address that nobody listens on.
func (n *Net) Listen(address string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[address] != nil {
		return nil, &net.OpError{Op: "listen", Net: "sim", Err: syscall.EADDRINUSE}
	}
	l := &listener{n: n, address: address, conns: make(chan net.Conn, 256), closed: make(chan struct{})}
	n.listeners[address] = l
	return l, nil
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		l.n.Stand(HostOf(l.address))
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.n.mu.Lock()
		defer l.n.mu.Unlock()
		if l.n.listeners[l.address] == l {
			delete(l.n.listeners, l.address)
		}
	})
	return nil
}

func (l *listener) Addr() net.Addr { return addr(l.address) }

// DialFrom returns what a host dials with.
func (n *Net) DialFrom(host string) func(ctx context.Context, address string) (net.Conn, error) {
	return func(ctx context.Context, address string) (net.Conn, error) {
		return n.Dial(ctx, host, address)
	}
}

// dialPatience is how long a connection is waited for while a way is cut.
const dialPatience = 5 * time.Second

// Dial connects a host to an address, or fails as TCP does.
func (n *Net) Dial(ctx context.Context, from, address string) (net.Conn, error) {
	to := HostOf(address)
	n.Stand(from)
	for began := time.Now(); ; {
		n.mu.Lock()
		l, down, cut := n.listeners[address], n.down[from], n.cut[[2]string{from, to}] || n.cut[[2]string{to, from}] || n.dark[to]
		n.mu.Unlock()
		switch {
		case down: // what is left of a process that was killed
			return nil, &net.OpError{Op: "dial", Net: "sim", Err: syscall.ENETUNREACH}
		case cut && time.Since(began) > dialPatience:
			return nil, &net.OpError{Op: "dial", Net: "sim", Err: os.ErrDeadlineExceeded}
		case !cut && l == nil:
			return nil, &net.OpError{Op: "dial", Net: "sim", Err: syscall.ECONNREFUSED}
		case !cut:
			p := n.connect(from, to, address)
			select {
			case l.conns <- p.ends[1]:
				return p.ends[0], nil
			default:
				p.reset()
				return nil, &net.OpError{Op: "dial", Net: "sim", Err: syscall.ECONNREFUSED}
			}
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// pair is one connection: two streams.
type pair struct {
	n       *Net
	mu      sync.Mutex
	ends    [2]*conn
	opening []byte // what who has dialled has written first; guarded by mu
}

// conn is one end of it.
type conn struct {
	p             *pair
	other         *conn
	host          string
	local, remote addr

	// Guarded by p.mu.
	in       []chunk   // what the other end has sent
	last     time.Time // when the newest of it is here
	closed   bool      // here
	broken   bool      // reset
	first    bool      // what came during a pause is read before it is seen that the deadline is over
	deadline time.Time // of reads
	changed  chan struct{}
}

// chunk is what was written at a time.
type chunk struct {
	data []byte // none: the other end has said all that it will
	at   time.Time
	held bool // by a process that stands: it has not left it yet
}

func (n *Net) connect(from, to, address string) *pair {
	p := &pair{n: n}
	p.ends[0] = &conn{p: p, host: from, local: addr(from + ":1"), remote: addr(address), changed: make(chan struct{})}
	p.ends[1] = &conn{p: p, host: to, local: addr(address), remote: addr(from + ":1"), changed: make(chan struct{})}
	p.ends[0].other, p.ends[1].other = p.ends[1], p.ends[0]
	n.mu.Lock()
	n.pairs[p] = true
	n.mu.Unlock()
	return p
}

// wakeLocked has whoever waits on either end look again.
func (p *pair) wakeLocked() {
	for _, c := range p.ends {
		close(c.changed)
		c.changed = make(chan struct{})
	}
}

func (p *pair) reset() {
	p.mu.Lock()
	p.ends[0].broken, p.ends[1].broken = true, true
	p.wakeLocked()
	p.mu.Unlock()
	p.n.forget(p)
}

func (n *Net) forget(p *pair) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.pairs, p)
}

func (n *Net) isCut(from, to string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cut[[2]string{from, to}]
}

// isCutFor says what is cut from one host to another: all, or some connections, by how they were opened; nil: none of them.
func (n *Net) isCutFor(from, to string) (all bool, some func(opening []byte) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	way := [2]string{from, to}
	return n.cut[way], n.some[way]
}

// Stands reports whether a host's process does, see Pause.
func (n *Net) Stands(host string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.paused[host] != nil
}

// between returns how long something takes.
func (n *Net) between() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.delay[0] + time.Duration(n.rng.Int64N(int64(n.delay[1]-n.delay[0])+1))
}

func (c *conn) Read(b []byte) (int, error) {
	for {
		cut, some := c.p.n.isCutFor(c.other.host, c.host)
		stands := c.p.n.Stands(c.host)
		c.p.mu.Lock()
		cut = cut || some != nil && some(c.p.opening)
		now := time.Now()
		here := !cut && len(c.in) > 0 && !c.in[0].held && !now.Before(c.in[0].at)
		wait := time.Duration(-1)
		switch {
		case c.closed:
			c.p.mu.Unlock()
			return 0, net.ErrClosed
		case stands:
		case c.broken:
			c.p.mu.Unlock()
			return 0, &net.OpError{Op: "read", Net: "sim", Err: syscall.ECONNRESET}
		case !c.deadline.IsZero() && !now.Before(c.deadline) && !(here && c.first):
			c.p.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case here && len(c.in[0].data) == 0:
			c.p.mu.Unlock()
			return 0, io.EOF
		case here:
			n := copy(b, c.in[0].data)
			if c.in[0].data = c.in[0].data[n:]; len(c.in[0].data) == 0 {
				c.in = c.in[1:]
			}
			c.p.mu.Unlock()
			return n, nil
		case !cut && len(c.in) > 0 && !c.in[0].held:
			wait = c.in[0].at.Sub(now)
		}
		if left := c.deadline.Sub(now); !stands && !c.deadline.IsZero() && (wait < 0 || left < wait) {
			wait = left
		}
		changed := c.changed
		c.p.mu.Unlock()
		var timer <-chan time.Time
		if wait >= 0 {
			timer = time.After(wait)
		}
		select {
		case <-changed:
		case <-timer:
		}
	}
}

// Write never waits: what is on the way is bounded by the test.
func (c *conn) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n := c.p.n
	sent := chunk{append([]byte(nil), b...), time.Now().Add(n.between()), n.Stands(c.host)}
	deaf := n.Stands(c.other.host) // it has not closed anything yet, whatever it does
	c.p.mu.Lock()
	switch {
	case c.closed:
		c.p.mu.Unlock()
		return 0, net.ErrClosed
	case c.broken || c.other.closed && !deaf:
		c.p.mu.Unlock()
		return 0, &net.OpError{Op: "write", Net: "sim", Err: syscall.EPIPE}
	}
	if c == c.p.ends[0] && c.p.opening == nil {
		c.p.opening = sent.data
	}
	opening := c.p.opening
	c.putLocked(sent)
	c.p.mu.Unlock()
	n.mu.Lock()
	observe := n.observe
	n.mu.Unlock()
	if observe != nil {
		observe(Sent{c.host, c.other.host, opening, b})
	}
	return len(b), nil
}

// putLocked has something be on the way to the other end. A stream keeps its order.
func (c *conn) putLocked(sent chunk) {
	o := c.other
	if sent.at.Before(o.last) {
		sent.at = o.last
	}
	o.last = sent.at
	o.in = append(o.in, sent)
	c.p.wakeLocked()
}

func (c *conn) Close() error {
	end := chunk{nil, time.Now(), c.p.n.Stands(c.host)}
	c.p.mu.Lock()
	if c.closed {
		c.p.mu.Unlock()
		return net.ErrClosed
	}
	c.closed = true
	c.putLocked(end)
	both := c.other.closed
	c.p.mu.Unlock()
	if both {
		c.p.n.forget(c.p)
	}
	return nil
}

// CloseWrite ends what this end says.
func (c *conn) CloseWrite() error {
	end := chunk{nil, time.Now(), c.p.n.Stands(c.host)}
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	c.putLocked(end)
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

func (c *conn) SetReadDeadline(t time.Time) error {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	c.deadline, c.first = t, false
	c.p.wakeLocked()
	return nil
}

func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// Cut cuts or mends what goes from one host to another.
func (n *Net) Cut(cut bool, from, to string) {
	n.mu.Lock()
	n.cut[[2]string{from, to}] = cut
	n.mu.Unlock()
	n.wake()
}

// CutSome cuts what goes from one host to another over connections that were opened in some way: by what who has dialled has written first. nil: none is.
func (n *Net) CutSome(which func(opening []byte) bool, from, to string) {
	n.mu.Lock()
	n.some[[2]string{from, to}] = which
	n.mu.Unlock()
	n.wake()
}

// wake has all look again who wait for what comes.
func (n *Net) wake() {
	n.each(func(string, string) bool { return true }, func(p *pair) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.wakeLocked()
	})
}

// Pause has a host's process stand, as by SIGSTOP, or go on. What it writes meanwhile leaves it when it goes on, as if it had been written then; what it
// is sent waits for it, as in the buffers of its system; connections to it are made, and not accepted; and it does not see that a deadline is over. Whether
// it then sees that first, or what has come, is drawn. To stand in all else that it does is for who calls Stand.
func (n *Net) Pause(host string, paused bool) {
	n.mu.Lock()
	was := n.paused[host]
	switch {
	case paused && was == nil:
		n.paused[host] = make(chan struct{})
	case !paused && was != nil:
		delete(n.paused, host)
		close(was)
	}
	n.mu.Unlock()
	if paused || was == nil {
		n.wake()
		return
	}
	n.each(func(a, b string) bool { return a == host || b == host }, func(p *pair) {
		late, first := n.between(), n.between()%2 == 0
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, c := range p.ends {
			if c.host == host {
				c.first = first
				c.releaseLocked(time.Now().Add(late))
			}
		}
		p.wakeLocked()
	})
}

// releaseLocked has what was written while the process stood be at the other end at a moment.
func (c *conn) releaseLocked(at time.Time) {
	o := c.other
	before := time.Time{}
	for i := range o.in {
		in := &o.in[i]
		if in.held {
			in.held, in.at = false, at
		}
		if in.at.Before(before) {
			in.at = before
		}
		before = in.at
	}
	if o.last.Before(before) {
		o.last = before
	}
}

// Stand returns once a host's process does not stand.
func (n *Net) Stand(host string) {
	for {
		n.mu.Lock()
		on := n.paused[host]
		n.mu.Unlock()
		if on == nil {
			return
		}
		<-on
	}
}

// Sent is what a host has written to another one, over a connection that was opened with something. Nothing of it may be changed.
type Sent struct {
	From, To      string
	Opening, Data []byte
}

// Observe has a function called after each write, by the goroutine that does it and under no lock; nil: none is.
func (n *Net) Observe(after func(Sent)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.observe = after
}

// End ends a host's process: what listens there is closed. Those at the other ends are told, as a living system tells them, or hear nothing any
// more, as when the machine has no power.
func (n *Net) End(host string, silent bool) {
	n.mu.Lock()
	n.down[host], n.dark[host] = true, silent
	paused := n.paused[host]
	delete(n.paused, host)
	var listeners []*listener
	for address, l := range n.listeners {
		if HostOf(address) == host {
			listeners = append(listeners, l)
		}
	}
	n.mu.Unlock()
	for _, l := range listeners {
		_ = l.Close()
	}
	n.each(func(a, b string) bool { return a == host || b == host }, (*pair).loseHeld)
	n.each(func(a, b string) bool { return a == host || b == host }, func(p *pair) {
		if !silent && !n.isCut(host, p.ends[0].host) && !n.isCut(host, p.ends[1].host) {
			p.reset()
			return
		}
		p.mu.Lock()
		for _, c := range p.ends {
			if c.host == host {
				c.broken = true
			}
		}
		p.wakeLocked()
		p.mu.Unlock()
	})
	if paused != nil {
		close(paused)
	}
}

// loseHeld loses what a process that stood has not written yet.
func (p *pair) loseHeld() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.ends {
		c.in = slices.DeleteFunc(c.in, func(in chunk) bool { return in.held })
	}
}

// Begin has a host's system run again: it resets the connections of processes that it does not know.
func (n *Net) Begin(host string) {
	n.mu.Lock()
	n.down[host], n.dark[host] = false, false
	n.mu.Unlock()
	n.Pause(host, false)
	n.each(func(a, b string) bool { return a == host || b == host }, (*pair).reset)
}

// Reset resets the connections between some hosts.
func (n *Net) Reset(fits func(a, b string) bool) { n.each(fits, (*pair).reset) }

// SetDelay says how long what is sent takes, from and to, and returns what it was.
func (n *Net) SetDelay(delay [2]time.Duration) (was [2]time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	was, n.delay = n.delay, delay
	return was
}

// each does something to the connections between some hosts.
func (n *Net) each(fits func(a, b string) bool, do func(*pair)) {
	n.mu.Lock()
	var pairs []*pair
	for p := range n.pairs {
		if fits(p.ends[0].host, p.ends[1].host) {
			pairs = append(pairs, p)
		}
	}
	n.mu.Unlock()
	for _, p := range pairs {
		do(p)
	}
}
