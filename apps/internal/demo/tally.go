package demo

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
	"sync"

	"github.com/nsqio/go-nsq"
)

// digest stands for a body: half of its SHA-256.
type digest struct{ hi, lo uint64 }

func digestOf(body []byte) digest {
	sum := sha256.Sum256(body)
	return digest{binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:16])}
}

// multiset stands for any number of bodies in any order: how many they are, and the sum of their digests modulo 2^128. Two
// that are equal hold the same bodies, each as many times, but for a chance that is none.
type multiset struct {
	count int
	sum   digest
}

func (m *multiset) add(d digest) { m.addAll(multiset{count: 1, sum: d}) }

func (m *multiset) addAll(other multiset) {
	m.count += other.count
	var carry uint64
	m.sum.lo, carry = bits.Add64(m.sum.lo, other.sum.lo, 0)
	m.sum.hi, _ = bits.Add64(m.sum.hi, other.sum.hi, carry)
}

// tally is what the consumers of one channel finished, each message once.
type tally struct {
	half     int           // messages
	halfSeen chan struct{} // closed when as many were finished

	mu       sync.Mutex
	finished map[uint64]seen // by message id
	middle   int64           // when the message was published that was the half-th, Unix nanoseconds
	lines    multiset
	again    int // finished more than once
	changed  int // of those, with another body than before: never right
}

// seen is a message that was finished: its body, and when the broker took it, Unix nanoseconds.
type seen struct {
	body digest
	at   int64
}

// newTally returns an empty tally of a channel that will get total messages.
func newTally(total int) *tally {
	return &tally{half: (total + 1) / 2, halfSeen: make(chan struct{}), finished: make(map[uint64]seen)}
}

// finish counts a message that its consumer is about to finish, and that the broker took at a time.
func (t *tally) finish(id uint64, d digest, at int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if before, ok := t.finished[id]; ok {
		t.again++
		if before.body != d {
			t.changed++
		}
		return
	}
	t.finished[id] = seen{d, at}
	t.lines.add(d)
	if t.lines.count == t.half {
		t.middle = at
		close(t.halfSeen)
	}
}

// result returns what was counted so far: the lines of distinct messages, how often a message was finished again, and how
// many of those had changed.
func (t *tally) result() (lines multiset, again, changed int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lines, t.again, t.changed
}

// since returns what of it the broker took at a time or later.
func (t *tally) since(at int64) (lines multiset) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.finished {
		if m.at >= at {
			lines.add(m.body)
		}
	}
	return lines
}

// halfAt returns when the broker took the message that was the middle one, 0 before there is one.
func (t *tally) halfAt() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.middle
}

// messageID returns a message's id, 16 hexadecimal digits on the wire, as the number that it is.
func messageID(id nsq.MessageID) (uint64, error) {
	var raw [8]byte
	if _, err := hex.Decode(raw[:], id[:]); err != nil {
		return 0, fmt.Errorf("message id %q: %w", id, err)
	}
	return binary.BigEndian.Uint64(raw[:]), nil
}
