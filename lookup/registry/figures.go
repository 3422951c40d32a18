package registry

import "time"

// Figures are how much a Registry knows.
type Figures struct {
	Active, Silent         int // brokers that are told of, and those that have been silent for too long
	Topics, Channels       int
	Registrations          int // topics of brokers, each topic counted for each broker that has it
	Tombstoned, Tombstones int // of the registrations, hidden ones; and tombstones of brokers or topics that are away
}

// Figures returns the figures of now.
func (r *Registry) Figures(now time.Time) (f Figures) {
	at := r.stamp(now)
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, p := range r.peers {
		if r.active(p, at) {
			f.Active++
		} else {
			f.Silent++
		}
	}
	for _, t := range r.topics {
		if !t.visible(&r.graves, at) {
			continue
		}
		f.Topics++
		f.Channels += len(t.channels)
		f.Registrations += len(t.records)
		for _, rec := range t.records {
			if r.graves.holds(rec.tombstone, at) {
				f.Tombstoned++
			}
		}
	}
	for _, buried := range r.graves.at {
		if r.graves.holds(buried, at) {
			f.Tombstones++
		}
	}
	return f
}
