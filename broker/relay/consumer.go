package relay

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/broker/inflight"
	"brokerd/broker/peer"
	"brokerd/broker/topic"
	"brokerd/protocol"
	"brokerd/protocol/httpapi"
)

// window is how many bytes of messages may be on their way to a client's node, or wait there, without its having taken them. One delivery may
// come on top.
const window = 256 << 10

// maxFailed is how many answers that have failed may wait to be told to a client that does not read.
const maxFailed = 1 << 14

// place is where a consumer is.
type place uint8

const (
	seeking place = iota // it looks for who leads
	asking               // it has asked at a node
	joining              // it is about to be here
	there                // it has a stream at who leads
	here                 // this node leads
	over                 // it is closed
)

// Consumer is the subscription of one client of this node to a replicated topic, wherever that is led. SetReady, Apply and Close belong to who
// reads from the client; Take and Failed to who sends to it, one goroutine at a time.
type Consumer struct {
	r              *Relay
	topic, channel string
	o              topic.SubscribeOptions
	about          httpapi.Client
	began          time.Time                          // what deadlines count from
	local          atomic.Pointer[topic.Subscription] // while it is here; set with mu held

	mu      sync.Mutex // guards what follows
	at      place
	first   chan error // what became of the first subscription; nil once that is told
	gone    *topic.Subscription
	folder  string // that was asked, or is there
	stream  uint32
	link    uint64
	timeout time.Duration // of a message from there
	since   time.Time     // when a leader was last there
	asked   time.Time
	next    time.Time // when it looks again
	tries   int       // since it was somewhere
	hint    string    // who may lead
	round   int       // whom it asked last, of those who may

	ready, told int                          // credit that the client gives, and that who leads was told of
	out         map[protocol.MessageID]int64 // what the client has from there, and until when
	old         backlog                      // what it has from earlier places
	queue       [][]byte                     // messages from there
	taking      int                          // bytes that are being sent to the client
	taken       uint32                       // bytes that were, since that was told there
	failed      []topic.Answer               // to be told to the client
	n           topic.SubscriptionStats      // of earlier places, and of there
}

// NewConsumer returns a consumer of a replicated topic that is nowhere yet: see Begin. The owner is that of o; about says who it is.
func (r *Relay) NewConsumer(topicName, channel string, o topic.SubscribeOptions, about httpapi.Client) *Consumer {
	return &Consumer{r: r, topic: topicName, channel: channel, o: o, about: about, began: time.Now(), since: time.Now(), first: make(chan error, 1),
		out: map[protocol.MessageID]int64{}}
}

// Topic and Channel are what is consumed.
func (c *Consumer) Topic() string { return c.topic }

// Channel is the channel's name.
func (c *Consumer) Channel() string { return c.channel }

// Local returns the subscription here, nil while this node does not lead: what it has may be taken without the consumer.
func (c *Consumer) Local() *topic.Subscription { return c.local.Load() }

func (c *Consumer) now() int64 { return int64(time.Since(c.began)) }

// Begin subscribes, and waits until that is done: Options.Wait at most. It is called once. After an error the consumer is closed. It fails with what
// who leads says, ErrNoLeader, ErrStopping, or topic.ErrNotReplicated, also while the topic is being deleted.
func (c *Consumer) Begin() error {
	first := c.first
	c.r.watch(c)
	late := time.NewTimer(c.r.o.Wait)
	defer late.Stop()
	var err error
	select {
	case err = <-first:
	case <-late.C:
		err = ErrNoLeader
	case <-c.r.ctx.Done():
		err = ErrStopping
	}
	if err != nil {
		_ = c.Close() // it is nowhere
	}
	return err
}

// beganLocked tells what became of the first subscription, if that is waited for.
func (c *Consumer) beganLocked(err error) (waited bool) {
	if c.first == nil {
		return false
	}
	c.first <- err
	c.first = nil
	if err != nil {
		c.leaveLocked()
		c.at = over
	}
	return true
}

// Close ends it: what the client has goes back to the channel. A second call does nothing.
func (c *Consumer) Close() error {
	c.mu.Lock()
	local := c.local.Swap(nil)
	c.leaveLocked()
	c.at = over
	c.r.mu.Lock()
	delete(c.r.watched, c)
	c.r.mu.Unlock()
	c.mu.Unlock()
	if local != nil {
		return local.Close()
	}
	return nil
}

