package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/protocol/httpapi"
)

// Live is how far a run is, for whoever shows it meanwhile.
type Live struct {
	Done   atomic.Int64 // messages published, or consumed where there are consumers
	Failed atomic.Int64 // answers that were errors
}

// run is the state of one load.
type run struct {
	broker Broker
	spec   Spec
	live   *Live
	http   *httpapi.HTTPClient // nil without the broker's HTTP address
	tag    uint64              // in the upper 16 bits, what stands for this run in its messages
	made   bool                // the topics' name was made up: they are deleted at the end
	topics []string
	seen   []*seen // of each channel, over all topics

	count  int64        // messages to publish; maxNumber when time is the bound
	until  atomic.Int64 // Unix nanoseconds at which publishing ends; 0 is never
	taken  atomic.Int64 // numbers given out
	acked  atomic.Int64
	unsent atomic.Int64 // messages that the rate asked for and that nobody came to
	mu     sync.Mutex   // guards errors
	errors map[string]int64
}

const (
	numberBits = 48
	numberMask = 1<<numberBits - 1
)

func newRun(b Broker, s Spec, live *Live) *run {
	s.settle()
	r := &run{broker: b, spec: s, live: live, errors: make(map[string]int64), count: s.Messages,
		tag: uint64(rand.N(1<<16-1)+1) << numberBits, made: s.Topic == ""}
	if r.count == 0 {
		r.count = maxNumber
	}
	if r.made {
		r.spec.Topic = fmt.Sprintf("bench-%08x", rand.Uint32())
	}
	for i := range s.Topics {
		r.topics = append(r.topics, r.spec.topicName(i))
	}
	for range s.Channels {
		r.seen = append(r.seen, new(seen))
	}
	if b.HTTP != "" {
		r.http = httpapi.NewHTTPClient(httpapi.ClientConfig{ConnectTimeout: dialTimeout, RequestTimeout: time.Minute, Token: b.Token})
	}
	return r
}

// claim takes up to n numbers; it returns 0 when all are taken.
func (r *run) claim(n int) (first int64, got int) {
	first = r.taken.Add(int64(n)) - int64(n)
	return first, int(min(max(r.count-first, 0), int64(n)))
}

// over reports whether publishing has to end before something is sent at t.
func (r *run) over(t time.Time) bool {
	until := r.until.Load()
	return until != 0 && t.UnixNano() >= until
}

// stillDue returns how many publishes are to be sent before the end, from one that is to be sent at t, one each so long.
func (r *run) stillDue(t time.Time, each time.Duration) int64 {
	return (r.until.Load() - t.UnixNano() + int64(each) - 1) / int64(each)
}

// ack counts messages that the broker has taken.
func (r *run) ack(n int) {
	r.acked.Add(int64(n))
	if r.spec.Kind != EndToEnd && r.spec.Kind != Deferred {
		r.live.Done.Add(int64(n))
	}
}

// maxErrorTexts bounds how many different errors are told apart.
const maxErrorTexts = 20

// fail counts an error.
func (r *run) fail(text string) {
	r.live.Failed.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.errors[text]; !known && len(r.errors) >= maxErrorTexts {
		text = "other errors"
	}
	r.errors[text]++
}

// number reads the number of a message; ok is false when it is none of this run's.
func (r *run) number(body []byte) (number int64, ok bool) {
	if len(body) != r.spec.Size {
		return 0, false
	}
	word := binary.BigEndian.Uint64(body[8:])
	number = int64(word & numberMask)
	last := len(body) - 1
	whole := last < MinSize || body[last] == byte('a'+last%26)
	return number, whole && word&^numberMask == r.tag && number < min(r.taken.Load(), maxNumber)
}

// create makes the topics and their channels.
func (r *run) create(ctx context.Context) error {
	return each(len(r.topics), 8, func(i int) error {
		if err := r.createTopic(ctx, r.topics[i]); err != nil {
			return err
		}
		r.live.Done.Add(boolInt(r.spec.Kind == Topics))
		return nil
	})
}

func boolInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func (r *run) createTopic(ctx context.Context, topic string) error {
	if r.http == nil {
		return r.createBySubscribing(ctx, topic)
	}
	if err := r.post(ctx, "/topic/create", topic, ""); err != nil {
		return err
	}
	if err := r.configure(ctx, topic); err != nil {
		return err
	}
	if r.spec.Kind == Publish {
		return nil // what is published stays in the topic
	}
	for i := range r.spec.Channels {
		if err := r.post(ctx, "/channel/create", topic, channelName(i)); err != nil {
			return err
		}
	}
	return nil
}

// configure sets the options of a topic that is there.
func (r *run) configure(ctx context.Context, topic string) error {
	if r.spec.Options == "" {
		return nil
	}
	_, err := r.http.PostBytes(ctx, "http://"+r.broker.HTTP+"/topic/config?"+url.Values{"topic": {topic}}.Encode(), []byte(r.spec.Options))
	if err != nil {
		return fmt.Errorf("setting the options of %s: %w", topic, err)
	}
	return nil
}

