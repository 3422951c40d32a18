package shard

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"brokerd/broker/replica"
	"brokerd/broker/topic"
	"brokerd/diskqueue/journal"
)

// group is what a reign needs of a replica.Group.
type group interface {
	Append(term uint64, kind journal.Kind, payload ...[]byte) (number uint64, err error)
	Await(ctx context.Context, term, number uint64) error
	AwaitOwn(ctx context.Context, term, number uint64) error
	Confirm(ctx context.Context, term uint64) error
	Room(ctx context.Context) error
	Leased() bool
	Leader() uint64
	Yield(ctx context.Context) error
}

// reign is the log of a group for as long as this node leads it: a topic.Reign.
type reign struct {
	term    uint64
	group   group
	standby *topic.Standby
	limit   int64 // bytes of messages that the group may have in memory
	wait    time.Duration
	much    chan struct{} // told that there are too many
	short   func() error  // why there is to be no publish, as disks are nearly full
	unspilt func() error  // why they cannot be moved to the disk

	mu     sync.Mutex    // held while a record is appended, so that none is once it is over
	over   atomic.Bool   // set under mu
	ended  chan struct{} // told once it is over
	missed atomic.Bool   // somebody was told that nothing may be delivered
	wake   func()        // has the shard look, which waits for nothing
	safe   atomic.Uint64 // number of a record up to which all are committed
	last   atomic.Uint64 // number of the last record that was appended, or stood before it; set under mu
}

// end ends it: once it returns nothing is appended, committed or delivered any more.
func (r *reign) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endLocked()
}

func (r *reign) endLocked() {
	if r.over.CompareAndSwap(false, true) {
		close(r.ended)
	}
}

// Append is topic.Log's. The first record that cannot be appended ends the reign: what follows may build on it. A record that went into the
// group's log behind that would be one of topics that are dropped, and the next reign's do not know it.
func (r *reign) Append(kind journal.Kind, head, body []byte) journal.Offset {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over.Load() {
		return topic.Nowhere
	}
	number, err := r.group.Append(r.term, kind, head, body)
	if err != nil {
		r.endLocked()
		return topic.Nowhere
	}
	r.last.Store(number)
	return journal.Offset{Offset: int64(number)}
}

// Commit is topic.Log's.
func (r *reign) Commit(at journal.Offset, _ bool) error { return r.await(at, false) }

// CommitOwn is topic.Reign's.
func (r *reign) CommitOwn(at journal.Offset) error { return r.await(at, true) }

// await returns once a record is committed; with own, once this node has it.
func (r *reign) await(at journal.Offset, own bool) error {
	if r.Safe(at) {
		return nil
	}
	if at == topic.Nowhere || r.over.Load() && r.last.Load() < uint64(at.Offset) {
		return topic.ErrNotLeader
	}
	var err error // it ends when the lead is lost
	if own {
		err = r.group.AwaitOwn(context.Background(), r.term, uint64(at.Offset))
	} else {
		err = r.group.Await(context.Background(), r.term, uint64(at.Offset))
	}
	if err == nil {
		return nil
	}
	r.end()
	return fmt.Errorf("%w (%w)", topic.ErrNotLeader, err)
}

// Safe is topic.Reign's.
func (r *reign) Safe(at journal.Offset) bool {
	return at != topic.Nowhere && at.Offset > 0 && uint64(at.Offset) <= r.safe.Load()
}

// Confirm is topic.Reign's.
func (r *reign) Confirm(ctx context.Context) error {
	if r.over.Load() {
		return topic.ErrUnconfirmed
	}
	ctx, cancel := context.WithTimeout(ctx, r.wait)
	defer cancel()
	if err := r.group.Confirm(ctx, r.term); err != nil {
		return fmt.Errorf("%w (%w)", topic.ErrUnconfirmed, err)
	}
	return nil
}

// End is topic.Log's.
func (r *reign) End() journal.Offset { return journal.Offset{Offset: int64(r.last.Load()) + 1} }

// Err is topic.Log's.
func (r *reign) Err() error {
	if r.over.Load() {
		return topic.ErrNotLeader
	}
	return nil
}

// Gap is topic.Log's.
func (r *reign) Gap() error { return nil }

// Leased is topic.Reign's.
func (r *reign) Leased() bool {
	if !r.over.Load() && r.group.Leased() {
		return true
	}
	if !r.missed.Swap(true) {
		r.wake()
	}
	return false
}

// ErrFull is a publish to a group that has as many unfinished messages in memory as it may, since the disk does not take them.
var ErrFull = errors.New("the topics of the group of replicas have as much in memory as they may, and the disk does not take it")

// roomPace is how often it is looked for room.
const roomPace = 5 * time.Millisecond

// Room is topic.Reign's.
func (r *reign) Room() error {
	if r.over.Load() {
		return topic.ErrNotLeader
	}
	if err := r.short(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.wait)
	defer cancel()
	if err := r.roomInMemory(ctx); err != nil {
		return err
	}
	if err := r.group.Room(ctx); err != nil {
		if errors.Is(err, replica.ErrReplicasBehind) {
			return err
		}
		return fmt.Errorf("%w (%w)", topic.ErrNotLeader, err)
	}
	return nil
}

// roomInMemory waits until there is room for messages.
func (r *reign) roomInMemory(ctx context.Context) error {
	for r.standby.Bytes() >= r.limit {
		nudge(r.much)
		if err := r.unspilt(); err != nil {
			return fmt.Errorf("%w: %w", ErrFull, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %d bytes", ErrFull, r.limit)
		case <-r.ended:
			return topic.ErrNotLeader
		case <-time.After(roomPace):
		}
	}
	return nil
}
