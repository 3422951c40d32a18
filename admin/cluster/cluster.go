package cluster

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/protocol/httpapi"
)

// Config is what a Cluster is told.
type Config struct {
	Lookups []string // HTTP addresses, host:port; SetLookups changes them
	Brokers []string // HTTP addresses, instead of lookups

	HTTP     *httpapi.HTTPClient // its request timeout is each daemon's deadline
	Interval time.Duration       // between the starts of two rounds
	Patience time.Duration       // for an answer of the moment that a last good one can stand in for
	Round    time.Duration       // how long a round waits for a daemon before it goes on without it; 0: a second

	// Kept is brokers that answered in an earlier life of this admind: they are asked again, and stale until they answer.
	Kept []Kept

	Log *slog.Logger
}

const (
	// maxPace is the longest time between two rounds of a cluster whose answers are large.
	maxPace = 30 * time.Second
	// goneEvery is how often a broker is asked that neither answers nor is named by a lookup.
	goneEvery = 10 * time.Second
	// forgetUnheard is for how long a broker is shown that never answered and that no lookup names any more.
	forgetUnheard = 10 * time.Minute
	// kickPause is the shortest time between two rounds that were asked for.
	kickPause = 250 * time.Millisecond
)

// Cluster is what is known of the daemons. New, then Run once; everything else is safe for concurrent use at any time.
type Cluster struct {
	cfg  Config
	kick chan struct{} // asks for a round soon; one place

	spent atomic.Int64 // nanoseconds of all rounds

	view  atomic.Pointer[View] // newest; nil before the first round
	asks  sync.WaitGroup       // goroutines of a round
	mu    sync.Mutex
	next  chan struct{}      // guarded by mu; closed when a newer View is there
	lists []*lookup          // guarded by mu, as what it points to is
	nodes map[string]*broker // by address that is asked; guarded by mu, as what it points to is

	gone map[*broker]time.Time // named by no lookup since; guarded by mu
	left int                   // brokers that were named and are not asked; guarded by mu

	seq uint64 // of the newest View; guarded by mu
}

// New returns a Cluster that has asked nobody yet.
func New(cfg Config) *Cluster {
	cfg.Round = cmp.Or(cfg.Round, time.Second)
	c := &Cluster{
		cfg: cfg, kick: make(chan struct{}, 1), next: make(chan struct{}),
		nodes: map[string]*broker{}, gone: map[*broker]time.Time{},
	}
	for _, address := range cfg.Lookups {
		c.lists = append(c.lists, &lookup{address: address})
	}
	for _, address := range cfg.Brokers {
		c.nodes[address] = &broker{address: address}
	}
	for _, k := range cfg.Kept {
		c.restore(k)
	}
	return c
}

// ByLookups reports whether brokers are found through lookups, and not by a fixed list.
func (c *Cluster) ByLookups() bool { return len(c.cfg.Brokers) == 0 }

// Lookups returns the addresses of the lookups.
func (c *Cluster) Lookups() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	addresses := make([]string, len(c.lists))
	for i, l := range c.lists {
		addresses[i] = l.address
	}
	return addresses
}

// SetLookups replaces the lookups from the next round on. What is known of those that stay is kept. The error is that of an
// address which is not host:port.
func (c *Cluster) SetLookups(addresses []string) error {
	for _, a := range addresses {
		if host, port, err := net.SplitHostPort(a); err != nil || host == "" || port == "" {
			return fmt.Errorf("%q is not host:port", a)
		}
	}
	c.replaceLookups(addresses)
	c.Kick()
	return nil
}

func (c *Cluster) replaceLookups(addresses []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var lists []*lookup
	for _, a := range addresses {
		i := slices.IndexFunc(c.lists, func(l *lookup) bool { return l.address == a })
		if i >= 0 {
			lists = append(lists, c.lists[i])
		} else {
			lists = append(lists, &lookup{address: a})
		}
	}
	c.lists = lists
}

// View returns the newest state of the cluster, empty before the first round. Nobody may change it.
func (c *Cluster) View() *View {
	if v := c.view.Load(); v != nil {
		return v
	}
	return &View{}
}

// RoundTime returns how long all rounds took together.
func (c *Cluster) RoundTime() time.Duration { return time.Duration(c.spent.Load()) }

// Next returns the newest View and a channel that is closed once there is a newer one.
func (c *Cluster) Next() (*View, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.View(), c.next
}

// Await returns the newest View, after the first round or when ctx ends.
func (c *Cluster) Await(ctx context.Context) *View {
	for {
		v, next := c.Next()
		if v.Seq > 0 {
			return v
		}
		select {
		case <-next:
		case <-ctx.Done():
			return v
		}
	}
}

// Kick asks for a round soon, for something was changed.
func (c *Cluster) Kick() {
	select {
	case c.kick <- struct{}{}:
	default: // one is asked for already
	}
}

// Run asks in rounds until ctx ends, and returns when nothing is being asked any more.
func (c *Cluster) Run(ctx context.Context) {
	defer c.asks.Wait()
	for ctx.Err() == nil {
		began := time.Now()
		took := c.round(ctx)
		c.spent.Add(int64(took))
		pace := max(c.cfg.Interval, min(5*took, maxPace))
		wait := time.NewTimer(time.Until(began.Add(pace)))
		select {
		case <-wait.C:
		case <-ctx.Done():
		case <-c.kick:
			pause := time.NewTimer(kickPause - time.Since(began))
			select {
			case <-pause.C:
			case <-ctx.Done():
			}
			pause.Stop()
		}
		wait.Stop()
	}
}

// round asks every daemon once and makes a View of what is known then. It returns how long the slowest daemon took whose
// answer it waited for.
func (c *Cluster) round(ctx context.Context) time.Duration {
	began := time.Now()
	c.mu.Lock()
	lists := slices.Clone(c.lists)
	c.mu.Unlock()
	took := each(ctx, c.cfg.Round, lists, func(l *lookup) <-chan struct{} { return c.startLookup(ctx, l) })
	c.adopt(began)
	c.mu.Lock()
	brokers := slices.Collect(maps.Values(c.nodes))
	brokers = slices.DeleteFunc(brokers, func(b *broker) bool { return c.restsLocked(b, began) })
	c.mu.Unlock()
	took += each(ctx, c.cfg.Round, brokers, func(b *broker) <-chan struct{} { return c.startBroker(ctx, b) })
	if ctx.Err() == nil {
		c.publish(time.Now())
	}
	return took
}

// each starts something for every one of list and waits for all that were started, no longer than most. It returns when the
// last one ended that it waited for.
func each[T any](ctx context.Context, most time.Duration, list []T, start func(T) <-chan struct{}) time.Duration {
	began := time.Now()
	var pending []<-chan struct{}
	for _, one := range list {
		if done := start(one); done != nil {
			pending = append(pending, done)
		}
	}
	patience := time.NewTimer(most)
	defer patience.Stop()
	var took time.Duration
	for _, done := range pending {
		select {
		case <-done:
			took = time.Since(began)
			continue
		default:
		}
		select {
		case <-done:
			took = time.Since(began)
		case <-patience.C:
			patience.Reset(0) // the others that are done already still count
		case <-ctx.Done():
			return took
		}
	}
	return took
}

// publish makes the View of what is known at now.
func (c *Cluster) publish(now time.Time) {
	c.mu.Lock()
	v := c.collectLocked(now)
	c.mu.Unlock()
	v.add()
	c.mu.Lock()
	c.seq++
	v.Seq = c.seq
	c.view.Store(v)
	close(c.next)
	c.next = make(chan struct{})
	c.mu.Unlock()
}
