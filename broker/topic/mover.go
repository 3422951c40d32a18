package topic

import (
	"time"

	"brokerd/protocol"
)

// Mover is a Consumer that stays when the lead of its topic goes to another broker.
type Mover interface {
	// Moved tells that the lead of the subscription's topic is lost: nothing comes by it any more. Who wants to stay calls Abandon; who does not
	// is closed.
	Moved(s *Subscription)
}

// Held is a message that a consumer has, and how long it may still take to answer it.
type Held struct {
	ID    protocol.MessageID
	Until time.Duration
}

// letGo tells consumers that can go elsewhere that the lead is lost. No lock is held.
func (t *Topic) letGo() {
	for _, c := range t.Channels() {
		c.beginExit()
		for _, s := range c.Subscriptions() {
			if m, ok := s.Owner().(Mover); ok {
				m.Moved(s)
			}
		}
	}
}

// Abandon ends a subscription whose topic is not led here any more, and returns what its consumer has. Answers to that are for who leads next.
func (s *Subscription) Abandon() (held []Held) {
	c := s.channel
	c.enterNow()
	defer c.exit()
	c.machine.Abandon(&s.consumer, func(id protocol.MessageID, left time.Duration) { held = append(held, Held{id, left}) })
	return held
}

// Timeout returns how long a message that is delivered now may take.
func (s *Subscription) Timeout() time.Duration {
	c := s.channel
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.machine.Timeout(&s.consumer)
}
