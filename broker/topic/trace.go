package topic

import "brokerd/protocol"

// Tracer is told what happens to some messages. Its methods must not wait, and are called without a lock.
type Tracer interface {
	// Published tells of count messages with ids from first on, stamped with at, that are accepted.
	Published(topic string, first protocol.MessageID, count int, at int64)
	// Traces reports whether Delivered is to be called for a message.
	Traces(id protocol.MessageID) bool
	// Delivered tells that a message, published at that time, goes to a consumer for the attempts-th time.
	Delivered(topic, channel string, id protocol.MessageID, at int64, attempts uint16)
}

// traceTaken tells of the messages of a delivery behind the first ones, which were told of before.
func (c *Channel) traceTaken(d *Delivery, told int) {
	to := c.topic.registry.cfg.Trace
	for i := range d.Runs {
		run := &d.Runs[i]
		for frames := run.Frames; len(frames) > 0; told-- {
			f := protocol.FirstMessage(frames)
			frames = frames[len(f):]
			id, ok := f.ID()
			if told > 0 || !ok || !to.Traces(id) {
				continue
			}
			attempts := run.Attempts
			if attempts == 0 {
				attempts = f.Attempts()
			}
			to.Delivered(c.topic.name, c.name, id, f.Timestamp(), attempts)
		}
	}
}
