package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"sort"
	"time"

	"brokerd/protocol"
)

// Key is what is remembered of a deduplication key: the first 128 bits of SHA-256 of the topic's name, a line feed and the key's text. Its
// zero value is no key.
type Key [16]byte

// KeySize is the size of a Key in bytes.
const KeySize = len(Key{})

// NewKey returns the Key of a text in a topic. An empty text is no key.
func NewKey(topic string, text []byte) (k Key) {
	if len(text) == 0 {
		return k
	}
	var small [512]byte
	if n := len(topic) + 1 + len(text); n <= len(small) {
		b := append(small[:0], topic...)
		b = append(b, '\n')
		sum := sha256.Sum256(append(b, text...))
		copy(k[:], sum[:])
		return k
	}
	h := sha256.New()
	_, _ = h.Write([]byte(topic + "\n")) // it never fails
	_, _ = h.Write(text)
	copy(k[:], h.Sum(nil))
	return k
}

// Keys are the deduplication keys that a topic remembers, each with the position of its message and the second in which that was accepted:
// a ring in the order of positions, and an index. A key takes 36 bytes. Its zero value and nil are empty; nil takes none. It has no lock.
type Keys struct {
	first, next uint64 // numbers of the oldest key and of the next one
	forgotten   int    // of those in between that Forget has taken out
	seen        uint64 // numbers below this may be in a snapshot
	chunks      []*keyChunk
	index       []uint32 // open addressing, at most half full; 0: empty. See slot
	warm        uint32   // what Warm has read
}

// keyChunk is keys whose numbers follow each other. What snapshots see of it never changes.
type keyChunk struct {
	keys []Key
	pos  []Position
	at   []uint32
}

// Numbers of keys in a chunk, in the first one of few keys less.
const (
	chunkKeys  = 1 << chunkShift
	chunkShift = 10
	fewKeys    = 16
)

// keyBytes is what a key takes in a chunk.
const keyBytes = KeySize + 8 + 4

func newKeyChunk(size int) *keyChunk {
	return &keyChunk{make([]Key, size), make([]Position, size), make([]uint32, size)}
}

func (c *keyChunk) copy(size int) *keyChunk {
	d := newKeyChunk(size)
	copy(d.keys, c.keys)
	copy(d.pos, c.pos)
	copy(d.at, c.at)
	return d
}

// Len returns the number of keys.
func (k *Keys) Len() int {
	if k == nil {
		return 0
	}
	return int(k.next-k.first) - k.forgotten
}

// Bytes returns the memory that they take.
func (k *Keys) Bytes() int {
	if k == nil {
		return 0
	}
	n := len(k.index) * 4
	if c := len(k.chunks); c > 0 {
		n += (c-1)*chunkKeys*keyBytes + len(k.chunks[c-1].keys)*keyBytes
	}
	return n
}

// chunk returns where the key of a number is.
func (k *Keys) chunk(n uint64) (c *keyChunk, i int) {
	return k.chunks[n>>chunkShift-k.first>>chunkShift], int(n % chunkKeys)
}

func (k *Keys) key(n uint64) *Key {
	c, i := k.chunk(n)
	return &c.keys[i]
}

// keySeed makes it unknown to others where in the index a key is.
var keySeed = rand.Uint64() | 1

// hash returns what the place of a key comes of: its first bits are its home, and those behind them are in its entry.
func (key *Key) hash() uint64 { return binary.LittleEndian.Uint64(key[:]) * keySeed }

// home returns where in the index a key belongs.
func (k *Keys) home(key *Key) uint32 { return uint32(key.hash() >> (64 - k.bits())) }

// bits returns of how many bits the places of the index are.
func (k *Keys) bits() int { return bits.TrailingZeros(uint(len(k.index))) }

// An entry of the index is, from its lowest bit on: the number of a key, as many bits as places have; how far it is behind its home, 6
// bits or what is left, where all ones stand for farther; bits of the key's hash; and a one. So an entry moves without a look at its key, also to an
// index of twice the size.

