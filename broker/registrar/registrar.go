package registrar

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"brokerd/protocol/httpapi"
	"brokerd/protocol/lookupwire"
)

// Info is what the lookups are told of this broker: the addresses and ports that consumers are to use.
type Info = lookupwire.PeerInfo

// ErrClosed is returned once a Registrar is closed.
var ErrClosed = errors.New("registrar is closed")

// Config is what a Registrar works with. Source, Info and HTTP are required.
type Config struct {
	Addresses []string                   // of the lookups' TCP ports, host:port; may be empty
	Source    Source                     // called by the goroutine of each address
	Info      func() Info                // called at each connection
	HTTP      func() *httpapi.HTTPClient // asks for channels; with its timeouts; the caller's to close
	Logger    *slog.Logger               // nil: nothing is logged
	TLS       func() *tls.Config         // asked at each connection, which is over TLS then; nil: all are plain text

	Dial    func(ctx context.Context, network, address string) (net.Conn, error) // nil: net.Dialer
	Resolve func(ctx context.Context, host string) ([]string, error)             // nil: net.DefaultResolver
}

// Registrar keeps any number of lookups told. It is safe for concurrent use.
type Registrar struct {
	cfg  Config
	ctx  context.Context // of all goroutines
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu      sync.Mutex
	peers   []*peer // in the order of their addresses
	started bool
	checked bool // the broadcast address
	closed  bool
}

// New returns a Registrar that does nothing before Start. An address that is not host:port is an error.
func New(cfg Config) (*Registrar, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	if cfg.Resolve == nil {
		cfg.Resolve = net.DefaultResolver.LookupHost
	}
	r := &Registrar{cfg: cfg}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r, r.SetAddresses(cfg.Addresses)
}

// Start begins to connect. It waits for nothing. The broadcast address is looked at once, as soon as there is a lookup,
// and warned about when other hosts will not find it.
func (r *Registrar) Start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.started || r.closed {
		return
	}
	r.started = true
	for _, p := range r.peers {
		r.startLocked(p)
	}
	r.checkBroadcastLocked()
}

// checkBroadcastLocked looks at the broadcast address in the background, once, when there is somebody to tell it.
func (r *Registrar) checkBroadcastLocked() {
	if r.checked || !r.started || len(r.peers) == 0 {
		return
	}
	r.checked = true
	lookups := addresses(r.peers)
	r.wg.Go(func() { r.checkBroadcast(r.ctx, lookups) })
}

func (r *Registrar) startLocked(p *peer) {
	ctx, cancel := context.WithCancel(r.ctx)
	p.stop = cancel
	r.wg.Go(func() {
		defer cancel()
		p.run(ctx)
	})
}

// Close hangs up on every lookup, which makes them forget this broker, and waits for all goroutines.
func (r *Registrar) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.stop()
	r.wg.Wait()
}

// Changed says that a topic or channel has come or gone. It must be called after the Source shows it, waits for nothing, and
// does not say what changed.
func (r *Registrar) Changed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.peers {
		p.changed()
	}
}

// Told returns once every lookup that is connected has been told of all that there is now, or after within. Who publishes to a new
// topic may ask a lookup for it next.
func (r *Registrar) Told(within time.Duration) {
	r.mu.Lock()
	peers := slices.Clone(r.peers)
	r.mu.Unlock()
	if len(peers) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(r.ctx, within)
	defer cancel()
	for _, p := range peers {
		p.await(ctx.Done())
	}
}

// Addresses returns the lookups' addresses.
func (r *Registrar) Addresses() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return addresses(r.peers)
}

// Connected returns for each lookup, by its address, whether the broker is registered with it now.
func (r *Registrar) Connected() map[string]bool {
	r.mu.Lock()
	peers := slices.Clone(r.peers)
	r.mu.Unlock()
	connected := make(map[string]bool, len(peers))
	for _, p := range peers {
		p.mu.Lock()
		connected[p.address] = p.connected
		p.mu.Unlock()
	}
	return connected
}

func addresses(peers []*peer) []string {
	list := make([]string, len(peers))
	for i, p := range peers {
		list[i] = p.address
	}
	return list
}

// CheckAddresses returns why SetAddresses would refuse a list, nil when it would not.
func CheckAddresses(list []string) error {
	for _, address := range list {
		if err := checkAddress(address); err != nil {
			return err
		}
	}
	return nil
}

// SetAddresses makes list the lookups: connections to others are closed, new ones are made, those in both are kept. A list
// with an address that is not host:port changes nothing. Repeated addresses count once.
func (r *Registrar) SetAddresses(list []string) error {
	if err := CheckAddresses(list); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	old := make(map[string]*peer, len(r.peers))
	for _, p := range r.peers {
		old[p.address] = p
	}
	r.peers = nil
	for _, address := range list {
		if slices.ContainsFunc(r.peers, func(p *peer) bool { return p.address == address }) {
			continue
		}
		p := old[address]
		if p == nil {
			p = newPeer(address, &r.cfg)
			if r.started {
				r.startLocked(p)
			}
		}
		delete(old, address)
		r.peers = append(r.peers, p)
	}
	for _, p := range old {
		if p.stop != nil {
			p.stop()
		}
	}
	r.checkBroadcastLocked()
	return nil
}

func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || host == "" {
		return fmt.Errorf("lookup address %q is not host:port", address)
	}
	return nil
}
