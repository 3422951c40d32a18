package vfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// KillClone returns a copy as the end of the process leaves it: everything written and every name is there, and what was
// not synced can still be lost by a power cut. Nothing is open in it.
func (m *Mem) KillClone() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := cloner{copies: make(map[any]any)}
	clone := m.finishClone(c.dir(m.root))
	clone.freed = slices.Clone(m.freed) // their bytes never change
	return clone
}

// CrashClone returns a copy as a power cut may leave it, chosen by rng: of every file the synced content, in which any
// sectors written since may show any of their later contents and one of the last write may be torn; a size that the file
// had since; of every folder the synced names, with any of the later changes that do not build on one which was forgotten; and what its style adds.
// Nothing is open in it and all of it is durable.
func (m *Mem) CrashClone(rng *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	// A disk that lost nothing and one that lost all are as likely together as the shades between.
	keep := []float64{0, 1, rng.Float64(), rng.Float64()}[rng.IntN(4)]
	c := cloner{copies: make(map[any]any), rng: rng, keep: keep, style: m.style, freed: m.freed}
	return m.finishClone(c.dir(m.root))
}

// finishClone wraps a copied tree and counts its bytes.
func (m *Mem) finishClone(root *memDir) *Mem {
	clone := &Mem{root: root, limit: m.limit, style: m.style}
	var count func(d *memDir)
	count = func(d *memDir) {
		for _, node := range d.entries {
			switch node := node.(type) {
			case *memDir:
				count(node)
			case *memFile:
				if node.names++; node.names == 1 {
					clone.used += int64(len(node.data))
				}
			}
		}
	}
	count(root)
	return clone
}

// cloner copies a tree, each node once.
type cloner struct {
	copies map[any]any
	rng    *rand.Rand // nil: everything is kept
	keep   float64    // chance that something unsynced is kept
	style  Style
	freed  [][]byte
}

func (c *cloner) keeps() bool { return c.rng.Float64() < c.keep }

func (c *cloner) node(node any) any {
	if done, ok := c.copies[node]; ok {
		return done
	}
	switch node := node.(type) {
	case *memDir:
		c.copies[node] = c.dir(node)
	case *memFile:
		c.copies[node] = c.file(node)
	}
	return c.copies[node]
}

func (c *cloner) dir(d *memDir) *memDir {
	made := newMemDir()
	made.locked = d.locked
	if c.rng == nil {
		made.entries, made.synced = c.names(d.entries), c.names(d.synced)
		for _, change := range d.pending {
			if change.node != nil {
				change.node = c.node(change.node)
			}
			made.pending = append(made.pending, change)
		}
		for _, name := range slices.Sorted(maps.Keys(d.stuck)) { // nobody can know of that who was not told: its sync counts
			if node := made.entries[name]; node != nil {
				made.pending = append(made.pending, dirChange{add: name, node: node})
			} else {
				made.pending = append(made.pending, dirChange{remove: name})
			}
		}
		return made
	}
	made.entries = c.names(c.survivors(d))
	made.sync()
	return made
}

// names copies what the names stand for, in order, so that one seed always gives one clone.
func (c *cloner) names(entries map[string]any) map[string]any {
	made := make(map[string]any, len(entries))
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		made[name] = c.node(entries[name])
	}
	return made
}

// survivors are the names that a power cut leaves in a folder.
func (c *cloner) survivors(d *memDir) map[string]any {
	left := maps.Clone(d.synced)
	forgotten := make(map[string]bool) // names whose history was cut off
	for _, change := range d.pending {
		if forgotten[change.remove] || forgotten[change.add] || !c.keeps() {
			for _, name := range []string{change.remove, change.add} {
				if name != "" {
					forgotten[name] = true
				}
			}
			continue
		}
		if rename := change.add != "" && change.remove != ""; rename && c.style.TornRenames && c.rng.IntN(4) == 0 {
			change.remove = ""
		} else if rename && c.style.LostRenames && c.rng.IntN(4) == 0 {
			change.add = ""
		}
		change.apply(left)
	}
	return left
}

func (c *cloner) file(f *memFile) *memFile {
	made := &memFile{data: slices.Clone(f.data), locked: f.locked, broken: maps.Clone(f.broken)}
	if c.rng == nil {
		made.sizes, made.last, made.clean = slices.Clone(f.sizes), f.last, maps.Clone(f.clean)
		made.unsynced = make(map[int64][][]byte, len(f.unsynced))
		for s, versions := range f.unsynced {
			made.unsynced[s] = slices.Clone(versions) // their bytes never change
		}
		return made
	}
	size := int64(len(f.data))
	if len(f.sizes) > 0 && !c.keeps() {
		size = f.sizes[c.rng.IntN(len(f.sizes))]
	}
	made.data = slices.Grow(made.data, int(max(0, size-int64(len(f.data)))))[:size]
	if old := int64(len(f.data)); size > old {
		clear(made.data[old:])
	}
	for _, s := range slices.Sorted(maps.Keys(f.unsynced)) {
		c.sector(f, made.data, s)
	}
	return made
}

// sector chooses what an unsynced sector shows.
func (c *cloner) sector(f *memFile, data []byte, s int64) {
	versions, at := f.unsynced[s], s*sectorSize
	if at >= int64(len(data)) {
		return
	}
	latest := make([]byte, sectorSize)
	if at < int64(len(f.data)) {
		copy(latest, f.data[at:])
	}
	older := versions[0]
	if c.rng.IntN(3) == 0 {
		older = versions[c.rng.IntN(len(versions))]
	}
	chosen := older
	if c.keeps() {
		chosen = latest
	} else if grown := len(f.sizes) > 0 && at >= f.sizes[0]; grown && c.style.Stale && c.rng.IntN(2) == 0 {
		chosen = c.stale(at)
	}
	if inLast := at < f.last.to && at+sectorSize > f.last.from; inLast && c.rng.IntN(8) == 0 {
		cut := c.rng.IntN(sectorSize)
		chosen = slices.Concat(latest[:cut], versions[len(versions)-1][cut:])
	}
	copy(data[at:], chosen)
}

// stale returns a sector of a file that is gone, from the same place if it had one there: that looks most like what it is not.
func (c *cloner) stale(at int64) []byte {
	sector := make([]byte, sectorSize)
	if len(c.freed) == 0 {
		return sector
	}
	data := c.freed[c.rng.IntN(len(c.freed))]
	if at >= int64(len(data)) {
		at = c.rng.Int64N(int64(len(data))) / sectorSize * sectorSize
	}
	copy(sector, data[at:])
	return sector
}