// createBySubscribing makes channels without HTTP. A topic that nobody consumes is made by the first publish to it.
func (r *run) createBySubscribing(ctx context.Context, topic string) error {
	if r.spec.Kind == Publish {
		return nil
	}
	for i := range r.spec.Channels {
		c, err := r.subscribe(ctx, topic, channelName(i), 512)
		if err != nil {
			return err
		}
		c.Close()
	}
	return nil
}

// channelName is the name of channel i of every topic.
func channelName(i int) string { return fmt.Sprintf("ch%d", i) }

// subscribe returns a connection that has subscribed.
func (r *run) subscribe(ctx context.Context, topic, channel string, buffer int) (*conn, error) {
	c, err := dial(ctx, r.broker, consumerHello(r.spec.Buffering), buffer)
	if err != nil {
		return nil, err
	}
	if err := c.command("SUB " + topic + " " + channel); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (r *run) post(ctx context.Context, path, topic, channel string, more ...string) error {
	values := url.Values{"topic": {topic}}
	for i := 0; i < len(more); i += 2 {
		values.Set(more[i], more[i+1])
	}
	if channel != "" {
		values.Set("channel", channel)
	}
	if err := r.http.Post(ctx, "http://"+r.broker.HTTP+path+"?"+values.Encode(), nil, nil); err != nil {
		return fmt.Errorf("%s of %s: %w", path, topic, err)
	}
	return nil
}

// countedByBroker asks the broker how many messages it has taken in the topics of this run; nil when it cannot be asked.
func (r *run) countedByBroker(ctx context.Context) *int64 {
	if r.http == nil || !r.made {
		return nil
	}
	var sum int64
	ask := func(topic string) bool {
		var stats httpapi.Stats
		query := url.Values{"format": {"json"}, "include_clients": {"false"}, "include_mem": {"false"}}
		if topic != "" {
			query.Set("topic", topic)
		}
		if err := r.http.Get(ctx, "http://"+r.broker.HTTP+"/stats?"+query.Encode(), &stats); err != nil {
			return false
		}
		for _, t := range stats.Topics {
			if topic != "" || r.owns(t.TopicName) {
				sum += int64(t.MessageCount)
			}
		}
		return true
	}
	if len(r.topics) == 1 {
		if !ask(r.topics[0]) {
			return nil
		}
		return &sum
	}
	if !ask("") {
		return nil
	}
	return &sum
}

// owns reports whether a topic is one of many of this run.
func (r *run) owns(topic string) bool {
	var i int
	n, err := fmt.Sscanf(topic, r.spec.Topic+"-%d", &i)
	return n == 1 && err == nil
}

// cleanUp deletes the topics whose names were made up; the result says when they stay.
func (r *run) cleanUp(result *Result) {
	if r.http == nil {
		if r.made && !r.spec.Keep {
			result.note("the topics %s stay: the broker's HTTP address is needed to delete them", r.spec.Topic)
		}
		return
	}
	defer r.http.Close()
	if !r.made || r.spec.Keep {
		return
	}
	// What ends the load does not end this, but it has its own bound.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := each(len(r.topics), 8, func(i int) error {
		err := r.post(ctx, "/topic/delete", r.topics[i], "")
		var status *httpapi.StatusError
		if errors.As(err, &status) && status.Code == 404 {
			return nil // it was never made
		}
		return err
	})
	if err != nil {
		result.note("a topic stays: %v", err)
	}
}

// atOnce is how many connections are opened at a time.
const atOnce = 16

// openAll opens n connections, some at a time. When one fails it closes the others and returns the first error.
func openAll[C io.Closer](n int, open func(i int) (C, error)) ([]C, error) {
	var mu sync.Mutex
	var opened []C
	list := make([]C, n)
	err := each(n, atOnce, func(i int) (err error) {
		list[i], err = open(i)
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			opened = append(opened, list[i])
		}
		return err
	})
	if err != nil {
		closeAll(opened)
		return nil, err
	}
	return list, nil
}

func closeAll[C io.Closer](list []C) {
	for _, c := range list {
		c.Close()
	}
}

// each calls f with 0 to n-1 from some goroutines, which are joined, and returns the first error; after one, no more
// calls are begun.
func each(n, workers int, f func(i int) error) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	var once sync.Once
	var failed error
	for range min(workers, n) {
		wg.Go(func() {
			for {
				i := int(next.Add(1) - 1)
				if i >= n {
					return
				}
				if err := f(i); err != nil {
					once.Do(func() { failed = err })
					next.Store(int64(n))
					return
				}
			}
		})
	}
	wg.Wait()
	return failed
}
