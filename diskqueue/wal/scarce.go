package wal

import (
	"errors"
	"syscall"
)

// noRoom reports whether an error is that the disk has no room.
func noRoom(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// maxScarce is how often the size of files is halved at most.
const maxScarce = 4

// sizeLocked returns the size of the next file. It is less than Options.FileSize after the disk had no room for that: what there is may be
// enough to say what consumers do, and that older files can go, without which a log that fills its disk would stay as it is for good.
func (l *Log) sizeLocked() int64 {
	if len(l.spares) > 0 { // it needs no room
		return l.o.FileSize
	}
	return max(l.o.FileSize>>l.scarce, minFileSize)
}

// scarcerLocked makes the next file smaller if there was no room for this one.
func (l *Log) scarcerLocked(err error) {
	if noRoom(err) {
		l.scarce = min(l.scarce+1, maxScarce)
	}
}
