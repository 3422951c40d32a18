package topic

import "errors"

// ErrDraining is the refusal of publishes, and of consumers, by a node that is being emptied.
var ErrDraining = errors.New("the broker is draining: use another one")

// SetDraining has publishes refused, and new consumers, topics and channels, or takes them again. What is there already stays.
func (r *Registry) SetDraining(publishes, newcomers bool) {
	r.noPublishes.Store(publishes)
	r.noNewcomers.Store(newcomers)
}

// TakesPublishes returns why publishes are refused, nil when they are not.
func (r *Registry) TakesPublishes() error {
	if r.noPublishes.Load() {
		return ErrDraining
	}
	return nil
}

// takesNewcomers returns why no consumer, topic or channel may come now, nil when they may.
func (r *Registry) takesNewcomers() error {
	if r.noNewcomers.Load() {
		return ErrDraining
	}
	return nil
}

// Held returns how many messages are not finished yet on all channels and in topics: those that wait, that are deferred, and that are
// out; out are those that consumers have.
func (r *Registry) Held() (all int64, out int) {
	for _, t := range r.unsorted() {
		for _, c := range append([]*Channel{t.own}, t.Channels()...) {
			s := c.Stats()
			all += s.Depth + int64(s.InFlight+s.Deferred)
			out += s.InFlight
		}
	}
	return all, out
}
