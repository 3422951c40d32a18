package topic

import (
	"errors"
	"math"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
)

// Level says when a publish is answered.
type Level uint8

// The levels.
const (
	Memory Level = iota // it is in memory
	Disk                // it is written to the node's log
	Fsync               // the log is synced
)

var levelNames = [...]string{"memory", "disk", "fsync"}

// String returns the level's name as in --durability.
func (l Level) String() string { return levelNames[l] }

// ErrLevel is a name that is no level.
var ErrLevel = errors.New("must be memory, disk or fsync")

// ParseLevel returns the level of that name.
func ParseLevel(name string) (Level, error) {
	for i, n := range levelNames {
		if n == name {
			return Level(i), nil
		}
	}
	return Memory, ErrLevel
}

// Log is the node's log.
type Log interface {
	// Append puts a record of the two parts into the log and returns where it is. A body of 64 KiB or more must never be changed from then
	// on, and none that a Reign gets; others are copied.
	// It waits for nothing: the record is written with the next Commit, or a little later by itself.
	Append(kind journal.Kind, head, body []byte) journal.Offset
	// Commit returns when the record at that place, and all before it, is written, and with sync also synced.
	Commit(at journal.Offset, sync bool) error
	// End returns the place of the next record.
	End() journal.Offset
	// Err returns why nothing can be written now, nil when it can.
	Err() error
	// Gap returns why nothing is to be answered that was committed: records before it may be lost, on which it builds, as that of its
	// channel. It waits for nothing.
	Gap() error
}

// Nowhere is where a record is that a Reign could not append: behind all others, and Commit fails for it.
var Nowhere = journal.Offset{Offset: math.MaxInt64}

// Segments opens the folder that keeps one topic's overflow.
type Segments interface {
	// Open opens that of the topic with this number. Its name is for new files; empty: there will be none. whole are files, with their sizes, that
	// are needed as a whole: those that have that size are not looked into.
	Open(topic uint32, name string, whole map[uint32]int64) (*segment.Store, []segment.Block, []segment.Damage, error)
}
