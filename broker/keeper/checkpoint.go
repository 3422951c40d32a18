package keeper

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/vfs"
	"brokerd/diskqueue/wal"
)

const checkpointPrefix = "checkpoint."

func (k *Keeper) checkpointName(n uint64) string {
	return filepath.Join(k.o.Dir, fmt.Sprintf("%s%06d", checkpointPrefix, n))
}

// loadCheckpoint returns the newest checkpoint that can be read, an empty state when there is none. One that cannot be read
// is put aside.
func (k *Keeper) loadCheckpoint() (*journal.State, error) {
	numbers, err := k.checkpoints()
	if err != nil {
		return nil, err
	}
	k.number = 1
	if len(numbers) > 0 {
		k.number = numbers[len(numbers)-1] + 1
	}
	var bad error
	for i := len(numbers) - 1; i >= 0; i-- {
		state, err := k.readCheckpoint(numbers[i])
		if err == nil {
			return state, nil
		}
		if !errors.Is(err, journal.ErrCheckpoint) {
			return nil, err
		}
		name := k.checkpointName(numbers[i])
		k.o.Log.Error("a checkpoint cannot be read and is put aside", "file", name, "error", err)
		bad = errors.Join(bad, err)
		if err := k.o.FS.Rename(name, name+".bad"); err != nil {
			return nil, fmt.Errorf("putting a damaged checkpoint aside: %w", err)
		}
	}
	if k.blind = bad != nil; k.blind {
		k.o.Log.Error("no checkpoint can be read: only what the log still holds is recovered, and the log is not released")
	}
	return journal.NewState(), nil
}

// checkpoints returns the numbers of those that are there, sorted.
func (k *Keeper) checkpoints() ([]uint64, error) {
	names, err := k.o.FS.List(k.o.Dir)
	if err != nil {
		return nil, fmt.Errorf("looking for checkpoints: %w", err)
	}
	var numbers []uint64
	for _, name := range names {
		digits, ok := strings.CutPrefix(name, checkpointPrefix)
		if n, err := strconv.ParseUint(digits, 10, 64); ok && err == nil {
			numbers = append(numbers, n)
		}
	}
	return numbers, nil
}

func (k *Keeper) readCheckpoint(n uint64) (*journal.State, error) {
	f, err := k.o.FS.Open(k.checkpointName(n))
	if err != nil {
		return nil, fmt.Errorf("opening a checkpoint: %w", err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("reading a checkpoint: %w", err)
	}
	state, err := journal.ReadCheckpoint(io.NewSectionReader(f, 0, size), size)
	if err != nil && !errors.Is(err, journal.ErrCheckpoint) { // as good as damaged: the one before it will do
		err = fmt.Errorf("%w: %w", journal.ErrCheckpoint, err)
	}
	return state, err
}

// errLostMeanwhile is a checkpoint that is not worth writing: the log has gone back behind places that it speaks of.
var errLostMeanwhile = errors.New("the log lost records while the checkpoint was made")

// checkpoint writes one, and lets the log go that the one before it does not need.
func (k *Keeper) checkpoint() error {
	stats := k.wal.Stats()
	data, from, err := k.registry.Checkpoint()
	if err != nil {
		return err
	}
	k.registry.PrepareDrop()
	if err := k.sync(); err != nil {
		return err
	}
	if k.wal.Lost() != stats.Lost {
		return errLostMeanwhile
	}
	if err := k.writeCheckpoint(data); err != nil {
		return err
	}
	before := k.covered
	k.covered = wal.Position{File: from.File, Offset: from.Offset}
	k.size, k.at, k.weight = stats.Bytes, time.Now(), uint64(len(data))
	k.lost.Store(stats.Lost)
	if err := k.registry.Drop(); err != nil {
		return err
	}
	if k.blind {
		return nil
	}
	return k.wal.Release(before)
}

func (k *Keeper) writeCheckpoint(data []byte) error {
	name := k.checkpointName(k.number)
	if err := writeFile(k.o.FS, name+".tmp", data); err != nil {
		return err
	}
	if err := k.o.FS.Rename(name+".tmp", name); err != nil {
		return fmt.Errorf("naming a checkpoint: %w", err)
	}
	if err := k.o.FS.SyncDir(k.o.Dir); err != nil {
		return fmt.Errorf("naming a checkpoint: %w", err)
	}
	k.number++
	numbers, err := k.checkpoints()
	for i := 0; err == nil && i < len(numbers)-2; i++ {
		err = k.o.FS.Remove(k.checkpointName(numbers[i]))
	}
	return err
}

// writeFile writes a file and syncs it.
func writeFile(fsys vfs.FS, name string, data []byte) (err error) {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("writing a checkpoint: %w", err)
	}
	f, err := fsys.Create(name)
	if err != nil {
		return fmt.Errorf("writing a checkpoint: %w", err)
	}
	defer func() {
		if e := f.Close(); err == nil && e != nil {
			err = fmt.Errorf("writing a checkpoint: %w", e)
		}
	}()
	if _, err := f.WriteAt(data, 0); err != nil {
		return fmt.Errorf("writing a checkpoint: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("writing a checkpoint: %w", err)
	}
	return nil
}
