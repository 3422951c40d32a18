package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"brokerd/broker/topic"
	"brokerd/diskqueue/vfs"
)

// reserveName is a file that says nothing: it holds room for one more file of the log.
const reserveName = "reserve"

// reserve is room on the disk that is kept for when there is none left. It is let go then, and publishes are refused until it
// is there again: what consumers say can be logged, so that what they have finished can go. Of groups of replicas only the log may have that room.
type reserve struct {
	size int64        // bytes; 0: there is none
	left atomic.Int64 // bytes that are to be left to the log: all of them, while it is not held

	mu    sync.Mutex // held while it is let go, or while others take room that is not its; guards what follows
	held  int64      // bytes, size at most: fewer when an earlier start has left a smaller one, and there is no room for more
	spent bool       // it was held and is let go
}

// hold notes how many bytes are held. reserve.mu is held.
func (r *reserve) hold(held int64, spent bool) {
	r.held, r.spent = min(held, r.size), spent
	r.left.Store(r.size - r.held)
}

func (r *reserve) isSpent() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.spent
}

func (k *Engine) reservePath() string { return filepath.Join(k.o.Dir, reserveName) }

// fillReserve takes the room if there is so much more of it that this fills no disk. Until then it holds what an earlier start has left, which may be
// less, as sizes are settings.
func (k *Engine) fillReserve() {
	r := &k.reserve
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held == r.size {
		return
	}
	n, err := k.o.FS.Size(k.reservePath())
	if err != nil {
		n = 0
	}
	if r.hold(n, r.spent && n < r.size); n >= r.size {
		return
	}
	space, err := k.o.FS.Free(k.o.Dir)
	if err == nil && space.Free < 2*uint64(r.size) {
		return
	}
	if err := k.takeReserve(); err != nil {
		r.hold(0, r.spent)
		k.o.Log.Debug("no room for the reserve", "error", err)
		return
	}
	r.hold(r.size, false)
}

func (k *Engine) takeReserve() error {
	if err := k.dropReserve(); err != nil {
		return err
	}
	f, err := k.o.FS.Create(k.reservePath())
	if err != nil {
		return err
	}
	if err = errors.Join(f.Preallocate(k.reserve.size), f.Close()); err != nil {
		return errors.Join(err, k.dropReserve())
	}
	return nil
}