// leaveLocked tells who leads that the client goes, if it is there, and notes what that means.
func (c *Consumer) leaveLocked() {
	if c.at == asking || c.at == there {
		c.r.say(c.folder, c.stream, c.link)
		c.loseLocked()
	}
}

// loseLocked notes that it is not there any more, nor where it has asked.
func (c *Consumer) loseLocked() {
	for id, until := range c.out {
		c.old.add(id, until)
	}
	clear(c.out)
	c.queue, c.taking, c.taken = nil, 0, 0
	c.r.dismiss(c.stream)
	c.seekLocked()
}

// seekLocked has it look for who leads, at once.
func (c *Consumer) seekLocked() {
	c.at, c.next, c.tries, c.hint = seeking, time.Time{}, 0, ""
	c.r.watch(c)
}

// Moved is told by the subscription here that the lead is lost.
func (c *Consumer) Moved(sub *topic.Subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := sub.Stats()
	now := c.now()
	for _, h := range sub.Abandon() {
		c.old.add(h.ID, now+int64(h.Until))
	}
	c.n.Delivered, c.n.Finished, c.n.Requeued = c.n.Delivered+n.Delivered, c.n.Finished+n.Finished, c.n.Requeued+n.Requeued
	if c.local.Load() != sub {
		c.gone = sub // it is about to be here
		return
	}
	c.local.Store(nil)
	c.since = time.Now()
	c.seekLocked()
}

// SetReady sets how many messages the client may have at once.
func (c *Consumer) SetReady(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ready = n
	c.tellLocked()
}

// tellLocked tells who leads what credit the client gives, less what it has from earlier places.
func (c *Consumer) tellLocked() {
	credit := max(0, c.ready-c.old.n)
	if c.r.ctx.Err() != nil || c.at == there && c.r.rests.Load() {
		credit = 0 // the broker stops, or drains
	}
	if credit == c.told {
		return
	}
	switch c.at {
	case here:
		c.local.Load().SetReady(credit)
	case there:
		if c.r.o.Cluster.Send(c.folder, kindReady, c.stream, binary.BigEndian.AppendUint32(nil, uint32(credit))) != nil {
			return // it is told with the next look, if there still is a link
		}
	default:
		return
	}
	c.told = credit
}

// HasCredit reports whether the client could get a message now, if there were one.
func (c *Consumer) HasCredit() bool {
	if sub := c.local.Load(); sub != nil {
		return sub.HasCredit()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at == there && c.ready > len(c.out)+c.old.n
}

// Stats returns the counters, over all places.
func (c *Consumer) Stats() topic.SubscriptionStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.n
	n.Ready, n.InFlight = c.ready, len(c.out)+c.old.n
	if sub := c.local.Load(); sub != nil {
		now := sub.Stats()
		n.InFlight += now.InFlight
		n.Delivered, n.Finished, n.Requeued = n.Delivered+now.Delivered, n.Finished+now.Finished, n.Requeued+now.Requeued
	}
	return n
}

// Take adds what has come for the client to d, which has it from now on. It returns 0 when there is nothing; the owner is woken when there is.
// It is not for a consumer that is here: see Local.
func (c *Consumer) Take(d *topic.Delivery) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at != there {
		return 0
	}
	c.taken += uint32(c.taking) // what was given before is sent, or it would not be asked for more
	c.taking = 0
	c.tellTakenLocked()
	before, until := d.N, c.now()+int64(c.timeout)
	for _, b := range c.queue {
		d.Runs = append(d.Runs, topic.Run{Frames: b})
		for rest := b; len(rest) > 0; {
			f := protocol.FirstMessage(rest)
			c.out[f.MustID()] = until
			rest = rest[len(f):]
			d.N++
		}
		c.taking += len(b)
	}
	clear(c.queue)
	c.queue = c.queue[:0]
	c.n.Delivered += uint64(d.N - before)
	c.thinLocked()
	return d.N - before
}

// tellTakenLocked gives who leads room for more, once that is worth a frame.
func (c *Consumer) tellTakenLocked() {
	if c.taken < window/4 {
		return
	}
	if c.r.o.Cluster.Send(c.folder, kindTaken, c.stream, binary.BigEndian.AppendUint32(nil, c.taken)) == nil {
		c.taken = 0
	}
}

// manyOut is from how many messages on it is looked for those that the client never answers.
const manyOut = 4096

