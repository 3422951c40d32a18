package delivery

import (
	"context"
	"sync"
	"time"

	"github.com/nsqio/go-nsq"
)

// defaultMsgTimeout is nsqd's --msg-timeout, which go-nsq does not tell of.
const defaultMsgTimeout = time.Minute

// Hands holds the messages that were given and are not answered. It is safe for concurrent use.
type Hands struct {
	every time.Duration // after which a message is touched

	mu   sync.Mutex
	held map[*nsq.Message]time.Time // when they were given, or touched last
}

// NewHands returns empty hands. The timeout is what the consumer asked the broker for; 0 stands for the broker's default.
func NewHands(msgTimeout time.Duration) *Hands {
	if msgTimeout <= 0 {
		msgTimeout = defaultMsgTimeout
	}
	return &Hands{every: msgTimeout / 3, held: make(map[*nsq.Message]time.Time)}
}

// Take holds m, which go-nsq will no longer answer by itself.
func (h *Hands) Take(m *nsq.Message) {
	m.DisableAutoResponse()
	now := time.Now()
	h.mu.Lock()
	h.held[m] = now
	h.mu.Unlock()
}

// Finish tells the broker that m is done.
func (h *Hands) Finish(m *nsq.Message) {
	h.drop(m)
	m.Finish()
}

// Requeue gives m back because it failed: the broker delivers it again after the delay, -1 for the one that grows with its
// attempts, and the consumer asks for less for a while.
func (h *Hands) Requeue(m *nsq.Message, delay time.Duration) {
	h.drop(m)
	m.Requeue(delay)
}

// Postpone gives m back because of what it is: the broker delivers it again after the delay, as with Requeue, and others
// need not wait for it.
func (h *Hands) Postpone(m *nsq.Message, delay time.Duration) {
	h.drop(m)
	m.RequeueWithoutBackoff(delay)
}

// Return gives m back untried, for whoever wants it at once.
func (h *Hands) Return(m *nsq.Message) {
	h.drop(m)
	m.RequeueWithoutBackoff(0)
}

func (h *Hands) drop(m *nsq.Message) {
	h.mu.Lock()
	delete(h.held, m)
	h.mu.Unlock()
}

// Len returns how many messages are held.
func (h *Hands) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.held)
}

// KeepAlive touches what is held until ctx is done, three times in a message's timeout.
func (h *Hands) KeepAlive(ctx context.Context) {
	tick := time.NewTicker(max(h.every/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, m := range h.due(now) {
				m.Touch()
			}
		}
	}
}

// due returns what is to be touched, which counts as touched from now on.
func (h *Hands) due(now time.Time) (due []*nsq.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for m, since := range h.held {
		if now.Sub(since) >= h.every {
			h.held[m] = now
			due = append(due, m)
		}
	}
	return due
}