func (k *Engine) dropReserve() error {
	err := k.o.FS.Remove(k.reservePath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// outOfSomething are the errors of a disk, or of a system, that cannot take a write now. There is one way with all of them: publishes
// that cannot be written are refused, with the error, and all heals by itself when the cause is gone.
var outOfSomething = []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM}

// WriteTrouble reports whether an error is one of those.
func WriteTrouble(err error) bool {
	return slices.ContainsFunc(outOfSomething, func(other error) bool { return errors.Is(err, other) })
}

// makeRoom is what can be done when something cannot be written as there is no room: messages go that are only kept; when there are none the reserve
// goes, so that there is room for what must be. When it has gone already, segments go that nobody needs although the log cannot say so first; what is
// left of each says it instead. For any other error room is of no use.
func (k *Engine) makeRoom(failed error) {
	if !full(failed) {
		return
	}
	if k.dropForWrite() { // first of all
		k.probed = time.Time{}
		return
	}
	k.reserve.mu.Lock()
	held := k.reserve.held > 0
	if held {
		k.spendLocked(failed)
	}
	k.reserve.mu.Unlock()
	if !held {
		k.making.Lock()
		k.dropEarly()
		k.making.Unlock()
	}
}

// spendLocked lets go of the reserve. reserve.mu is held.
func (k *Engine) spendLocked(failed error) {
	bytes := k.reserve.held
	k.reserve.hold(0, true)
	k.registry.SetSpace(topic.ErrDiskFull)
	k.o.Log.Error("the disk takes no more: the reserve is used for what consumers say, publishes are refused", "error", failed,
		"bytes", bytes)
	if err := k.dropReserve(); err != nil {
		k.o.Log.Error("letting go of the reserve", "error", err)
	}
}

// roomBeside returns why n bytes more may not be written that are not of the log, nil when they may.
func (k *Engine) roomBeside(n int64) error {
	space, err := k.o.FS.Free(k.o.Dir)
	if err != nil || space.Free >= uint64(k.reserve.left.Load()+n) {
		return nil
	}
	return fmt.Errorf("%d bytes are free, of which %d are left to the log: %w", space.Free, k.reserve.left.Load(), syscall.ENOSPC)
}

// checkpointShare is which part of the room that is left to the log a checkpoint of a group may take: without one the log is never shorter, and nothing of what was
// consumed goes.
const checkpointShare = 2

// createGroup makes the file of a checkpoint of a group, of its whole size, if there is room for that beside what is the log's, or it is small.
func (k *Engine) createGroup(name string, size int64) (vfs.File, error) {
	k.reserve.mu.Lock()
	defer k.reserve.mu.Unlock()
	space, err := k.o.FS.Free(k.o.Dir)
	known := err == nil
	small := known && size <= (int64(space.Free)+k.reserve.held)/checkpointShare
	if k.reserve.held < k.reserve.size {
		if err := k.roomBeside(size); err != nil && !small {
			return nil, err
		}
	}
	f, err := k.allocate(name, size)
	if full(err) && small && k.reserve.held > 0 {
		k.spendLocked(err)
		f, err = k.allocate(name, size)
	}
	return f, err
}

// allocate makes a file of a size. What fails leaves nothing.
func (k *Engine) allocate(name string, size int64) (vfs.File, error) {
	f, err := k.o.FS.Create(name)
	if err != nil {
		return nil, err
	}
	if err := f.Preallocate(size); err != nil {
		return nil, errors.Join(err, f.Close(), k.o.FS.Remove(name))
	}
	return f, nil
}

// doneSuffix marks what is left of a file of segments of which nothing was needed when the log could not be written: an empty file. A
// start does not miss the file then, and the second checkpoint from then on removes the mark.
const doneSuffix = ".done"

// dropEarly lets go of segments that nobody needs before the log says so. Engine.making is held.
func (k *Engine) dropEarly() {
	k.registry.Reclaim()
	if !k.registry.PrepareDrop() {
		return
	}
	k.early.Store(true)
	defer k.early.Store(false)
	if err := k.registry.Drop(); err != nil {
		k.o.Log.Error("letting go of segments that nobody needs, on a disk that takes no more", "error", err)
	}
}

// removeSegment is segment.Options.Remove.
func (k *Engine) removeSegment(path string) error {
	if !k.early.Load() {
		return k.o.FS.Remove(path)
	}
	done := path + doneSuffix
	if err := k.o.FS.Rename(path, done); err != nil {
		return err
	}
	k.done.add(done)
	if err := k.o.FS.SyncDir(filepath.Dir(done)); err != nil {
		return err
	}
	f, err := k.o.FS.OpenWrite(done)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(0), f.Close())
}

// setSegmentAside is segment.Options.Aside. What goes early leaves its mark before it goes.
func (k *Engine) setSegmentAside(path string) error {
	if !k.early.Load() {
		return k.aside.put(path)
	}
	done := path + doneSuffix
	f, err := k.o.FS.Create(done)
	switch {
	case errors.Is(err, fs.ErrExist):
	case err != nil:
		return err
	default:
		if err := f.Close(); err != nil {
			return err
		}
		k.done.add(done)
	}
	if err := k.o.FS.SyncDir(filepath.Dir(done)); err != nil {
		return err
	}
	return k.aside.put(path)
}

// marks are what is left of files of segments that went early.
type marks struct {
	mu    sync.Mutex
	paths []string
}

func (m *marks) add(paths ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.paths = append(m.paths, paths...)
}

func (m *marks) take() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	paths := m.paths
	m.paths = nil
	return paths
}

// removeDone removes the marks of files that went early: the checkpoint that was just written says the same.
func (k *Engine) removeDone(paths []string) {
	for _, path := range paths {
		if err := k.o.FS.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			k.o.Log.Warn("removing the mark of a file of segments", "error", err)
			k.done.add(path)
		}
	}
}
