package storage

import (
	"errors"
	"path/filepath"
	"strings"
	"time"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/manifest"
)

// errLostMeanwhile is a checkpoint that is not worth writing: the log has gone back behind places that it speaks of.
var errLostMeanwhile = errors.New("the log lost records while the checkpoint was made")

// checkpoint is writeCheckpoint, noted in the figures.
func (k *Engine) checkpoint(recycle int) error {
	began := time.Now()
	err := k.writeCheckpoint(recycle)
	if err == nil {
		k.remains = min(k.remains, k.wal.Stats().FileBytes)
	}
	k.tally.checkpointed(began, err)
	return err
}

// writeCheckpoint writes one, and lets the log go that the one before it does not need, but for some files to be used again.
func (k *Engine) writeCheckpoint(recycle int) (err error) {
	stats := k.wal.Stats()
	f, err := createCheckpoint(k.o.FS, k.o.Dir, k.folder.id, k.number)
	if err != nil {
		return err
	}
	entered, counts, err := k.prepareGroups()
	if err != nil {
		_ = f.finish(err)
		return err
	}
	done := k.done.take() // of what went before this begins
	defer func() {
		if err != nil {
			k.done.add(done...)
		}
	}()
	cut := k.registry.Cut()
	finished := false
	err = cut.Run(f, func(journal.Offset) error { return k.sync() }, func(int64) error {
		finished = true
		if err := f.finish(nil); err != nil {
			return err
		}
		if k.wal.Lost() != stats.Lost {
			return errLostMeanwhile
		}
		if err := k.name(f, cut.From, entered); err != nil {
			return err
		}
		counts()
		k.size, k.at, k.weight = stats.Bytes, time.Now(), uint64(f.at)
		k.lost.Store(stats.Lost)
		return nil
	})
	if !finished {
		err = f.finish(err)
	}
	if err != nil {
		return err
	}
	k.removeDone(k.doneOnce) // neither checkpoint that counts needs those files now
	k.doneOnce = done
	return k.release(recycle)
}

// name makes a checkpoint that is written and synced the newest one: from here on a start uses it.
func (k *Engine) name(f *checkpointFile, from journal.Offset, entered func(*manifest.Manifest)) error {
	k.number++ // whatever becomes of it: a failed write of the manifest may have named it
	if err := k.folder.changeNames(f.rename); err != nil {
		return err
	}
	return k.folder.name(func(m *manifest.Manifest) {
		m.Name(f.entry(from))
		entered(m)
		if k.o.AcceptLoss { // the log has had no lease until now
			m.Log.Limit = max(m.Log.Limit, k.wal.End().File+leaseFiles+1)
			for i := range m.Groups {
				if m.Groups[i].Lost {
					m.Groups[i].From = manifest.Offset(from) // nothing before it is counted on
				}
			}
		}
	})
}

// release removes the checkpoints that the manifest does not name any more, and the part of the log that none of those needs which it
// names.
func (k *Engine) release(recycle int) error {
	m := k.folder.current()
	if len(m.Checkpoints) < 2 {
		return nil // the log from its beginning on is what there is beside the one
	}
	oldest := m.Checkpoints[len(m.Checkpoints)-1]
	names, err := list(k.o.FS, k.o.Dir)
	for _, name := range names {
		if n, ok := checkpointNumber(strings.TrimSuffix(name, ".tmp")); ok && n < m.Checkpoints[0].Number && n != oldest.Number && err == nil {
			err = k.o.FS.Remove(filepath.Join(k.o.Dir, name))
		}
	}
	if err == nil {
		err = k.removeGroups(&m)
	}
	if err != nil {
		return err
	}
	return k.wal.Recycle(groupsFrom(&m, oldest.From), recycle)
}

// prepareGroups has groups of replicas prepare a checkpoint, and returns what is to be entered in the manifest with this one, and who is told once
// that counts.
func (k *Engine) prepareGroups() (entered func(*manifest.Manifest), counts func(), err error) {
	if k.groups != nil {
		entered, counts, err = k.groups.Checkpoint()
	}
	if entered == nil {
		entered = func(*manifest.Manifest) {}
	}
	if counts == nil {
		counts = func() {}
	}
	return entered, counts, err
}
