package registry

import (
	"slices"
	"strings"

	"brokerd/protocol"
)

// key is a topic or a channel and who has it. Guarded by Registry.mu.
type key struct {
	name    string
	kept    bool     // known by more than tombstoned records: made over HTTP, or registered by a broker that is told
	records []record // sorted by peer
}

// record says that a peer has a key.
type record struct {
	peer      *Peer
	tombstone stamp // 0 when there was none
}

// topic is a topic's key with its channels.
type topic struct {
	key
	channels []*key // sorted by name
	asked    bool   // made over HTTP: it stays without a broker
	orphan   stamp  // since when it has no record; 0 when it has one, or never had
}

func (k *key) find(p *Peer) (int, bool) {
	return slices.BinarySearchFunc(k.records, p, func(rec record, p *Peer) int { return rec.peer.compare(p) })
}

// remove takes p's record out. Before that a key whose tombstones have lapsed becomes kept, for it was told.
func (k *key) remove(p *Peer, g *graves, now stamp) (record, bool) {
	i, found := k.find(p)
	if !found {
		return record{}, false
	}
	k.kept = k.visible(g, now)
	rec := k.records[i]
	k.records = slices.Delete(k.records, i, i+1)
	return rec, true
}

// spent reports whether a key whose record was just removed is to go.
func (k *key) spent() bool {
	return len(k.records) == 0 && (!k.kept || protocol.IsEphemeral(k.name))
}

// visible reports whether the key is in answers.
func (k *key) visible(g *graves, now stamp) bool {
	return k.kept || slices.ContainsFunc(k.records, func(rec record) bool { return !g.holds(rec.tombstone, now) })
}

func (t *topic) findChannel(name string) (int, bool) {
	return slices.BinarySearchFunc(t.channels, name, func(c *key, name string) int { return strings.Compare(c.name, name) })
}

// removeFromChannels takes p's records out of all channels, drops what is spent, and returns how many records there were. With
// carry their tombstones wait for the broker to come back.
func (t *topic) removeFromChannels(p *Peer, g *graves, now stamp, carry bool) (removed int) {
	t.channels = slices.DeleteFunc(t.channels, func(c *key) bool {
		rec, found := c.remove(p, g, now)
		if !found {
			return false
		}
		removed++
		if carry {
			g.keep(grave{t.name, c.name, p.node}, rec.tombstone, now)
		}
		return c.spent()
	})
	return removed
}
