package keeper

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"syscall"

	"brokerd/broker/topic"
)

// reserveName is a file that says nothing: it holds room for one more file of the log.
const reserveName = "reserve"

// reserve is room on the disk that is kept for when there is none left. It is let go then, and publishes are refused until it
// is there again: what consumers say can be logged, so that what they have finished can go.
type reserve struct {
	size  int64 // bytes; 0: there is none
	held  bool
	spent bool // it was held and is let go
}

func (k *Keeper) reservePath() string { return filepath.Join(k.o.Dir, reserveName) }

// fillReserve takes the room if there is so much more of it that this fills no disk.
func (k *Keeper) fillReserve() {
	if k.reserve.held || k.reserve.size == 0 {
		return
	}
	if n, err := k.o.FS.Size(k.reservePath()); err == nil && n >= k.reserve.size {
		k.reserve.held, k.reserve.spent = true, false
		return
	}
	space, err := k.o.FS.Free(k.o.Dir)
	if err == nil && space.Free < 2*uint64(k.reserve.size) {
		return
	}
	if err := k.takeReserve(); err != nil {
		k.o.Log.Debug("no room for the reserve", "error", err)
		return
	}
	k.reserve.held, k.reserve.spent = true, false
}

func (k *Keeper) takeReserve() error {
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

func (k *Keeper) dropReserve() error {
	err := k.o.FS.Remove(k.reservePath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// outOfSomething are the errors of a disk, or of a system, that cannot take a write now. There is one way with all of them: publishes
// are refused, with the error, what consumers say goes on as long as it can, and all heals by itself when the cause is gone.
var outOfSomething = []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM}

// WriteTrouble reports whether an error is one of those.
func WriteTrouble(err error) bool {
	return slices.ContainsFunc(outOfSomething, func(other error) bool { return errors.Is(err, other) })
}

// makeRoom is what can be done when something cannot be written: the reserve goes, so that there is room for what must be.
func (k *Keeper) makeRoom(failed error) {
	if !WriteTrouble(failed) || !k.reserve.held {
		return
	}
	k.reserve.held, k.reserve.spent = false, true
	k.registry.SetSpace(topic.ErrDiskFull)
	k.o.Log.Error("the disk takes no more: the reserve is used for what consumers say, publishes are refused", "error", failed,
		"bytes", k.reserve.size)
	if err := k.dropReserve(); err != nil {
		k.o.Log.Error("letting go of the reserve", "error", err)
	}
}
