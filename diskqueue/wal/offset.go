package wal

import (
	"cmp"
	"fmt"
)

// Offset is where a record begins. The zero value is before every record.
type Offset struct {
	File   uint64 `json:"file"`   // number of the file
	Offset int64  `json:"offset"` // bytes from its beginning
}

// Compare returns -1, 0 or 1: before, equal, behind.
func (p Offset) Compare(q Offset) int {
	return cmp.Or(cmp.Compare(p.File, q.File), cmp.Compare(p.Offset, q.Offset))
}

// Before reports whether p is before q.
func (p Offset) Before(q Offset) bool {
	return p.File < q.File || p.File == q.File && p.Offset < q.Offset
}

// String returns file:offset.
func (p Offset) String() string { return fmt.Sprintf("%d:%d", p.File, p.Offset) }

// Level says what a commit waits for.
type Level uint8

// The levels.
const (
	Written Level = iota // handed to the operating system: survives the end of the process
	Synced               // on the disk: survives a power cut
)

// String returns the level's name.
func (l Level) String() string {
	if l == Synced {
		return "synced"
	}
	return "written"
}