// thinLocked forgets messages that the client has not answered in time: they are not its own any more.
func (c *Consumer) thinLocked() {
	if len(c.out) < max(manyOut, 2*c.ready) {
		return
	}
	now := c.now()
	for id, until := range c.out {
		if until+int64(c.timeout) < now { // an answer that comes a little late is asked about
			delete(c.out, id)
		}
	}
}

// Failed returns the answers that have failed since the last call, each with its error.
func (c *Consumer) Failed() []topic.Answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	failed := c.failed
	c.failed = nil
	return failed
}

// Apply carries out the client's answers in order. Those that can be told to fail at once have their error set; others that fail come by Failed.
// Whom it brings work here is added to later.
func (c *Consumer) Apply(answers []topic.Answer, later *topic.Wakes) {
	if folder := c.elsewhere(); folder != "" {
		_ = c.r.o.Cluster.Pace(c.r.ctx.Done(), folder) // when the link ends, that is seen below, or in a moment
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == here {
		c.local.Load().Apply(answers, later)
		if c.old.n == 0 {
			return
		}
		for i := range answers { // what was taken here is another copy
			if answers[i].Verb != topic.Touch && answers[i].Err != nil {
				c.old.remove(answers[i].ID)
			}
		}
		c.tellLocked()
		return
	}
	frame := make([]byte, 0, len(answers)*answerSize)
	for i := range answers {
		frame = c.applyLocked(frame, &answers[i])
	}
	if len(frame) > 0 && c.r.o.Cluster.Send(c.folder, kindAnswers, c.stream, frame) != nil {
		c.leaveLocked() // answers are missing there
	}
	c.tellLocked()
}

// elsewhere returns the node that it is at, if that is another one.
func (c *Consumer) elsewhere() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at != there {
		return ""
	}
	return c.folder
}

// applyLocked appends an answer for who leads, or notes that it fails: the client does not have the message from there.
func (c *Consumer) applyLocked(frame []byte, a *topic.Answer) []byte {
	a.Err = nil
	if _, has := c.out[a.ID]; !has {
		if a.Err = inflight.ErrNotInFlight; a.Verb != topic.Touch {
			c.old.remove(a.ID)
		}
		return frame
	}
	switch a.Verb {
	case topic.Touch:
		c.out[a.ID] = c.now() + int64(c.timeout)
		return appendAnswer(frame, a)
	case topic.Finish:
		c.n.Finished++
	case topic.Requeue:
		c.n.Requeued++
	}
	delete(c.out, a.ID)
	return appendAnswer(frame, a)
}

// hear takes what another node says of a stream.
func (c *Consumer) hear(folder string, kind peer.Kind, stream uint32, payload []byte) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if stream != c.stream || folder != c.folder || c.at != asking && c.at != there {
		return nil // of a try that was given up
	}
	switch kind {
	case kindSubscribed:
		var w Welcome
		if err = json.Unmarshal(payload, &w); err == nil && c.at == asking {
			c.arriveLocked(w)
		}
	case kindRefused:
		var no Refusal
		if err = json.Unmarshal(payload, &no); err == nil && c.at == asking {
			c.refusedLocked(&no)
		}
	case kindMessages:
		if _, err = countMessages(payload); err == nil && c.at == there && len(payload) > 0 {
			c.queue = append(c.queue, payload)
			c.o.Owner.Wake()
		}
	case kindFailed:
		var failed []topic.Answer
		if failed, err = parseFailures(payload); err == nil {
			c.failLocked(failed)
		}
	case kindGone:
		c.loseLocked()
		if len(payload) == 1 && payload[0] == goneEnded {
			c.endLocked("the channel, or its topic, was deleted")
		}
	}
	if err != nil {
		c.leaveLocked()
	}
	return err
}

func (c *Consumer) failLocked(failed []topic.Answer) {
	if len(c.failed)+len(failed) > maxFailed {
		c.endLocked("it does not read what it is told")
		return
	}
	c.failed = append(c.failed, failed...)
	c.o.Owner.Wake()
}

// endLocked closes the client's connection.
func (c *Consumer) endLocked(why string) {
	c.r.o.Log.Info("a relayed consumer is closed", "client", c.o.Name, "topic", c.topic, "channel", c.channel, "why", why)
	if !c.beganLocked(errors.New(why)) {
		c.leaveLocked()
		c.at = over
		c.o.Owner.Close()
	}
}