// slot returns the entry of a key that is so far behind its home.
func (k *Keys) slot(key *Key, n uint64, far uint32) uint32 {
	places := k.bits()
	return 1<<31 | k.tag(key) | min(far, k.farthest())<<places | uint32(n)&k.mask()
}

// tag returns the bits of a key's hash that its entry has, those behind its home.
func (k *Keys) tag(key *Key) uint32 {
	return uint32(key.hash()<<k.bits()>>(64-k.tagBits())) << (k.bits() + k.farBits())
}

// tagBits returns how many they are.
func (k *Keys) tagBits() int { return 31 - k.bits() - k.farBits() }

// farBits returns how many bits say how far an entry is behind its home.
func (k *Keys) farBits() int { return min(mostFarBits, 31-k.bits()) }

// mostFarBits is a variable for tests only.
var mostFarBits = 6

// farthest returns what stands for as far as it, or farther.
func (k *Keys) farthest() uint32 { return 1<<k.farBits() - 1 }

// far returns how far the entry at a place is behind its home.
func (k *Keys) far(at uint32) uint32 {
	slot := k.index[at]
	if far := slot >> k.bits() & k.farthest(); far < k.farthest() {
		return far
	}
	return (at - k.home(k.key(k.number(slot)))) & k.mask()
}

func (k *Keys) mask() uint32 { return uint32(len(k.index) - 1) }

// number returns the number of the key that an entry is for: all there are lie within half of the index's size.
func (k *Keys) number(slot uint32) uint64 {
	return k.first + uint64((slot-uint32(k.first))&k.mask())
}

// warmKeys is how many keys Warm and WarmOldest look up together.
const warmKeys = 64

// Warm brings together into the processor's cache where keys are looked for, up to 64 of them: one after the other each would be waited for.
func (k *Keys) Warm(keys []Key) {
	if len(k.index) == 0 {
		return
	}
	warm := uint32(0)
	for i := range keys[:min(len(keys), warmKeys)] {
		warm += k.index[k.home(&keys[i])]
	}
	k.warm = warm
}

// WarmOldest is Warm for the oldest keys, which are about to be dropped.
func (k *Keys) WarmOldest() { k.warmNumbers(k.first, min(k.next, k.first+warmKeys)) }

// warmNumbers is Warm for keys by their numbers.
func (k *Keys) warmNumbers(from, to uint64) {
	warm := uint32(0)
	for n := from; n < to; n++ {
		warm += k.index[k.home(k.key(n))]
	}
	k.warm = warm
}

// Find returns the position of the message that had a key and was accepted between two seconds, both counted in.
func (k *Keys) Find(key Key, from, to uint32) (pos Position, ok bool) {
	if len(k.index) == 0 {
		return 0, false
	}
	pos, _, ok = k.find(&key, from, to)
	return pos, ok
}

// find is Find, and else returns the empty place in the index where the key can go.
func (k *Keys) find(key *Key, from, to uint32) (pos Position, empty uint32, ok bool) {
	mask, most, places := k.mask(), k.farthest(), k.bits()
	i, same := k.home(key), k.slot(key, 0, 0)
	for far := uint32(0); k.index[i] != 0; i, far = (i+1)&mask, far+1 {
		if k.index[i]&^mask != same|min(far, most)<<places {
			continue
		}
		c, at := k.chunk(k.number(k.index[i]))
		if c.keys[at] == *key && c.at[at] >= from && c.at[at] <= to {
			return c.pos[at], 0, true
		}
	}
	return 0, i, false
}

// Add remembers a key. The position must be above those of all others.
func (k *Keys) Add(key Key, pos Position, at uint32) {
	k.makeRoom()
	k.push(key, pos, at)
	k.put(&key, k.next-1)
}

