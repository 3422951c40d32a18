package session

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/broker/auth"
	"brokerd/broker/bodies"
	"brokerd/broker/quota"
	"brokerd/broker/topic"
	"brokerd/protocol"
	"brokerd/protocol/httpapi"
)

// Authority says who a client is and what it may do.
type Authority interface {
	// On reports whether anybody is asked who he is; a reload may turn it off.
	On() bool
	// Gone reports whether who has judged a client is no longer asked, while somebody else is.
	Gone(s *auth.State) bool
	// Demanded reports whether clients are told to send AUTH.
	Demanded() bool
	// Unasked returns what a client may do that has not sent AUTH, nil for nothing.
	Unasked(id auth.Identity) *auth.State
	// Query returns what the client may do that sent AUTH.
	Query(ctx context.Context, id auth.Identity) (*auth.State, error)
	// Again returns what a State by the token file is now, the same one when it has not changed, nil when it is gone.
	Again(s *auth.State, now time.Time) *auth.State
}

// Config is what sessions are served with.
type Config struct {
	Topics  *topic.Registry
	Forward Forwarder     // of publishes to replicated topics; nil: there are none
	Version string        // in the answer to IDENTIFY
	Wait    time.Duration // what Forward, or a subscription elsewhere, may take

	Limits              protocol.IdentifyLimits
	MaxMsgSize          int64 // bytes of one body
	MaxBodySize         int64 // bytes of MPUB, IDENTIFY and AUTH bodies
	MaxRdyCount         int64
	MaxReqTimeout       time.Duration // a longer REQ is cut to it
	MaxDefer            time.Duration // limit of DPUB
	MsgTimeout          time.Duration // unless the client asks otherwise
	HeartbeatInterval   time.Duration // unless the client asks otherwise; above 0
	OutputBufferTimeout time.Duration // unless the client asks otherwise
	Leave               time.Duration // what each step of a session's end may take, 250 ms at least

	TLS             *tls.Config    // nil: TLS is not offered
	TLSRequired     bool           // commands other than IDENTIFY are refused in plain text
	Deflate, Snappy bool           // offered
	MaxDeflateLevel int            // 1 to 9
	Auth            Authority      // nil: everybody may everything
	Quotas          *quota.Quotas  // nil: no limits
	Relays          Relays         // nil: the broker is in no cluster
	Unfinished      *bodies.Budget // memory for bodies that have begun to arrive; nil: no bound

	TopologyRegion, TopologyZone string
	Log                          *slog.Logger

	answers  *answers  // set by NewServer, as refusals
	refusals *refusals // nil in tests of parts
}

// leave returns Leave, or the least that it may be.
func (c *Config) leave() time.Duration { return max(c.Leave, leastLeave) }

// Forwarder carries out publishes to replicated topics, whichever broker leads them.
type Forwarder interface {
	// Publish publishes a batch, deferred when delay is above 0, and resets it. It fails with topic.ErrNotReplicated, and leaves the batch as it
	// is, when the topic of that name is none of those any more.
	Publish(topic string, b *topic.Batch, delay time.Duration) error
}

// ErrServerClosed is what Serve returns for a connection that comes after Close.
var ErrServerClosed = errors.New("session: server closed")

// Server owns the sessions of one broker.
type Server struct {
	cfg atomic.Pointer[Config] // of connections that come; each keeps the one that it came with
	wg  sync.WaitGroup

	authOn   chan struct{} // closed once there is an Authority
	authOnce sync.Once

	mu       sync.Mutex // guards what follows
	sessions map[*Session]struct{}
	served   uint64 // connections that ever were
	closed   bool
}

// NewServer returns a server without sessions.
func NewServer(cfg Config) *Server {
	cfg.answers, cfg.refusals = new(answers), newRefusals(cfg.Log)
	v := &Server{sessions: map[*Session]struct{}{}, authOn: make(chan struct{})}
	v.store(&cfg)
	return v
}

func (v *Server) store(cfg *Config) {
	v.cfg.Store(cfg)
	if cfg.Auth != nil {
		v.authOnce.Do(func() { close(v.authOn) })
	}
}

// SetConfig changes what connections are served with that come from now on.
func (v *Server) SetConfig(cfg Config) {
	old := v.cfg.Load()
	cfg.answers, cfg.refusals = new(answers), old.refusals
	v.store(&cfg)
}

// Drop closes all connections. Others may come.
func (v *Server) Drop() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for s := range v.sessions {
		s.Close()
	}
}

// Serve speaks with one client until it leaves, and closes the connection. It returns when nothing of the session runs any
// more: nil after an orderly end.
func (v *Server) Serve(conn net.Conn) error {
	s := newSession(v.cfg.Load(), conn)
	if !v.add(s) {
		_ = conn.Close()
		return ErrServerClosed
	}
	defer v.remove(s)
	return s.run()
}

func (v *Server) add(s *Session) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return false
	}
	v.sessions[s] = struct{}{}
	v.served++
	v.wg.Add(1)
	return true
}

func (v *Server) remove(s *Session) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.sessions, s)
	v.wg.Done()
}

// Close ends all sessions and waits for them. What their peers have sent by then is carried out and answered, as far as that
// comes to an end soon. It returns the context's error when that ends first.
func (v *Server) Close(ctx context.Context) error {
	v.mu.Lock()
	v.closed = true
	for s := range v.sessions {
		s.end()
	}
	v.mu.Unlock()
	done := make(chan struct{})
	go func() {
		v.wg.Wait()
		close(done)
	}()
	late := time.NewTimer(2*v.cfg.Load().leave() + lingerTimeout)
	defer late.Stop()
	select {
	case <-done:
		return nil
	case <-late.C: // peers that take nothing they are sent
	case <-ctx.Done():
	}
	v.mu.Lock()
	for s := range v.sessions {
		s.Close()
	}
	v.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Len returns the number of connections.
func (v *Server) Len() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.sessions)
}

// Served returns the number of connections that ever were.
func (v *Server) Served() uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.served
}

// Refused returns how many commands were answered with an error, by its code.
func (v *Server) Refused() map[protocol.Code]uint64 { return v.cfg.Load().refusals.counts() }

// Producers returns the connections that have published, each with its count for every topic.
func (v *Server) Producers() []httpapi.Client {
	v.mu.Lock()
	list := make([]*Session, 0, len(v.sessions))
	for s := range v.sessions {
		list = append(list, s)
	}
	v.mu.Unlock()
	var out []httpapi.Client
	for _, s := range list {
		if s.hasPublished() {
			out = append(out, s.Stats())
		}
	}
	return out
}
