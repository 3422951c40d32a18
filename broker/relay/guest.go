package relay

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"brokerd/broker/peer"
	"brokerd/broker/topic"
	"brokerd/protocol"
	"brokerd/protocol/httpapi"
)

// guest is the consumer that stands here, at who leads, for a client of another node.
type guest struct {
	r      *Relay
	folder string
	stream uint32
	link   uint64 // to its node
	asks   Subscription

	sub   atomic.Pointer[topic.Subscription] // nil until it is subscribed
	kick  chan struct{}                      // there may be something to send
	done  chan struct{}                      // closed once it is to end
	once  sync.Once
	why   byte          // its node is told; set before done is closed
	taken atomic.Uint64 // bytes of messages that its client has taken
	sent  uint64        // bytes that were sent; its goroutine's
}

// welcome takes in a client of another node.
func (r *Relay) welcome(folder string, stream uint32, payload []byte) error {
	g := &guest{r: r, folder: folder, stream: stream, link: r.o.Cluster.Link(folder), kick: make(chan struct{}, 1), done: make(chan struct{})}
	if err := json.Unmarshal(payload, &g.asks); err != nil {
		g.refuse(Refusal{Reason: "a subscription that cannot be read"})
		return fmt.Errorf("a subscription: %w", err)
	}
	key := guestKey{folder, stream}
	r.mu.Lock()
	if r.closed || r.ctx.Err() != nil {
		r.mu.Unlock()
		g.refuse(Refusal{Elsewhere: true})
		return nil
	}
	old := r.guests[key]
	r.guests[key] = g
	r.loops.Go(g.run)
	r.mu.Unlock()
	if old != nil {
		old.leave()
	}
	r.wake()
	return nil
}

// run serves the guest until it is to end, and tells its node why it did, if that does not know: once there is room on the link, or the client would
// be without a leader for good.
func (g *guest) run() {
	g.serve()
	g.leave()
	g.r.drop(g)
	if g.why != goneQuietly {
		_ = g.r.o.Cluster.SendPaced(g.r.end, g.folder, kindGone, g.stream, []byte{g.why}) // without a link its node knows
	}
}

// serve subscribes, and sends messages until the guest is to end.
func (g *guest) serve() {
	sub, no := g.subscribe()
	if no != nil {
		g.refuse(*no)
		return
	}
	defer func() {
		if err := sub.Close(); err != nil {
			g.r.o.Log.Error("a relayed consumer has left", "client", g.asks.Name, "topic", g.asks.Topic, "channel", g.asks.Channel, "error", err)
		}
	}()
	g.sub.Store(sub)
	hello, err := json.Marshal(Welcome{MsgTimeout: sub.Timeout()})
	if err != nil || g.r.o.Cluster.Send(g.folder, kindSubscribed, g.stream, hello) != nil {
		return // its node asks again
	}
	d, parts := new(topic.Delivery), [][]byte(nil)
	for {
		for g.sent-g.taken.Load() < window && sub.Take(d) > 0 {
			parts = g.parts(parts[:0], d)
			err := g.r.o.Cluster.SendPaced(g.done, g.folder, kindMessages, g.stream, parts...)
			d.Clear()
			clear(parts)
			if err != nil {
				g.end(goneMoved) // in case that the link is still there
				return
			}
		}
		select {
		case <-g.kick:
		case <-g.done:
			return
		}
	}
}

// parts appends what a delivery sends, and counts it.
func (g *guest) parts(dst [][]byte, d *topic.Delivery) [][]byte {
	for i := range d.Runs {
		frames := d.Runs[i].Frames
		if n := d.Runs[i].Attempts; n > 0 {
			frames = append([]byte(nil), frames...)
			protocol.MessageFrame(frames).SetAttempts(n)
		}
		g.sent += uint64(len(frames))
		dst = append(dst, frames)
	}
	return dst
}

