package registrar

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/protocol/lookupwire"
)

const (
	pingInterval = 15 * time.Second
	firstDelay   = 100 * time.Millisecond // before the next attempt; doubled each time
	lastDelay    = 15 * time.Second       // the longest
	steady       = 5 * time.Second        // a connection this long makes the next delay the first again
	coalesce     = time.Millisecond       // the least between two comparisons with the source
	patience     = 3 * time.Second        // how long nobody needs to hear of a lookup that cannot be dialled: it may be starting
)

// errDial is that there was no connection at all.
var errDial = errors.New("dial")

// peer is one lookup and what is done with it.
type peer struct {
	address string
	cfg     *Config
	wake    chan struct{} // holds one notice that the source changed
	tried   chan struct{} // closed once the first attempt has come to something
	stop    context.CancelFunc

	once  sync.Once     // closes tried
	asked atomic.Uint64 // how often changed was called

	mu        sync.Mutex
	info      lookupwire.LookupInfo // what it last said of itself
	known     bool                  // it ever did
	connected bool
	told      uint64        // of asked: what was, when the lookup was told everything
	many      bool          // everything was more than awaitTopics
	news      chan struct{} // closed, and made anew, whenever told or connected changes
}

func newPeer(address string, cfg *Config) *peer {
	return &peer{address: address, cfg: cfg, wake: make(chan struct{}, 1), tried: make(chan struct{}),
		news: make(chan struct{})}
}

func (p *peer) changed() {
	p.asked.Add(1)
	select {
	case p.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// run keeps the lookup told until ctx ends.
func (p *peer) run(ctx context.Context) {
	defer p.decided()
	log := p.cfg.Logger.With("lookup", p.address)
	delay, outage := firstDelay, outage{began: time.Now()}
	for {
		lived, err := p.connect(ctx, log)
		p.decided()
		if ctx.Err() != nil {
			return
		}
		if lived > 0 {
			outage.began, outage.said = time.Now(), ""
		}
		if lived >= steady {
			delay = firstDelay
		}
		outage.report(ctx, log, err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(delay/2 + rand.N(delay/2)):
		}
		delay = min(2*delay, lastDelay)
	}
}

// decided lets go whoever waits for the first attempt.
func (p *peer) decided() { p.once.Do(func() { close(p.tried) }) }

// outage is the time since a lookup was last registered with.
type outage struct {
	began time.Time
	said  string // the reason that was logged last
}

// report logs why a connection ended or did not come about, once for each reason in a row. A lookup that cannot be dialled is given
// some time first: daemons are mostly started together.
func (o *outage) report(ctx context.Context, log *slog.Logger, err error) {
	text := reason(err)
	var refused *lookupwire.Error
	switch {
	case text == o.said || errors.Is(err, errDial) && time.Since(o.began) < patience:
		log.DebugContext(ctx, "still not registered with lookup", "error", err)
		return
	case errors.As(err, &refused):
		log.ErrorContext(ctx, "lookup refused this broker; if that is about IDENTIFY, see --broadcast-address, "+
			"--broadcast-tcp-port and --broadcast-http-port", "error", err)
	default:
		log.WarnContext(ctx, "not registered with lookup, trying again", "error", err)
	}
	o.said = text
}

// reason is an error's text without the port of this side, which is another one each time.
func reason(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}

// connect makes one connection and serves it until it ends. lived is how long it was registered, 0 when it never was.
func (p *peer) connect(ctx context.Context, log *slog.Logger) (lived time.Duration, err error) {
	dialing, cancel := context.WithTimeout(ctx, timeout)
	conn, err := p.dial(dialing)
	cancel()
	if err != nil {
		return 0, err
	}
	l := newLink(conn, log)
	defer l.close()
	defer context.AfterFunc(ctx, l.hangUp)()
	info, err := l.identify(p.cfg.Info())
	if err != nil {
		return 0, fmt.Errorf("IDENTIFY: %w", err)
	}
	began := time.Now()
	p.setConnected(info)
	defer p.setDisconnected()
	log.InfoContext(ctx, "registering with lookup", "version", info.Version)
	err = p.serve(ctx, l)
	return max(1, time.Since(began)), err
}

// dial connects, and shakes hands where TLS is spoken.
func (p *peer) dial(ctx context.Context) (net.Conn, error) {
	conn, err := p.cfg.Dial(ctx, "tcp", p.address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDial, err)
	}
	if p.cfg.TLS == nil {
		return conn, nil
	}
	config := p.cfg.TLS()
	if config.ServerName, _, err = net.SplitHostPort(p.address); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS: %w", errors.Join(err, conn.Close()))
	}
	return secure, nil
}

func (p *peer) setConnected(info lookupwire.LookupInfo) {
	p.mu.Lock()
	p.info, p.known, p.connected = info, true, true
	p.mu.Unlock()
	p.decided()
}

func (p *peer) setDisconnected() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.connected = false
	p.newsLocked()
}

// awaitTopics is how many topics there may be for it to be quick to tell of one more.
const awaitTopics = 1000

// tellTo notes that the lookup has answered to everything that there was when asked was that: so many topics.
func (p *peer) tellTo(asked uint64, topics int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told, p.many = asked, topics > awaitTopics
	p.newsLocked()
}

func (p *peer) newsLocked() {
	close(p.news)
	p.news = make(chan struct{})
}

// await returns once the lookup knows what there is now, or is not connected, or enough is done. Where there are very many topics it
// does not wait: who makes thousands would wait long in all.
func (p *peer) await(enough <-chan struct{}) {
	asked := p.asked.Load()
	for {
		p.mu.Lock()
		behind, news := p.connected && p.told < asked && !p.many, p.news
		p.mu.Unlock()
		if !behind {
			return
		}
		select {
		case <-news:
		case <-enough:
			return
		}
	}
}

// serve keeps an identified connection told until it fails or ctx ends.
func (p *peer) serve(ctx context.Context, l *link) error {
	ping := time.NewTicker(pingInterval)
	defer ping.Stop()
	var told []Topic
	for {
		began := time.Now()
		asked := p.asked.Load()
		want := p.cfg.Source.snapshot()
		if err := diff(told, want, l.send); err != nil {
			return err
		}
		if err := l.flush(); err != nil {
			return err
		}
		told = want
		p.tellTo(asked, len(want))
		// A broker that makes topics by the thousand is compared with its past a few times, not at every one.
		if err := p.idle(ctx, l, ping.C, max(coalesce, 4*time.Since(began))); err != nil {
			return err
		}
	}
}

// idle returns nil once the source has changed, not before pause has passed.
func (p *peer) idle(ctx context.Context, l *link, ping <-chan time.Time, pause time.Duration) error {
	rested := time.NewTimer(pause)
	defer rested.Stop()
	var wake chan struct{}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case reply, ok := <-l.replies:
			return l.unasked(reply, ok)
		case <-ping:
			if err := errors.Join(l.send(lookupwire.AppendPing(nil)), l.flush()); err != nil {
				return fmt.Errorf("PING: %w", err)
			}
		case <-rested.C:
			wake = p.wake
		case <-wake:
			return nil
		}
	}
}
