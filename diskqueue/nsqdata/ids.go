package nsqdata

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

// IDsFile is the name of the id bound's file in the data folder: one decimal number and a line feed.
const IDsFile = "brokerd.ids"

// IDs keeps the bound under which message ids may have been given out, so that their counter never goes back, whatever the
// clock or a crash does. Numbers are reserved in steps that the caller chooses; a crash costs what was reserved and not used.
// It is safe for concurrent use.
type IDs struct {
	path string

	mu    sync.Mutex
	bound uint64
}

// ErrIDs is a file of the id bound that does not hold a bound.
var ErrIDs = errors.New("failed to read the id bound")

// OpenIDs reads the bound in dir; a missing file is the bound 0. A file that is not a number of at most
// protocol.MaxSequence+1 is an error that wraps ErrIDs, since guessing could give an id out twice: the IDs that come with it are
// for who has a copy of the bound, see Raise.
func OpenIDs(dir string) (*IDs, error) {
	ids := &IDs{path: filepath.Join(dir, IDsFile)}
	data, err := vfs.ReadPlain(ids.path)
	if errors.Is(err, fs.ErrNotExist) {
		return ids, nil
	}
	if errors.Is(err, vfs.ErrNotPlain) {
		return ids, fmt.Errorf("%w: %w", ErrIDs, err)
	}
	if err != nil {
		return nil, fmt.Errorf("failed to read the id bound: %w", err)
	}
	ids.bound, err = strconv.ParseUint(strings.TrimSuffix(string(data), "\n"), 10, 64)
	if err != nil || ids.bound > protocol.MaxSequence+1 {
		ids.bound = 0
		return ids, fmt.Errorf("%w: the %d bytes of %s are no number of 0 to %d; write one into it that is "+
			"higher than the last 54 bits of every message id given out so far", ErrIDs, len(data), ids.path, uint64(protocol.MaxSequence+1))
	}
	return ids, nil
}

// Follow has the file written below another path of the folder.
func (ids *IDs) Follow(dir string) {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	ids.path = filepath.Join(dir, IDsFile)
}

// Bound returns the first number that was never reserved.
func (ids *IDs) Bound() uint64 {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	return ids.bound
}

// Raise makes bound the bound, if it is higher, without writing it down: somebody has kept a copy, and the file is gone or an old one.
func (ids *IDs) Raise(bound uint64) {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	ids.bound = max(ids.bound, min(bound, protocol.MaxSequence+1))
}

// Reserve makes upTo, at most protocol.MaxSequence+1, the bound. Once it returns nil the numbers below may be used. A bound
// that is already as high stays. It waits for the disk.
func (ids *IDs) Reserve(upTo uint64) error {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	if upTo <= ids.bound {
		return nil
	}
	if upTo > protocol.MaxSequence+1 {
		return fmt.Errorf("failed to reserve ids: %d is more than the %d there are", upTo, uint64(protocol.MaxSequence+1))
	}
	return ids.writeLocked(upTo)
}

// Close gives back what was reserved and not used: next, at most Bound, is the first number that was never given out. Nothing may
// be given out afterwards.
func (ids *IDs) Close(next uint64) error {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	if next > ids.bound {
		return fmt.Errorf("failed to save the id bound: %d is above the reserved %d", next, ids.bound)
	}
	if next == ids.bound {
		return nil
	}
	return ids.writeLocked(next)
}

func (ids *IDs) writeLocked(bound uint64) error {
	if err := replaceFile(ids.path, append(strconv.AppendUint(nil, bound, 10), '\n')); err != nil {
		return fmt.Errorf("failed to save the id bound: %w", err)
	}
	ids.bound = bound
	return nil
}
