package cluster

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"brokerd/protocol/httpapi"
)

// asked is what is kept of asking one daemon.
type asked struct {
	pending bool      // an answer is out
	since   time.Time // when the pending one was asked, or the last one
	at      time.Time // of the last good answer; zero before the first
	err     error     // of the last answer
}

// done notes the end of an asking.
func (a *asked) done(at time.Time, err error) {
	a.pending, a.err = false, err
	if err == nil {
		a.at = at
	}
}

// lookup is what is known of one lookup.
type lookup struct {
	address string
	asked
	version string
	nodes   []httpapi.Node
	topics  []string
}

// broker is what is known of one broker.
type broker struct {
	address string // that is asked
	asked
	info    httpapi.Producer // who it says it is, or a lookup says
	started int64            // its start_time of the last answer
	answer  *answer          // last good one; what it points to is never changed
	storage *httpapi.Storage // nil where there is none
	stored  time.Time        // when storage was last asked for
	plain   bool             // the process that started at started has no storage to tell of

	settings *httpapi.Settings // as it told them last; what it points to is never changed
	settled  time.Time         // when that was

	dismissed bool // an operator has said that it is not coming back: not shown until it does
}

// id is how users call the broker: the address that it is told to be reached by.
func (b *broker) id() string {
	if b.info.BroadcastAddress == "" || b.info.HTTPPort <= 0 {
		return b.address
	}
	return b.info.HTTPAddress()
}

// storageEvery is how old a broker's free space may get.
const storageEvery = 15 * time.Second

// start notes that something is asked, unless an answer is still out.
func (c *Cluster) start(a *asked) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.pending {
		return false
	}
	a.pending, a.since = true, time.Now()
	return true
}

