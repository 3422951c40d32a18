package replica

import (
	"errors"
	"sync"
	"time"

	"brokerd/diskqueue/journal"
)

var (
	// ErrNotLeader is an append, or a wait, at a replica that does not lead in that term, or does not any more. What
	// becomes of what had been appended is not known then: it may be committed all the same.
	ErrNotLeader = errors.New("the replica does not lead its group")
	// ErrBusy is an append, or a change, while the lead is handed over or another change is under way.
	ErrBusy = errors.New("the group is changing")
)

// batch gathers records into entries, in the order in which they were appended. An entry belongs to the reign in
// which it was begun and is proposed in no other. Its methods are safe for concurrent use.
type batch struct {
	most int           // bytes after which an entry is sealed
	wait time.Duration // after which it is

	mu     sync.Mutex
	term   uint64 // of the reign, 0 when there is none
	paused bool   // the lead is being handed over
	next   uint64 // number of the next record
	open   []byte // data of the entry that is being gathered, nil for none
	began  time.Duration
	wanted bool            // somebody waits for what is in the open entry
	held   bool            // an entry is on its way, and it gathers more meanwhile
	sealed [][]byte        // data of entries to be proposed, oldest first
	begins []time.Duration // when each entry was begun that is sealed and not committed, oldest first
	bytes  int             // of records that are not committed
}

// begin begins a reign.
func (b *batch) begin(term, next uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.term, b.paused, b.next, b.open, b.wanted, b.held, b.sealed, b.begins, b.bytes = term, false, next, nil, false, false, nil, nil, 0
}

// end ends it, and forgets what was not proposed.
func (b *batch) end() { b.begin(0, 0) }

// append puts a record into the open entry and returns its number.
func (b *batch) append(now time.Duration, term uint64, kind journal.Kind, payload ...[]byte) (number uint64, err error) {
	size := 0
	for _, p := range payload {
		size += len(p)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.term == 0 || term != b.term:
		return 0, ErrNotLeader
	case b.paused:
		return 0, ErrBusy
	case !journal.Replicable(kind):
		return 0, journal.ErrRecord
	}
	if b.open != nil && len(b.open)+size+recordHead > b.most {
		b.sealLocked()
	}
	if b.open == nil {
		b.open, b.began = journal.AppendFirst(make([]byte, 0, 8+recordHead+size), b.next), now
	}
	before := len(b.open)
	b.open = journal.AppendRecord(b.open, kind, payload...)
	b.bytes += len(b.open) - before
	b.next++
	if len(b.open) >= b.most {
		b.sealLocked()
	}
	return b.next - 1, nil
}

// recordHead is the most bytes that a record takes in an entry beside its payload.
const recordHead = 1 + 10

// sealLocked ends the open entry.
func (b *batch) sealLocked() {
	if b.open != nil {
		b.sealed = append(b.sealed, b.open)
		b.begins = append(b.begins, b.began)
		b.open, b.wanted = nil, false
	}
}

// flush ends the open entry, whatever it waits for.
func (b *batch) flush() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sealLocked()
}

// pause refuses records, or takes them again. What was appended before is sealed.
func (b *batch) pause(paused bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sealLocked()
	b.paused = paused
}

// want says that somebody waits for what is in the open entry. It reports whether the machine is to be told: something can be proposed, and nobody has told it.
func (b *batch) want() (tell bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	tell = b.open != nil && !b.wanted && !b.held
	b.wanted = b.open != nil
	return tell || len(b.sealed) > 0
}

// hold says that an entry is on its way: the open one gathers more, and is due once that is committed.
func (b *batch) hold() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = true
}

// due seals the open entry if its time has come: somebody waits for it, and no entry is on its way during which it could
// gather more, or it is old.
func (b *batch) due(now time.Duration, busy bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = busy
	if b.open != nil && (b.wanted && !busy || now-b.began >= b.wait) {
		b.sealLocked()
	}
}

// flying reports whether an entry of the reign is not committed.
func (b *batch) flying() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.begins) > 0
}

// deadline returns when the open entry is sealed at the latest; ok is false when there is none.
func (b *batch) deadline() (at time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.began + b.wait, b.open != nil
}

// head returns the data of the oldest entry that is to be proposed.
func (b *batch) head() (data []byte, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.sealed) == 0 {
		return nil, false
	}
	return b.sealed[0], true
}

// pop says that it was proposed.
func (b *batch) pop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sealed[0] = nil
	b.sealed = b.sealed[1:]
}

// committed counts the oldest entry of the reign as committed, and returns when it was begun.
func (b *batch) committed(data []byte) (began time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes = max(0, b.bytes-(len(data)-8))
	if len(b.begins) > 0 {
		began, b.begins = b.begins[0], b.begins[1:]
	}
	return began
}

// size returns the bytes of records that are not committed.
func (b *batch) size() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes
}
