package vfs

import (
	"bytes"
	"errors"
	"fmt"
)

// anewChunk is how many bytes are written anew at once.
const anewChunk = 1 << 20

// SyncAnew makes durable what an earlier process has left in a file between two offsets, and the rest as far as a sync does. That process may not
// have synced it, or was told that it cannot be: then the system takes it for written, and a sync alone would do nothing. So it is written once
// more, as it is.
func SyncAnew(files FS, name string, from, to int64) error {
	f, err := files.OpenWrite(name)
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err == nil {
		err = writeAnew(f, from, min(to, size))
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func writeAnew(f File, from, to int64) error {
	if from >= to {
		return nil
	}
	part, again := make([]byte, min(anewChunk, to-from)), make([]byte, min(anewChunk, to-from))
	for at := from; at < to; at += int64(len(part)) {
		part = part[:min(int64(len(part)), to-at)]
		again = again[:len(part)]
		if err := errors.Join(ReadFull(f, part, at), ReadFull(f, again, at)); err != nil {
			return err
		}
		if !bytes.Equal(part, again) { // a read that is wrong must not be written
			return fmt.Errorf("%d bytes at %d: two reads differ", len(part), at)
		}
		if _, err := f.WriteAt(part, at); err != nil {
			return err
		}
	}
	return nil
}
