package registry

// grave names a tombstone that no record carries at the moment: the broker is away, or the key was deleted.
type grave struct {
	topic, channel string // channel is empty for a topic's
	node           string // Peer.node
}

// graves holds tombstones for the brokers that may come back to them, and knows when a tombstone lapses. Guarded by
// Registry.mu.
type graves struct {
	lifetime stamp
	at       map[grave]stamp
	order    []buried // as put, to forget them without a search
}

type buried struct {
	grave
	at stamp
}

// holds reports whether a tombstone set at the given time still hides.
func (g *graves) holds(tombstone, now stamp) bool {
	return tombstone != 0 && now-tombstone < g.lifetime
}

// keep remembers a tombstone, unless it has lapsed, and forgets those that have.
func (g *graves) keep(what grave, tombstone, now stamp) {
	for len(g.order) > 0 && !g.holds(g.order[0].at, now) {
		if first := g.order[0]; g.at[first.grave] == first.at {
			delete(g.at, first.grave)
		}
		g.order = g.order[1:]
	}
	if g.holds(tombstone, now) {
		g.at[what] = tombstone
		g.order = append(g.order, buried{what, tombstone})
	}
}

// take hands a remembered tombstone over to a record; 0 when there is none that still hides.
func (g *graves) take(what grave, now stamp) stamp {
	tombstone := g.at[what]
	delete(g.at, what)
	if !g.holds(tombstone, now) {
		return 0
	}
	return tombstone
}
