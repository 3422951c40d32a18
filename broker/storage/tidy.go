package storage

import (
	"path/filepath"
	"strconv"
	"strings"

	"brokerd/broker/topic"
	"brokerd/diskqueue/segment"
	"brokerd/diskqueue/vfs"
)

// tidy looks for what is not needed and for what nobody knows: files of the log that are another folder's, and segments of topics
// that are not there. A topic whose number is below the next one was deleted, as all that was made is known; a crash has left its
// folder. All is noted, to be removed or put aside once something can be written. A number with a folder is not given to another topic.
func (k *Engine) tidy(v *topic.Recovery, s *sight) error {
	k.aside.count()
	v.Complete = len(k.opened.Missing) == 0 && !k.opened.Log.Damaged()
	for _, name := range k.opened.Log.Foreign {
		k.unknown = append(k.unknown, filepath.Join(k.o.Dir, logFolder, name))
	}
	k.unknown = append(k.unknown, s.bad...)
	next := v.State.NextID
	ids, err := segmentFolders(k.o.FS, k.o.Dir)
	for _, id := range ids {
		v.State.NextID = max(v.State.NextID, id+1)
		if err := k.findDone(id, v); err != nil {
			return err
		}
		switch {
		case v.State.Topics[id] != nil:
		case id < next && v.Complete:
			k.deleted = append(k.deleted, id)
		default:
			k.unknown = append(k.unknown, segments{k}.dir(id))
		}
	}
	return err
}

// findDone looks for marks of files of segments of a topic that went early: what a checkpoint says is in them was finished.
func (k *Engine) findDone(id uint32, v *topic.Recovery) error {
	dir := segments{k}.dir(id)
	return eachName(k.o.FS, dir, func(name string) error {
		file, done := strings.CutSuffix(name, doneSuffix)
		if !done {
			return nil
		}
		k.done.add(filepath.Join(dir, name))
		if n, ok := segment.FileNumber(file); ok {
			v.Early[id] = append(v.Early[id], n)
		}
		return nil
	})
}

// segmentFolders returns the numbers of the topics that have a folder of segments.
func segmentFolders(files vfs.FS, dir string) (ids []uint32, err error) {
	return ids, eachName(files, filepath.Join(dir, segmentsFolder), func(name string) error {
		if id, ok := topicNumber(name); ok {
			ids = append(ids, id)
		}
		return nil
	})
}

// topicNumber returns the number that the name of a topic's folder is.
func topicNumber(name string) (uint32, bool) {
	n, err := strconv.ParseUint(name, 10, 32)
	return uint32(n), err == nil && strconv.FormatUint(n, 10) == name
}

// tidyUp removes and moves what tidy has found. What fails is tried again.
func (k *Engine) tidyUp() {
	for len(k.deleted) > 0 {
		id := k.deleted[0]
		log := k.o.Log.With("folder", segments{k}.dir(id))
		store, _, _, err := segments{k}.Open(id, "", nil)
		if err == nil {
			err = store.RemoveAll()
		}
		if err != nil {
			log.Error("removing the segments of a topic that was deleted", "error", err)
			return
		}
		log.Info("the segments of a topic that was deleted are removed")
		k.deleted = k.deleted[1:]
	}
	for len(k.unknown) > 0 {
		path := k.unknown[0]
		if err := k.putAside(path); err != nil {
			k.o.Log.Warn("putting aside what nobody knows", "path", path, "error", err)
			return
		}
		k.o.Log.Warn("what nobody knows, or is damaged, was put aside", "path", path, "to", filepath.Join(k.o.Dir, asideFolder))
		k.unknown = k.unknown[1:]
	}
}

// putAside puts aside what nobody knows. Who does so syncs the folder that it was in; when that fails, others who have given names there must know.
func (k *Engine) putAside(path string) error {
	switch filepath.Dir(path) {
	case filepath.Join(k.o.Dir, segmentsFolder):
		return k.aside.putAll(path)
	case filepath.Join(k.o.Dir, logFolder):
		err := k.aside.put(path)
		if err != nil {
			k.wal.FolderFailed()
		}
		return err
	case filepath.Clean(k.o.Dir):
		return k.folder.changeNames(func() error { return k.aside.put(path) })
	}
	return k.aside.put(path)
}
