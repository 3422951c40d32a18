package topic

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"brokerd/diskqueue/journal"
)

// A redrive that ends with the broker has moved some and left the rest where it was: each dead letter is in one topic or the other. It is not
// gone on with, as whoever began it may not want that any more; it is shown as stopped, until the next one.

// redriveOption is under what name the log keeps a redrive that has not ended, among the options of the channel.
const redriveOption = "redrive"

// keptRedrive is what the log keeps of one.
type keptRedrive struct {
	From     string    `json:"from"`
	Began    time.Time `json:"began"`
	Limit    int       `json:"limit,omitempty"`
	Rate     int       `json:"rate,omitempty"`
	Moved    int       `json:"moved"`
	InFlight int       `json:"in_flight,omitempty"`
}

// endedWithBroker is why a redrive has stopped that nobody has stopped.
const endedWithBroker = "the broker was stopped before it had ended: what has not gone back is still there, and a new redrive sends it"

// cut says that a redrive has ended with the broker.
func (r *Redrive) cut() { r.Stopped, r.Error = true, endedWithBroker }

// keptOptions returns the options of the channel as the log keeps them, with a redrive that has not ended by itself. Channel.mu is held.
func (c *Channel) keptOptions() json.RawMessage {
	raw := c.set.Load().Raw()
	if r := c.redrive; r != nil && (r.Ended.IsZero() || r.Error == endedWithBroker) {
		b, err := json.Marshal(keptRedrive{From: r.From, Began: r.Began, Limit: r.Limit, Rate: r.Rate, Moved: r.Moved, InFlight: r.InFlight})
		if err == nil {
			if raw = maps.Clone(raw); raw == nil {
				raw = map[string]json.RawMessage{}
			}
			raw[redriveOption] = b
		}
	}
	return encodeOptions(raw)
}

// restoreRedrive takes what an earlier life has left of a redrive out of the options that the log has. Nobody knows the channel yet.
func (c *Channel) restoreRedrive(raw map[string]json.RawMessage) {
	b, ok := raw[redriveOption]
	if !ok {
		return
	}
	delete(raw, redriveOption)
	var k keptRedrive
	if json.Unmarshal(b, &k) != nil || k.From == "" {
		return
	}
	c.redrive = &redrive{stop: func() {}, Redrive: Redrive{From: k.From, Began: k.Began, Ended: c.topic.registry.start, Limit: k.Limit,
		Rate: k.Rate, Moved: k.Moved, InFlight: k.InFlight}}
	c.redrive.cut()
}

// keepOptions has the log keep the channel's options as they are now. Nobody waits for it.
func (c *Channel) keepOptions() {
	t := c.topic
	t.pub.Lock()
	defer t.pub.Unlock()
	if t.deleted.Load() || !slices.Contains(t.Channels(), c) {
		return
	}
	t.d.log.Append(journal.KindChange, journal.AppendChange(nil, c.optionsChange()), nil)
}
