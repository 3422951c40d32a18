package wal

import (
	"errors"
	"syscall"
	"testing"

	"brokerd/diskqueue/vfs"
)

// TestRoomIsAskedForBeforeAFileIsGivenUp: when the disk has no room for another file somebody is asked to make some, and the record is written when he
// has; it is lost, with the disk's error, only when he has not.
func TestRoomIsAskedForBeforeAFileIsGivenUp(t *testing.T) {
	for what, made := range map[string]bool{"some is made": true, "none is made": false} {
		t.Run(what, func(t *testing.T) {
			fs := vfs.NewMem()
			fs.SetLimit(3 << 10)
			asked := 0
			l, _, err := Open(Options{FS: fs, Dir: "log", FileSize: 1 << 10, SpareFiles: -1, Room: func() bool {
				if asked++; made {
					fs.SetLimit(64 << 10)
				}
				return made
			}}, func(Entry) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			for i := range 40 {
				at, err := l.Append(1, make([]byte, 200))
				if err == nil {
					err = l.Commit(at, Written)
				}
				if err != nil {
					if made || !errors.Is(err, syscall.ENOSPC) {
						t.Fatalf("record %d: %v", i, err)
					}
					break
				}
			}
			if asked == 0 || made && asked > 1 || l.Lost() > 0 == made {
				t.Errorf("it was asked %d times, %d records were lost", asked, l.Lost())
			}
		})
	}
}