// FindOrAdd is Find, and Add when it finds nothing.
func (k *Keys) FindOrAdd(key Key, from, to uint32, pos Position, at uint32) (first Position, found bool) {
	k.makeRoom()
	first, empty, found := k.find(&key, from, to)
	if !found {
		k.push(key, pos, at)
		k.index[empty] = k.slot(&key, k.next-1, (empty-k.home(&key))&k.mask())
	}
	return first, found
}

// makeRoom sees to it that the index has room for one more.
func (k *Keys) makeRoom() {
	switch n := k.next - k.first; {
	case 2*(n+1) <= uint64(len(k.index)):
	case len(k.index) == 0:
		k.reindex(2 * fewKeys)
	case k.tagBits() == 0:
		k.reindex(2 * len(k.index))
	default:
		k.double()
	}
}

// double makes an index of twice the size of the one that there is: from front to back, and without a look at most keys, in which the processor would
// wait for memory at each.
func (k *Keys) double() {
	old, places, far, most, tag := k.index, k.bits(), k.farBits(), k.farthest(), k.tagBits()
	numbers := k.mask()
	k.index = make([]uint32, 2*len(old))
	mask := k.mask()
	for at, slot := range old {
		if slot == 0 {
			continue
		}
		n := k.first + uint64((slot-uint32(k.first))&numbers)
		behind := slot >> places & most
		if behind == most {
			k.put(k.key(n), n)
			continue
		}
		hash := slot >> (places + far) & (1<<tag - 1) // its first bit is one of the place now
		i := ((uint32(at)-behind)&numbers)<<1 | hash>>(tag-1)
		rest := hash & (1<<(tag-1) - 1) << (places + 1 + far)
		for behind = 0; k.index[i] != 0; behind++ {
			i = (i + 1) & mask
		}
		k.index[i] = 1<<31 | rest | min(behind, most)<<(places+1) | uint32(n)&mask
	}
}

// push is Add without the index.
func (k *Keys) push(key Key, pos Position, at uint32) {
	c, i := k.room()
	c.keys[i], c.pos[i], c.at[i] = key, pos, at
	k.next++
}

// enter makes the index of keys that were pushed.
func (k *Keys) enter() {
	if n := k.next - k.first; n > 0 {
		k.reindex(1 << bits.Len64(max(2*n, 2*fewKeys)))
	}
}

// room returns where the next key goes.
func (k *Keys) room() (*keyChunk, int) {
	i := int(k.next % chunkKeys)
	switch at := int(k.next>>chunkShift - k.first>>chunkShift); {
	case at == len(k.chunks) && at == 0:
		k.chunks = append(k.chunks, newKeyChunk(max(fewKeys, i+1)))
	case at == len(k.chunks):
		k.chunks = append(k.chunks, newKeyChunk(chunkKeys))
	case i >= len(k.chunks[at].keys):
		k.chunks[at] = k.chunks[at].copy(min(chunkKeys, 4*len(k.chunks[at].keys)))
	}
	return k.chunks[len(k.chunks)-1], i
}

// put enters a key into the index.
func (k *Keys) put(key *Key, n uint64) {
	i, mask, far := k.home(key), k.mask(), uint32(0)
	for ; k.index[i] != 0; far++ {
		i = (i + 1) & mask
	}
	k.index[i] = k.slot(key, n, far)
}

// reindex makes an index of another size, a power of two.
func (k *Keys) reindex(size int) {
	k.index = make([]uint32, size)
	for from := k.first; from < k.next; from += warmKeys {
		to := min(k.next, from+warmKeys)
		k.warmNumbers(from, to)
		for n := from; n < to; n++ {
			if key := k.key(n); *key != (Key{}) {
				k.put(key, n)
			}
		}
	}
}

