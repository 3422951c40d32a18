package topic

import "runtime"

// held reports whether consumers get nothing: the channel is paused, or the node delivers nothing at all.
func (c *Channel) held() bool {
	return c.paused.Load() || c.topic.registry.held.Load() || c.topic.unled()
}

// SetDelivery stops the delivery on every channel, or lets it go on. While it is stopped publishes are accepted, what consumers
// answer is taken, and timeouts go on. What was taken for a consumer before leaves at once, however long it may wait for
// company otherwise. After SetDelivery(false) InFlight only falls.
func (r *Registry) SetDelivery(on bool) {
	if r.held.Swap(!on) == !on {
		return
	}
	for _, t := range r.unsorted() {
		for _, c := range t.Channels() {
			c.enter()
			c.machine.Resettle()
			c.exit()
		}
	}
}

// InFlight returns how many messages consumers have and have not answered, on all channels.
func (r *Registry) InFlight() (n int) {
	for _, t := range r.unsorted() {
		for _, c := range t.Channels() {
			c.mu.Lock()
			n += c.machine.InFlight()
			c.mu.Unlock()
		}
	}
	return n
}

// Volatile returns how many messages of topics at level memory are in memory only, and in which topics: what is lost if the
// process ends now. Ephemeral topics and channels, which a stop does not save either, are not among them. It waits for no disk.
func (r *Registry) Volatile() (messages int, topics []string) {
	for _, t := range r.Topics() {
		if t.store.level() > Memory || t.ephemeral {
			continue
		}
		n := t.own.volatile()
		for _, c := range t.Channels() {
			n += c.volatile()
		}
		if n > 0 {
			messages += n
			topics = append(topics, t.name)
		}
	}
	return messages, topics
}

// volatile is the channel's part of Volatile. The final save holds the channel's lock over writes to disk, and counts for us what
// it has not written yet.
func (c *Channel) volatile() int {
	if !c.onDiskAllowed() {
		return 0
	}
	for !c.mu.TryLock() {
		if n := c.unsaved.Load(); n > 0 {
			return int(n)
		}
		runtime.Gosched()
	}
	defer c.mu.Unlock()
	return c.machine.InMemory()
}
