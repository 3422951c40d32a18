package fleet

import (
	"context"
	"slices"
	"time"
)

// backlogAge is how old a Backlog's figure may become before the brokers are asked again.
const backlogAge = 2 * time.Second

// Backlog tells how many messages wait in a channel, of one topic or several, for whoever shows how far it has come. It is used
// by one goroutine.
type Backlog struct {
	ctx     context.Context
	fleet   *Fleet
	topics  func() []string
	channel string

	asked time.Time
	left  int64
	known bool
}

// NewBacklog returns a Backlog that asks nobody yet. When ctx is done it asks nobody any more.
func NewBacklog(ctx context.Context, f *Fleet, channel string, topics func() []string) *Backlog {
	return &Backlog{ctx: ctx, fleet: f, channel: channel, topics: topics}
}

// Left returns how many messages wait, are in flight or deferred; ok is false when that is not known: there is no lookup or
// broker to ask, or one does not answer.
func (b *Backlog) Left() (left int64, ok bool) {
	if time.Since(b.asked) < backlogAge || b.ctx.Err() != nil {
		return b.left, b.known
	}
	b.asked, b.left, b.known = time.Now(), 0, false
	topics := b.topics()
	q := Query{Channel: b.channel}
	if len(topics) == 1 {
		q.Topic = topics[0]
	}
	brokers, failures := b.fleet.Brokers(b.ctx, q.Topic)
	if len(brokers) == 0 || len(failures) > 0 {
		return 0, false
	}
	for _, a := range b.fleet.Stats(b.ctx, brokers, q) {
		if a.Err != nil {
			return 0, false
		}
		for i := range a.Value.Topics {
			t := &a.Value.Topics[i]
			if !slices.Contains(topics, t.TopicName) {
				continue
			}
			for j := range t.Channels {
				c := &t.Channels[j]
				b.left += c.Depth + int64(c.InFlightCount) + int64(c.DeferredCount)
			}
		}
	}
	b.known = true
	return b.left, true
}
