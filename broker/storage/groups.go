package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/manifest"
	"brokerd/diskqueue/vfs"
	"brokerd/diskqueue/wal"
)

// Groups is who keeps groups of replicas in the node's log. What they say and which of it is needed is for them to know.
type Groups interface {
	// Checkpoint prepares a checkpoint of each group: what it has written to the log, and to files, counts when the change
	// of the manifest that it returns does. The log is synced before. nil: there is nothing to change. counts is called once it does; nil: nobody
	// needs that.
	Checkpoint() (change func(*manifest.Manifest), counts func(), err error)
	// Owes reports whether a checkpoint would let go of much that is on the disk, or in the log.
	Owes() bool
	// Compact writes anew what is needed of segments of which little is, as topic.Registry's does. What was written anew goes with a checkpoint, which is owed then.
	Compact(ctx context.Context, read func(bytes int) error) (done bool, err error)
	// Held returns how many bytes groups have in memory that are to be written down.
	Held() int64
	// Tight tells whether the disk has less room than groups need to go on with more messages. It is called often, and does not wait.
	Tight(is bool)
}

// groupMagic is what the checkpoint of a group begins with, before the first bytes of the folder's id and its content.
const (
	groupMagic      = "brkdgrp1"
	groupHeaderSize = 16
)

// ErrGroupCheckpoint is a checkpoint of a group that is not what was written.
var ErrGroupCheckpoint = errors.New("the checkpoint of a group of replicas is damaged")

func groupPrefix(group uint32) string { return fmt.Sprintf("%sg%02d.", checkpointPrefix, group) }

func (k *Engine) groupName(group uint32, number uint64) string {
	return filepath.Join(k.o.Dir, fmt.Sprintf("%s%06d", groupPrefix(group), number))
}

// WriteGroup writes and syncs a checkpoint of a group, the parts one behind the other, under a number that none has. The manifest does not name
// it yet.
func (k *Engine) WriteGroup(group uint32, content ...[]byte) (c manifest.GroupCheckpoint, err error) {
	numbers, err := k.groupNumbers(group)
	if err != nil {
		return c, err
	}
	for _, n := range numbers {
		c.Number = max(c.Number, n)
	}
	c.Number++
	parts := append([][]byte{append([]byte(groupMagic), k.folder.id[:]...)}, content...)
	for _, b := range parts {
		c.Size, c.Sum = c.Size+uint64(len(b)), crc32.Update(c.Sum, castagnoli, b)
	}
	if err := k.writeGroup(k.groupName(group, c.Number), int64(c.Size), parts); err != nil {
		if removeErr := k.o.FS.Remove(k.groupName(group, c.Number)); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
			err = errors.Join(err, removeErr) // what is left of it takes space, which may be what lacks
		}
		return c, fmt.Errorf("writing a checkpoint of group %d: %w", group, err)
	}
	return c, nil
}

