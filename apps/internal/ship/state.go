package ship

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"brokerd/apps/appkit"
	"brokerd/protocol/wholefile"
)

// printSize is how many bytes of a file tell it from others at most.
const printSize = 1024

// state is what a start knows of the run before it. Its format is in the package's comment.
type state struct {
	Version int        `json:"version"`
	Seen    int64      `json:"seen"`
	Files   []position `json:"files"`
	Done    []position `json:"done"` // of files that were rotated away and read to their ends
}

// position is how far one file was published.
type position struct {
	Path        string `json:"path"`
	Device      uint64 `json:"device"`
	Inode       uint64 `json:"inode"`
	Offset      int64  `json:"offset"`
	PrintLength int    `json:"print_length"`
	Print       string `json:"print"`
}

// digest is the print's form in the state.
func digest(print []byte) string {
	sum := sha256.Sum256(print)
	return hex.EncodeToString(sum[:16])
}

// parseState reads a state, and says what is wrong with it.
func parseState(text []byte) (state, error) {
	var s state
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		return s, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return s, errors.New("something follows behind it")
	}
	if s.Version != 1 {
		return s, fmt.Errorf("its version is %d, not 1", s.Version)
	}
	for _, p := range slices.Concat(s.Files, s.Done) {
		if p.Path == "" || p.Offset < 0 || p.PrintLength < 0 || p.PrintLength > printSize || len(p.Print) != 32 {
			return s, fmt.Errorf("the position in %q makes no sense", p.Path)
		}
	}
	return s, nil
}

// keeper reads and replaces the state file, and holds its lock.
type keeper struct {
	path string
	lock *os.File
}

// openState locks and reads the state. existed tells whether there was one.
func openState(path string) (k *keeper, s state, existed bool, err error) {
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, s, false, fmt.Errorf("--state-file: %w", err)
	}
	k = &keeper{path: path, lock: lock}
	if err = appkit.LockFile(lock); err == nil {
		s, existed, err = k.read()
	}
	if err != nil {
		return nil, s, false, errors.Join(fmt.Errorf("--state-file %s: %w", path, err), lock.Close())
	}
	return k, s, existed, nil
}

func (k *keeper) read() (state, bool, error) {
	text, _, err := wholefile.Regular(k.path, wholefile.Most)
	if errors.Is(err, os.ErrNotExist) {
		return state{}, false, nil
	}
	if err != nil {
		return state{}, false, err
	}
	s, err := parseState(text)
	if err != nil {
		err = fmt.Errorf("it is not a state of ship, move it away to begin anew: %w", err)
	}
	return s, true, err
}

// write replaces the state.
func (k *keeper) write(s state) error {
	s.Version = 1
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := appkit.ReplaceFile(k.path, append(text, '\n')); err != nil {
		return fmt.Errorf("writing the state: %w", err)
	}
	return nil
}

func (k *keeper) close() error { return k.lock.Close() }