// unindex takes a key out of the index: those behind it that it has kept from their homes move up.
func (k *Keys) unindex(key *Key, n uint64) {
	mask := k.mask()
	gap := k.home(key)
	for k.index[gap] == 0 || k.number(k.index[gap]) != n {
		gap = (gap + 1) & mask
	}
	for i := (gap + 1) & mask; k.index[i] != 0; i = (i + 1) & mask {
		if far, by := k.far(i), (i-gap)&mask; far >= by {
			k.index[gap] = k.index[i]&^(k.farthest()<<k.bits()) | min(far-by, k.farthest())<<k.bits()
			gap = i
		}
	}
	k.index[gap] = 0
}

// Oldest returns the position and the second of the oldest key, which may be one that was forgotten; false when there is none.
func (k *Keys) Oldest() (pos Position, at uint32, ok bool) {
	if k == nil || k.first == k.next {
		return 0, 0, false
	}
	c, i := k.chunk(k.first)
	return c.pos[i], c.at[i], true
}

// Newest is Oldest for the newest key.
func (k *Keys) Newest() (pos Position, at uint32, ok bool) {
	if k == nil || k.first == k.next {
		return 0, 0, false
	}
	c, i := k.chunk(k.next - 1)
	return c.pos[i], c.at[i], true
}

// DropOldest forgets the oldest key, and reports whether it was not forgotten before. There must be one.
func (k *Keys) DropOldest() (was bool) {
	key := k.key(k.first)
	if was = *key != (Key{}); was {
		k.unindex(key, k.first)
	} else {
		k.forgotten--
	}
	k.first++
	if k.first%chunkKeys == 0 {
		k.chunks[0] = nil
		k.chunks = k.chunks[1:]
	}
	k.shrink()
	return was
}

// dropNewest forgets the newest key, as if it had never been there.
func (k *Keys) dropNewest() {
	if c, _ := k.chunk(k.next - 1); k.next <= k.seen { // what comes in its place is not to be seen
		k.chunks[len(k.chunks)-1] = c.copy(len(c.keys))
	}
	key := k.key(k.next - 1)
	if *key != (Key{}) {
		k.unindex(key, k.next-1)
	} else {
		k.forgotten--
	}
	k.next--
	if k.next%chunkKeys == 0 || k.first == k.next {
		k.chunks[len(k.chunks)-1] = nil
		k.chunks = k.chunks[:len(k.chunks)-1]
	}
	k.shrink()
}

// shrink gives back what few keys do not need.
func (k *Keys) shrink() {
	switch n := k.next - k.first; {
	case n == 0:
		*k = Keys{}
	case n < uint64(len(k.index))/16 && len(k.index) > 2*fewKeys:
		k.reindex(len(k.index) / 4)
	}
}

// DropNewest forgets the newest keys, as if they had never been there.
func (k *Keys) DropNewest(count int) {
	for range count {
		k.dropNewest()
	}
}

// DropBelow forgets all keys of messages below a position.
func (k *Keys) DropBelow(pos Position) {
	for {
		if oldest, _, ok := k.Oldest(); !ok || oldest >= pos {
			return
		}
		k.DropOldest()
	}
}

// NotAfter has no key be accepted later than at a second. Only the newest can be: what was before them was held to an earlier one. It is for keys
// of which there is no snapshot.
func (k *Keys) NotAfter(second uint32) {
	if k == nil {
		return
	}
	for n := k.next; n > k.first; n-- {
		c, i := k.chunk(n - 1)
		if c.at[i] <= second {
			return
		}
		c.at[i] = second
	}
}

// Forget forgets the keys of messages whose publish has failed.
func (k *Keys) Forget(r Range) {
	if k == nil {
		return
	}
	n := k.next - k.first
	i := sort.Search(int(n), func(i int) bool {
		c, at := k.chunk(k.first + uint64(i))
		return c.pos[at] >= r.First
	})
	for at := k.first + uint64(i); at < k.next; at++ {
		c, j := k.chunk(at)
		if c.pos[j] > r.Last {
			break
		}
		if c.keys[j] == (Key{}) {
			continue
		}
		k.unindex(&c.keys[j], at)
		c = c.copy(len(c.keys)) // a snapshot may read the old one
		c.keys[j] = Key{}
		k.chunks[at>>chunkShift-k.first>>chunkShift] = c
		k.forgotten++
	}
	for k.first < k.next && *k.key(k.next - 1) == (Key{}) {
		k.dropNewest()
	}
}

