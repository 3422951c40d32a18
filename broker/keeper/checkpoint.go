package keeper

import (
	"bufio"
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

// checkpoint is writeCheckpoint, noted in the figures.
func (k *Keeper) checkpoint(recycle int) error {
	began := time.Now()
	err := k.writeCheckpoint(recycle)
	k.tally.checkpointed(began, err)
	return err
}

// writeCheckpoint writes one, and lets the log go that the one before it does not need, but for some files to be used again.
func (k *Keeper) writeCheckpoint(recycle int) error {
	stats := k.wal.Stats()
	f, err := k.createCheckpoint()
	if err != nil {
		return err
	}
	before := k.covered
	cut := k.registry.Cut()
	named := false
	err = cut.Run(f, func(journal.Offset) error { return k.sync() }, func(size int64) error {
		named = true
		if err := f.finish(nil); err != nil {
			return err
		}
		if k.wal.Lost() != stats.Lost {
			return errLostMeanwhile
		}
		if err := k.nameCheckpoint(); err != nil {
			return err
		}
		k.covered = wal.Position{File: cut.From.File, Offset: cut.From.Offset}
		k.size, k.at, k.weight = stats.Bytes, time.Now(), uint64(size)
		k.lost.Store(stats.Lost)
		return nil
	})
	if !named {
		err = f.finish(err)
	}
	if err != nil {
		return err
	}
	if k.blind {
		return nil
	}
	return k.wal.Recycle(before, recycle)
}

// nameCheckpoint gives a checkpoint that is written and synced its name, and removes all but it and the one before.
func (k *Keeper) nameCheckpoint() error {
	name := k.checkpointName(k.number)
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

// checkpointBuffer is how many bytes of a checkpoint are written at once.
const checkpointBuffer = 256 << 10

// checkpointFile writes a file from its beginning to its end.
type checkpointFile struct {
	f   vfs.File
	at  int64
	buf *bufio.Writer
}

// createCheckpoint creates the file of the next checkpoint beside its name.
func (k *Keeper) createCheckpoint() (*checkpointFile, error) {
	name := k.checkpointName(k.number) + ".tmp"
	if err := k.o.FS.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("writing a checkpoint: %w", err)
	}
	f, err := k.o.FS.Create(name)
	if err != nil {
		return nil, fmt.Errorf("writing a checkpoint: %w", err)
	}
	c := &checkpointFile{f: f}
	c.buf = bufio.NewWriterSize(checkpointEnd{c}, checkpointBuffer)
	return c, nil
}

// Write gathers what is written.
func (c *checkpointFile) Write(b []byte) (int, error) { return c.buf.Write(b) }

// checkpointEnd writes to the end of the file.
type checkpointEnd struct{ *checkpointFile }

func (e checkpointEnd) Write(b []byte) (int, error) {
	n, err := e.f.WriteAt(b, e.at)
	e.at += int64(n)
	return n, err
}

// finish writes what is left and syncs, unless something has failed, and closes the file. It returns the first error.
func (c *checkpointFile) finish(failed error) error {
	err := failed
	if err == nil {
		err = c.buf.Flush()
	}
	if err == nil {
		err = c.f.Sync()
	}
	if e := c.f.Close(); err == nil {
		err = e
	}
	if err != nil && failed == nil {
		err = fmt.Errorf("writing a checkpoint: %w", err)
	}
	return err
}
