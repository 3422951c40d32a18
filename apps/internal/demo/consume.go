package demo

import (
	"fmt"
	"log"
	"os"
	"time"

	"github.com/nsqio/go-nsq"
)

const (
	requeueOneIn = 100
	requeueDelay = 50 * time.Millisecond
)

// clientLog is where go-nsq writes its errors.
var clientLog = log.New(os.Stderr, "", log.Ltime)

// clientConfig is go-nsq's own, but for its time to connect and to write, which is a second: on a busy machine a process waits longer for the processor.
func clientConfig() *nsq.Config {
	config := nsq.NewConfig()
	config.DialTimeout, config.WriteTimeout = patience, patience
	return config
}

// subscribe starts a consumer of the channel with one handler. It never gives a message up, however often it comes.
func subscribe(address, topic, channel string, maxInFlight int, handler nsq.Handler) (*nsq.Consumer, error) {
	config := clientConfig()
	config.MaxInFlight = maxInFlight
	config.MaxAttempts = 0 // no limit
	consumer, err := nsq.NewConsumer(topic, channel, config)
	if err != nil {
		return nil, fmt.Errorf("consuming %s: %w", channel, err)
	}
	consumer.SetLogger(clientLog, nsq.LogLevelError)
	consumer.AddHandler(handler)
	if err := consumer.ConnectToNSQD(address); err != nil {
		return nil, fmt.Errorf("consuming %s: %w", channel, err)
	}
	return consumer, nil
}

// steady finishes everything that it is handed.
type steady struct {
	name  string
	tally *tally
	story *story // nil where nobody looks
}

// HandleMessage counts m; go-nsq finishes it when it returns nil.
func (h steady) HandleMessage(m *nsq.Message) error {
	id, err := messageID(m.ID)
	if err != nil {
		return err
	}
	h.story.delivered(id, m, h.name)
	h.tally.finish(id, digestOf(m.Body), m.Timestamp)
	h.story.end(id, "finished by %s: it is gone from this channel", h.name)
	return nil
}

// picky requeues one message in a hundred and finishes the others.
type picky struct {
	steady
	handled *int // only its one handler counts
}

// HandleMessage requeues or counts m.
func (h picky) HandleMessage(m *nsq.Message) error {
	if *h.handled++; *h.handled%requeueOneIn == 0 {
		m.DisableAutoResponse()
		h.requeued(m)
		m.RequeueWithoutBackoff(requeueDelay)
		return nil
	}
	return h.steady.HandleMessage(m)
}

// requeued tells of a message that is given back.
func (h picky) requeued(m *nsq.Message) {
	id, err := messageID(m.ID)
	if err != nil || h.story == nil || !h.story.begin(id, m) {
		return
	}
	h.story.delivered(id, m, h.name)
	h.story.tell(id, "given back by %s, to be delivered again in %v", h.name, requeueDelay)
}

// crew is the consumers of one channel.
type crew struct {
	channel string
	tally   *tally
	story   *story
	members []*nsq.Consumer
	doomed  *doomed
}

// enlist starts n consumers of the channel, at least two: one of them picky, one doomed, the others steady.
func enlist(address, topic, channel string, n, maxInFlight, total int) (*crew, error) {
	c := &crew{channel: channel, tally: newTally(total), story: newStory(channel)}
	for i := range n - 1 {
		own := steady{fmt.Sprintf("consumer %d", i+1), c.tally, c.story}
		var handler nsq.Handler = own
		if i == 0 {
			handler = picky{own, new(int)}
		}
		consumer, err := subscribe(address, topic, channel, maxInFlight, handler)
		if err != nil {
			c.dismiss()
			return nil, err
		}
		c.members = append(c.members, consumer)
	}
	doomed, err := startDoomed(doomedOrders{address, topic, channel, maxInFlight}, c.tally, c.story)
	if err != nil {
		c.dismiss()
		return nil, err
	}
	c.doomed = doomed
	return c, nil
}

// finished returns how many messages the consumers have finished.
func (c *crew) finished() int64 {
	lines, _, _ := c.tally.result()
	return int64(lines.count)
}

// killed says what became of the consumer that is killed half-way.
func (c *crew) killed() string {
	switch {
	case isClosed(c.doomed.done):
		return "; one was killed with messages in hand"
	case isClosed(c.tally.halfSeen):
		return "; one is being killed"
	}
	return "; one will be killed half-way"
}

// dismiss stops the consumers and waits for them. It may be called more than once.
func (c *crew) dismiss() {
	if c.doomed != nil {
		c.doomed.discard()
	}
	for _, consumer := range c.members {
		consumer.Stop()
	}
	for _, consumer := range c.members {
		<-consumer.StopChan
	}
}
