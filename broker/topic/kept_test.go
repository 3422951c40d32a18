package topic

import (
	"slices"
	"strconv"
	"sync"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
	"brokerd/diskqueue/vfs"
)

// keptLog is a log that keeps its records in memory, for whoever wants to recover from some of them.
type keptLog struct {
	mu      sync.Mutex
	records []keptRecord
	failing error // what Commit says, nil: nothing
}

type keptRecord struct {
	kind journal.Kind
	data []byte
}

func (l *keptLog) Append(kind journal.Kind, head, body []byte) journal.Offset {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, keptRecord{kind, slices.Concat(head, body)})
	return journal.Offset{Offset: int64(len(l.records) - 1)}
}

func (l *keptLog) End() journal.Offset {
	l.mu.Lock()
	defer l.mu.Unlock()
	return journal.Offset{Offset: int64(len(l.records))}
}

func (l *keptLog) len() int { return int(l.End().Offset) }

func (l *keptLog) Commit(journal.Offset, bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failing
}

// fail has every Commit fail from now on, nil: succeed again.
func (l *keptLog) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failing = err
}

func (l *keptLog) Err() error { return nil }

func (l *keptLog) Gap() error { return nil }

// keptSegments keeps segments in a file system.
type keptSegments struct{ fs vfs.FS }

func (k keptSegments) Open(id uint32, name string, whole map[uint32]int64) (*segment.Store, []segment.Block, []segment.Damage, error) {
	return segment.Open(segment.Options{FS: k.fs, Dir: strconv.Itoa(int(id)), Name: name, Whole: whole})
}

// Remove is not needed: tests throw the file system away.
func (k keptSegments) Remove(uint32) error { return nil }