// subscribe subscribes, or says why not.
func (g *guest) subscribe() (*topic.Subscription, *Refusal) {
	q := &g.asks
	if !protocol.ValidName(q.Topic) || !protocol.ValidName(q.Channel) || q.MsgTimeout <= 0 || q.SampleRate < 0 || q.SampleRate > 99 {
		return nil, &Refusal{Reason: "the names, the time in flight, or the sample rate are none"}
	}
	elsewhere := &Refusal{Elsewhere: true, Leader: g.r.o.Cluster.Lead(q.Topic).Folder}
	t := g.r.o.Topics.Lookup(q.Topic)
	if t == nil || !t.Replicated() {
		return nil, elsewhere
	}
	sub, err := t.Subscribe(q.Channel, topic.SubscribeOptions{Owner: g, Name: q.Name, MsgTimeout: q.MsgTimeout, Standard: q.Standard,
		SampleRate: q.SampleRate, Locality: g.r.o.Locality(q.Client.TopologyRegion, q.Client.TopologyZone)})
	switch {
	case errors.Is(err, topic.ErrExiting), errors.Is(err, topic.ErrNotLeader), errors.Is(err, topic.ErrDraining): // who drains gives the lead away
		return nil, elsewhere
	case err != nil:
		return nil, &Refusal{Reason: err.Error()}
	}
	return sub, nil
}

func (g *guest) refuse(no Refusal) {
	if b, err := json.Marshal(no); err == nil {
		_ = g.r.o.Cluster.Send(g.folder, kindRefused, g.stream, b) // without an answer it asks again
	}
}

// drop forgets a guest.
func (r *Relay) drop(g *guest) {
	key := guestKey{g.folder, g.stream}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.guests[key] == g {
		delete(r.guests, key)
	}
}

// leave has it end soon, as its node wants, or will find.
func (g *guest) leave() { g.end(goneQuietly) }

// end has it end soon, for a reason.
func (g *guest) end(why byte) {
	g.once.Do(func() {
		g.why = why
		close(g.done)
	})
}

// hear takes what the client's node says.
func (g *guest) hear(kind peer.Kind, payload []byte) (err error) {
	if kind == kindLeave {
		g.leave()
		return nil
	}
	sub := g.sub.Load()
	if sub == nil {
		return nil // nothing was promised yet
	}
	var n uint32
	switch kind {
	case kindReady:
		if n, err = number(payload); err == nil {
			sub.SetReady(int(n))
		}
	case kindTaken:
		if n, err = number(payload); err == nil {
			g.taken.Add(uint64(n))
			g.Wake()
		}
	case kindAnswers:
		err = g.apply(sub, payload)
	}
	if err != nil {
		g.Close()
	}
	return err
}

// answerLists are reused by those who read from links.
var answerLists = sync.Pool{New: func() any { return new([]topic.Answer) }}

func (g *guest) apply(sub *topic.Subscription, payload []byte) error {
	list := answerLists.Get().(*[]topic.Answer)
	defer answerLists.Put(list)
	var err error
	if *list, err = parseAnswers((*list)[:0], payload); err != nil {
		return err
	}
	sub.Apply(*list, nil)
	var failed []byte
	for i := range *list {
		if a := &(*list)[i]; a.Err != nil {
			failed = appendFailure(failed, a)
			a.Err = nil
		}
	}
	if len(failed) > 0 && g.r.o.Cluster.Send(g.folder, kindFailed, g.stream, failed) != nil {
		g.end(goneMoved) // what its client is not told it is not to miss
	}
	return nil
}

// Wake is topic.Consumer's.
func (g *guest) Wake() {
	select {
	case g.kick <- struct{}{}:
	default:
	}
}

// Close is topic.Consumer's: the channel, or the topic, goes.
func (g *guest) Close() { g.end(goneEnded) }

// Moved is topic.Mover's.
func (g *guest) Moved(s *topic.Subscription) {
	s.Abandon() // its node knows what the client has
	g.end(goneMoved)
}

// Stats returns what /stats shows of the client.
func (g *guest) Stats() httpapi.Client {
	c := g.asks.Client
	c.Via = g.asks.Via
	if sub := g.sub.Load(); sub != nil {
		n := sub.Stats()
		c.ReadyCount, c.InFlightCount = int64(n.Ready), int64(n.InFlight)
		c.MessageCount, c.FinishCount, c.RequeueCount = n.Delivered, n.Finished, n.Requeued
	}
	return c
}
