package keeper

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"brokerd/broker/topic"
)

// tidy decides whether all was read that there ever was, and if so removes what deleted topics have left in segments: a crash
// came between the record and the removal. A number with a folder is not given to another topic.
func (k *Keeper) tidy(v *topic.Recovery, damaged bool) error {
	aside, err := k.putAside()
	if err != nil {
		return err
	}
	v.Complete = !damaged && !aside
	names, err := k.o.FS.List(filepath.Join(k.o.Dir, segmentsFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking for segments: %w", err)
	}
	for _, name := range names {
		n, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			continue
		}
		id := uint32(n)
		v.State.NextID = max(v.State.NextID, id+1)
		if v.State.Topics[id] == nil {
			k.orphan(id, v.Complete)
		}
	}
	return nil
}

// putAside reports whether a checkpoint or a file of the log is there that could not be read. As long as somebody leaves it
// there, nothing is removed because nobody knows it.
func (k *Keeper) putAside() (bool, error) {
	for _, dir := range []string{k.o.Dir, filepath.Join(k.o.Dir, logFolder)} {
		names, err := k.o.FS.List(dir)
		if err != nil {
			return false, fmt.Errorf("looking for what was put aside: %w", err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, ".bad") && (dir != k.o.Dir || strings.HasPrefix(name, checkpointPrefix)) {
				return true, nil
			}
		}
	}
	return false, nil
}

// orphan removes the segments of a topic that is not there.
func (k *Keeper) orphan(id uint32, complete bool) {
	log := k.o.Log.With("folder", segments{k}.dir(id))
	if !complete {
		log.Warn("segments of a topic that is not known stay there, as not all that was known could be read")
		return
	}
	store, _, _, err := segments{k}.Open(id)
	if err == nil {
		err = store.RemoveAll()
	}
	if err != nil {
		log.Error("removing the segments of a topic that was deleted", "error", err)
		return
	}
	log.Info("the segments of a topic that was deleted are removed")
}
