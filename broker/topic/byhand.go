package topic

// FinishByHand takes one message off the channel for good, whatever the channel has of it, and returns what that was, once the log says so: it
// counts as discarded by hand. A consumer that has it in flight is told with its answer that it is not in flight. It fails with ErrNoMessage
// when the channel has nothing of it, or when it is just being moved to a dead letter topic, with ErrNoPositions, or with the error of the log;
// with the last the message is gone, but may come back with a crash.
func (c *Channel) FinishByHand(pos Position) (was OnChannel, err error) {
	t := c.topic
	if t.d == nil {
		return was, ErrNoPositions
	}
	if err := t.registry.writable(); err != nil {
		return was, err
	}
	l := c.locate(pos)
	was = OnChannel{Channel: c.name, Found: l.Found()}
	place := l.Place()
	c.enterNow()
	done := c.machine.FinishByHand(pos, place)
	c.exit()
	if !done {
		return was, ErrNoMessage
	}
	t.pub.Lock()
	c.measure()
	t.pub.Unlock()
	t.registry.log.Info("message finished by hand", "topic", t.name, "channel", c.name, "position", uint64(pos), "was", string(was.State))
	return was, t.settleChannels([]*Channel{c})
}
