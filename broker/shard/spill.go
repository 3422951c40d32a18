package shard

import (
	"context"
	"errors"
	"syscall"
	"time"

	"brokerd/broker/replica"
	"brokerd/broker/topic"
)

// spillAgain is after what time it is tried again to move messages to the disk.
const spillAgain = time.Second

// spill moves messages to the disk for which memory has no room.
func (s *Shard) spill(ctx context.Context) {
	for {
		var wait <-chan time.Time
		much := s.much
		if s.Unspilt() != nil { // whoever asks: every publish does
			wait, much = time.After(spillAgain), nil
		}
		select {
		case <-ctx.Done():
			return
		case <-much:
		case <-wait:
		}
		s.spilled(s.standby.Spill())
	}
}

// spilled notes what has come of moving messages to the disk.
func (s *Shard) spilled(err error) {
	s.mu.Lock()
	if s.unspilt = err; err == nil {
		delete(s.said, "spill") // the next failure is news
	}
	s.mu.Unlock()
	s.behind.Store(s.standby.Bytes() >= s.o.Limit)
	if err != nil {
		s.tell("spill", "messages stay in memory", err)
	}
}

// Behind is replica.Owner's: keepUp may wait soon.
func (s *Shard) Behind() bool { return s.behind.Load() }

// keepUp has the group wait for the disk when there is far more in memory than there may be: a leader's publishes would wait, and who follows has only this.
// Others go on without it.
func (s *Shard) keepUp() {
	held := s.standby.Bytes()
	s.behind.Store(held >= s.o.Limit)
	if held >= 2*s.o.Limit && s.Unspilt() == nil {
		s.spilled(s.standby.SpillAlone())
	}
}

// Full reports whether there is as much in memory as there may ever be, as the segments cannot be written. On a disk without room they are not waited for: what is
// behind in the log may be what frees some, and the log ends soon.
func (s *Shard) Full() bool {
	if s.standby.Bytes() < 2*s.o.Limit {
		return false
	}
	err := s.Unspilt()
	return err != nil && !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT)
}

// Unspilt returns why messages could not be moved to the disk, the last time that there were too many in memory.
func (s *Shard) Unspilt() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unspilt
}

// tidyShare is which part of the time is spent at most on looking for what nobody needs any more on disk.
const tidyShare = 20

// tidy looks for what nobody needs any more on disk, at a pace that costs little.
func (s *Shard) tidy() {
	if began := time.Now(); !began.Before(s.tidied) {
		if s.led != nil {
			s.led.Reclaim()
		}
		s.standby.Tidy(s.o.Short() != nil)
		s.tidied = began.Add(max(idlePace/2, tidyShare*time.Since(began)))
	}
}

// Frees returns how many bytes come free on the disk with the next checkpoint that counts; moved says that messages were written anew for that.
func (s *Shard) Frees() (bytes int64, moved bool) {
	_, bytes = s.standby.OnDisk()
	return bytes, s.standby.Moved()
}

// Compact writes anew what is needed of files of segments of which little is. read is told how many bytes are about to be read, and returns when they may
// be.
func (s *Shard) Compact(ctx context.Context, read func(bytes int) error) (done bool, err error) {
	return s.standby.Compact(ctx, read)
}

// Content returns what a checkpoint holds, and the point that it stands for. It fails while it cannot be written down. counts is to be called once
// the checkpoint is what a start goes on from.
func (s *Shard) Content() (content []byte, at replica.Point, counts func(), err error) {
	release, err := s.standby.Hold()
	if err != nil {
		s.tell("sync", "a checkpoint of a group of topics cannot be written now", err)
		return nil, at, nil, err
	}
	s.mu.Lock()
	at, err = s.point, s.failed
	var snap *topic.StandbySnapshot
	if err == nil {
		snap, err = s.standby.Snapshot()
	}
	s.mu.Unlock()
	release()
	if err != nil {
		return nil, at, nil, err
	}
	counts = func() {
		if err := s.standby.Named(snap.Number()); err != nil {
			s.tell("free", "what is not needed on the disk cannot be removed now", err)
		}
	}
	return snap.Append(nil), at, counts, nil
}

// Send gives all that it holds, piece by piece, with the point that it stands for, to be made a shard of by a Receiver. It fails while it cannot
// be written down, and with what put says. Pieces are not kept.
func (s *Shard) Send(put func(at replica.Point, part []byte) error) error {
	s.mu.Lock()
	at, err := s.point, s.failed
	var all *topic.Whole
	if err == nil {
		all, err = s.standby.Whole()
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	defer all.Close()
	return all.Send(func(b []byte) error { return put(at, b) })
}

// Receiver makes a shard of what another node's has sent. Either Shard or Close is called in the end.
type Receiver struct {
	o  Options
	in *topic.Intake
}

// Receive begins one.
func Receive(o Options) (*Receiver, error) {
	in, err := topic.NewIntake(o.Segments)
	if err != nil {
		return nil, err
	}
	return &Receiver{o, in}, nil
}

// Write takes a piece, which is not kept.
func (r *Receiver) Write(b []byte) error { return r.in.Write(b) }

// Shard returns it, once all has come. After an error all is given up.
func (r *Receiver) Shard(at replica.Point, stop func(error)) (*Shard, error) {
	standby, err := r.in.Standby()
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	r.o.Stop = stop
	s, err := newShard(r.o, standby, at)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return s, nil
}

// Close gives it up.
func (r *Receiver) Close() error { return r.in.Close() }

// Discard is Close of a shard that was not started and that is not to be: what it has on the disk goes.
func (s *Shard) Discard() error { return s.standby.Discard() }
