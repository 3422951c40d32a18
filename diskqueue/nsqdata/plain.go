package nsqdata

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"brokerd/diskqueue/vfs"
)

// CheckPlain returns which files of queues in a folder are links, folders or devices, as a vfs.ErrNotPlain; nil when none is. go-diskqueue
// follows a link, for reading and for writing, and waits for ever for a pipe. It reads nothing but names.
func CheckPlain(dir string) error {
	entries, err := os.ReadDir(folder(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for queues: %w", err)
	}
	var strange []string
	for _, e := range entries {
		if !e.Type().IsRegular() && ofQueue(e.Name()) {
			strange = append(strange, filepath.Join(dir, e.Name()))
		}
	}
	if len(strange) == 0 {
		return nil
	}
	more := ""
	if n := len(strange) - mostStrange; n > 0 {
		strange, more = strange[:mostStrange], fmt.Sprintf(" and %d more", n)
	}
	return fmt.Errorf("%s%s %w; put the queues' own files there, or move these away to start without their messages",
		strings.Join(strange, ", "), more, vfs.ErrNotPlain)
}

// mostStrange is how many files an error names.
const mostStrange = 10

// ofQueue reports whether a name is that of a queue's data or meta file.
func ofQueue(fileName string) bool {
	name, ok := strings.CutSuffix(fileName, ".dat")
	i := strings.LastIndex(name, ".diskqueue.")
	if !ok || i < 0 {
		return false
	}
	number := name[i+len(".diskqueue."):]
	_, isData := dataNumber(number)
	return isData || number == "meta"
}