// KeySnapshot is the keys of one moment. It may be read while the Keys change.
type KeySnapshot struct {
	first, next uint64
	chunks      []*keyChunk
}

// Snapshot returns the keys of messages up to a position.
func (k *Keys) Snapshot(last Position) KeySnapshot {
	if k == nil {
		return KeySnapshot{}
	}
	s := KeySnapshot{first: k.first, next: k.next, chunks: append([]*keyChunk(nil), k.chunks...)}
	for s.next > s.first {
		c, i := k.chunk(s.next - 1)
		if c.pos[i] <= last {
			break
		}
		s.next--
	}
	k.seen = max(k.seen, s.next)
	return s
}

// Each calls f with each key, the oldest first.
func (s *KeySnapshot) Each(f func(key Key, pos Position, at uint32)) {
	for n := s.first; n < s.next; n++ {
		c, i := s.chunks[n>>chunkShift-s.first>>chunkShift], n%chunkKeys
		if c.keys[i] != (Key{}) {
			f(c.keys[i], c.pos[i], c.at[i])
		}
	}
}

// remember notes the keys of a publish, and forgets those that it says to be forgotten.
func (t *Topic) remember(p *Publish, frames []byte) {
	if newest, _, ok := t.Keys.Newest(); ok && newest >= p.First {
		return // positions that make no sense: a key must not lie about them
	}
	at := KeySecond(protocol.FirstMessage(frames).Timestamp())
	t.Keys.DropBelow(p.Since)
	for i, key := range p.Keys {
		if key != (Key{}) {
			t.Keys.Add(key, p.First+Position(i), at)
		}
	}
	t.Keys.DropBelow(p.Since)
}

// keySlack is by how much what the log says of the time may be behind the messages before that.
const keySlack = 2 * time.Second

// keysNotAfter notes that keys so far were not accepted behind a time, Unix nanoseconds. Their messages say when they were, but not in topics that
// keep messages: when a clock is set back the stamps of those stay where they were.
func (s *State) keysNotAfter(now int64) {
	for _, t := range s.Topics {
		if t.Floor > 0 {
			t.Keys.NotAfter(KeySecond(now + int64(keySlack)))
		}
	}
}

// KeySecond returns the second of a time, nanoseconds since the Unix epoch, as Keys have it. All times from February 2106 on are one second: a clock
// that is so wrong shows what its hardware has for the end of time, most often that.
func KeySecond(ns int64) uint32 {
	return uint32(min(max(0, ns)/int64(time.Second), math.MaxUint32))
}

// Keys adds deduplication keys of the last topic, before its channels.
func (w *Writer) Keys(s *KeySnapshot) {
	s.Each(func(key Key, pos Position, at uint32) {
		if w.keys == 0 || w.keys == maxOuts {
			w.begin(kindDedup)
		}
		w.keys++
		w.buf = append(w.buf, key[:]...)
		w.buf = binary.BigEndian.AppendUint64(w.buf, uint64(pos))
		w.buf = binary.BigEndian.AppendUint32(w.buf, at)
	})
}

// readKeys takes in a record of a checkpoint; the keys are not in the index yet.
func (t *Topic) readKeys(b []byte) error {
	for ; len(b) > 0; b = b[keyBytes:] {
		key, pos := Key(b[:KeySize]), position(b[KeySize:])
		if newest, _, ok := t.Keys.Newest(); key == (Key{}) || ok && newest >= pos {
			return fmt.Errorf("%w: a deduplication key of position %d", ErrRecord, pos)
		}
		t.Keys.push(key, pos, binary.BigEndian.Uint32(b[KeySize+8:]))
	}
	return nil
}