// startLookup asks a lookup for its brokers and topics; nil when its last answer is still out.
func (c *Cluster) startLookup(ctx context.Context, l *lookup) <-chan struct{} {
	if !c.start(&l.asked) {
		return nil
	}
	c.mu.Lock()
	known := l.version // asked for again once it did not answer: it may have become another
	if l.err != nil {
		known = ""
	}
	c.mu.Unlock()
	done := make(chan struct{})
	c.asks.Go(func() {
		defer close(done)
		var nodes httpapi.Nodes
		var topics httpapi.Topics
		info := httpapi.LookupInfo{Version: known}
		at := time.Now()
		err := c.cfg.HTTP.Get(ctx, "http://"+l.address+"/nodes", &nodes)
		if err == nil {
			err = c.cfg.HTTP.Get(ctx, "http://"+l.address+"/topics", &topics)
		}
		if err == nil && known == "" {
			err = c.cfg.HTTP.Get(ctx, "http://"+l.address+"/info", &info)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if err == nil {
			c.bound(l.address, &nodes, &topics)
			l.nodes, l.topics, l.version = nodes.Producers, topics.Topics, info.Version
		}
		l.done(at, err)
	})
	return done
}

// startBroker asks a broker for its statistics and, now and then, its free space; nil when its last answer is still out.
func (c *Cluster) startBroker(ctx context.Context, b *broker) <-chan struct{} {
	if !c.start(&b.asked) {
		return nil
	}
	done := make(chan struct{})
	c.asks.Go(func() {
		defer close(done)
		c.askBroker(ctx, b)
	})
	return done
}

func (c *Cluster) askBroker(ctx context.Context, b *broker) {
	c.mu.Lock()
	info, previous, storage, stored, plain := b.info, b.answer, b.storage, b.stored, b.plain
	c.mu.Unlock()
	var err error
	if !c.ByLookups() && (info.HTTPPort == 0 || previous == nil) {
		info, err = c.identify(ctx, b.address)
	}
	var stats httpapi.Stats
	at := time.Now()
	if err == nil {
		err = c.cfg.HTTP.Get(ctx, "http://"+b.address+"/stats?format=json&include_clients=false&include_mem=false", &stats)
	}
	var fresh *answer
	if err == nil {
		fresh = digest(previous, stats, at)
		if restarted := previous == nil || previous.started != fresh.started; restarted || !plain && at.Sub(stored) >= storageEvery {
			storage, plain = c.askStorage(ctx, b.address, storage)
			stored = at
			if restarted && !c.ByLookups() && previous != nil {
				info = c.identifyAgain(ctx, b.address, info)
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	b.done(at, err)
	if err == nil {
		b.answer, b.storage, b.plain, b.stored, b.started = fresh, storage, plain, stored, fresh.started
		if !c.ByLookups() {
			b.info = info
		}
	}
}

// identify asks a broker who it is. A broadcast address or port that it does not know is the one that was asked.
func (c *Cluster) identify(ctx context.Context, address string) (httpapi.Producer, error) {
	var info httpapi.Info
	if err := c.cfg.HTTP.Get(ctx, "http://"+address+"/info", &info); err != nil {
		return httpapi.Producer{}, err
	}
	p := httpapi.Producer{
		Hostname: info.Hostname, BroadcastAddress: info.BroadcastAddress, TCPPort: info.TCPPort, HTTPPort: info.HTTPPort,
		Version: info.Version, TopologyZone: info.TopologyZone, TopologyRegion: info.TopologyRegion,
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return p, err
	}
	p.BroadcastAddress = cmp.Or(p.BroadcastAddress, host)
	if p.HTTPPort <= 0 { // a unix socket, say
		if p.HTTPPort, err = strconv.Atoi(port); err != nil {
			return p, err
		}
	}
	return p, nil
}

// identifyAgain is identify for a broker that was started anew, whose old answer may do.
func (c *Cluster) identifyAgain(ctx context.Context, address string, old httpapi.Producer) httpapi.Producer {
	p, err := c.identify(ctx, address)
	if err != nil {
		return old
	}
	return p
}

// askStorage asks a broker for the space on its disk. A broker that has no such answer is plain, as nsqd is; when none came this
// time the old one stays.
func (c *Cluster) askStorage(ctx context.Context, address string, old *httpapi.Storage) (storage *httpapi.Storage, plain bool) {
	storage = new(httpapi.Storage)
	err := c.cfg.HTTP.Get(ctx, "http://"+address+"/storage", storage)
	var status *httpapi.StatusError
	switch {
	case err == nil:
		return storage, false
	case errors.As(err, &status) && status.Code == http.StatusNotFound:
		return nil, true
	}
	return old, false
}

// adopt takes over which brokers the lookups name. One that answered once is kept until an operator dismisses it: what was on it
// may be on its disk still.
func (c *Cluster) adopt(now time.Time) {
	if !c.ByLookups() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	named, silent, left := map[string]bool{}, false, 0
	for _, l := range c.lists {
		silent = silent || l.err != nil || l.at.IsZero()
		for _, n := range l.nodes {
			address := n.HTTPAddress()
			named[address] = true
			b := c.nodes[address]
			if b == nil && len(c.nodes) >= maxBrokers {
				left++
				continue
			}
			if b == nil {
				b = &broker{address: address}
				c.nodes[address] = b
			}
			b.info = n.Producer
		}
	}
	if left != c.left {
		c.left = left
		c.cfg.Log.Warn("lookups name more brokers than are asked; those that were known first are", "asked", maxBrokers, "left_out", left)
	}
	for address, b := range c.nodes {
		since, gone := c.gone[b]
		switch {
		case named[address]:
			delete(c.gone, b)
			b.dismissed = b.dismissed && !b.answers()
		case b.dismissed, gone && b.answer == nil && now.Sub(since) > forgetUnheard && !silent: // a lookup that is down may know it still
			delete(c.nodes, address)
			delete(c.gone, b)
		case !gone:
			c.gone[b] = now
		}
	}
	c.boundGoneLocked()
}

// answer is a broker's statistics at one moment, with rates since the answer before. Topics and channels are sorted by name.
type answer struct {
	at      time.Time
	started int64 // start_time of the process; nsqd has it as well
	version string
	health  string
	aside   int // files that are set aside
	topics  []*NodeTopic
}

// digest adds to stats the rates since the previous answer of the same process.
func digest(previous *answer, stats httpapi.Stats, at time.Time) *answer {
	a := &answer{at: at, started: stats.StartTime, version: stats.Version, health: stats.Health, aside: stats.SetAside}
	a.topics = make([]*NodeTopic, len(stats.Topics))
	for i := range stats.Topics {
		t := &stats.Topics[i]
		slices.SortFunc(t.Channels, func(x, y httpapi.Channel) int { return strings.Compare(x.ChannelName, y.ChannelName) })
		nt := &NodeTopic{Topic: t, Channels: make([]NodeChannel, len(t.Channels))}
		for j := range t.Channels {
			nt.Channels[j].Channel = &t.Channels[j]
		}
		a.topics[i] = nt
	}
	slices.SortFunc(a.topics, func(x, y *NodeTopic) int { return strings.Compare(x.TopicName, y.TopicName) })
	if previous == nil || previous.started != a.started {
		return a
	}
	seconds := at.Sub(previous.at).Seconds()
	old := previous.topics
	for _, t := range a.topics {
		for len(old) > 0 && old[0].TopicName < t.TopicName {
			old = old[1:]
		}
		if len(old) > 0 && old[0].TopicName == t.TopicName {
			t.rate(old[0], seconds)
		}
	}
	return a
}

// rate sets the rates since old, some seconds earlier.
func (t *NodeTopic) rate(old *NodeTopic, seconds float64) {
	t.RateIn = perSecond(t.MessageCount, old.MessageCount, seconds)
	was := old.Channels
	for i := range t.Channels {
		ch := &t.Channels[i]
		for len(was) > 0 && was[0].ChannelName < ch.ChannelName {
			was = was[1:]
		}
		if len(was) == 0 || was[0].ChannelName != ch.ChannelName {
			continue
		}
		o := was[0]
		ch.RateIn = perSecond(ch.MessageCount, o.MessageCount, seconds)
		ch.RateOut = perSecond(ch.Finished(), o.Finished(), seconds)
		ch.RequeueRate = perSecond(ch.RequeueCount, o.RequeueCount, seconds)
		ch.TimeoutRate = perSecond(ch.TimeoutCount, o.TimeoutCount, seconds)
	}
}

// Finished returns how many messages left the channel, counted from an unknown beginning: it can be below zero.
func (c *NodeChannel) Finished() int64 {
	return int64(c.MessageCount) - c.Depth - int64(c.InFlightCount) - int64(c.DeferredCount)
}

// perSecond is the rate of a counter, 0 when it went back: the thing was made anew.
func perSecond[T uint64 | int64](now, before T, seconds float64) float64 {
	if now <= before || seconds <= 0 {
		return 0
	}
	return float64(now-before) / seconds
}