func (k *Engine) writeGroup(name string, size int64, parts [][]byte) error {
	failures := k.folder.failures()
	f, err := k.createGroup(name, size)
	if err != nil {
		return err
	}
	at := int64(0)
	for _, b := range parts {
		if _, err = f.WriteAt(b, at); err != nil {
			break
		}
		at += int64(len(b))
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return k.folder.syncNames(failures)
}

// ReadGroup returns the content of the checkpoint that the manifest names. An ErrGroupCheckpoint, or fs.ErrNotExist, is one
// that is not there any more; other errors are those of the file system.
func (k *Engine) ReadGroup(group uint32, c manifest.GroupCheckpoint) (content []byte, err error) {
	name := k.groupName(group, c.Number)
	err = vfs.ReadTwice(k.o.FS, name, func(b []byte) error {
		if uint64(len(b)) != c.Size || len(b) < groupHeaderSize || crc32.Checksum(b, castagnoli) != c.Sum ||
			string(b[:8]) != groupMagic || [8]byte(b[8:]) != k.folder.id {
			return fmt.Errorf("%w: %s", ErrGroupCheckpoint, name)
		}
		content = b[groupHeaderSize:]
		return nil
	}, func(err error) bool { return errors.Is(err, ErrGroupCheckpoint) })
	return content, err
}

func (k *Engine) groupNumbers(group uint32) (numbers []uint64, err error) {
	names, err := list(k.o.FS, k.o.Dir)
	for _, name := range names {
		digits, ok := strings.CutPrefix(name, groupPrefix(group))
		if n, bad := strconv.ParseUint(digits, 10, 64); ok && bad == nil && filepath.Base(k.groupName(group, n)) == name {
			numbers = append(numbers, n)
		}
	}
	return numbers, err
}

// removeGroups removes checkpoints of groups that the manifest does not name, and that are older than the one that it names.
func (k *Engine) removeGroups(m *manifest.Manifest) error {
	for _, g := range m.Groups {
		numbers, err := k.groupNumbers(g.Number)
		if err != nil {
			return err
		}
		for _, n := range numbers {
			if n >= g.File.Number {
				continue
			}
			if err := k.o.FS.Remove(k.groupName(g.Number, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// Kept is what the manifest says of groups.
func (k *Engine) Kept() (groups []manifest.Group, cluster json.RawMessage) {
	m := k.folder.current()
	return m.Groups, m.Cluster
}

// Folder returns the folder's id.
func (k *Engine) Folder() string { return k.folder.current().Folder.String() }

// Keep replaces the manifest with what a change makes of it, which counts, synced, when it returns nil.
func (k *Engine) Keep(change func(*manifest.Manifest)) error { return k.folder.update(change) }

// GroupLog returns the log as groups of replicas see it.
func (k *Engine) GroupLog() *GroupLog { return &GroupLog{k.wal, &k.wakeups, &k.growth} }

// GroupLog is the node's log for groups of replicas.
type GroupLog struct {
	*wal.Log
	wakeup *wakeup
	growth *growth
}

// Append is wal.Log's; the engine looks at the log's growth.
func (g *GroupLog) Append(kind byte, data ...[]byte) (wal.Offset, error) {
	g.wakeup.wake()
	g.growth.records.Add(1)
	for _, b := range data {
		g.growth.add(int64(len(b)))
	}
	return g.Log.Append(kind, data...)
}

// growth has the engine look at the room on the disk when groups have written so much: between two of its looks they could fill a small one, and who follows
// refuses nothing by itself.
type growth struct {
	most    int64
	since   atomic.Int64
	records atomic.Uint64 // so many were given to the log
	now     chan struct{}
}

func (g *growth) add(n int64) {
	if g.since.Add(n) < g.most {
		return
	}
	g.since.Store(0)
	select {
	case g.now <- struct{}{}:
	default:
	}
}

// KeepGroups says who keeps groups from now on. It is called before Start.
func (k *Engine) KeepGroups(g Groups) { k.groups = g }

// loseGroups notes, for a repair, that a part of the log may be gone that was of groups. They are not to count on what is left.
func (k *Engine) loseGroups() {
	for i := range k.folder.m.Groups {
		k.folder.m.Groups[i].Lost = true
	}
}

// groupsFrom returns from where on the log is needed, for groups and for what needs it from a place on.
func groupsFrom(m *manifest.Manifest, from wal.Offset) wal.Offset {
	for _, g := range m.Groups {
		if g.From.Before(from) {
			from = g.From
		}
	}
	return from
}

// applyRecord hands a record of the log to who it is for. Those that groups need from before the topics' checkpoint are not
// for topics.
func (o *Options) applyRecord(e wal.Entry, topicsFrom wal.Offset, topics func(wal.Entry) error) error {
	switch {
	case e.Kind == byte(kindProbe):
		return nil
	case journal.OfGroups(journal.Kind(e.Kind)):
		if o.Groups == nil {
			return nil
		}
		return o.Groups(e)
	case e.At.Before(topicsFrom):
		return nil
	}
	return topics(e)
}
