package nsqdata

import (
	"io"
	"os"
	"strings"

	"github.com/nsqio/go-diskqueue"
)

// Beginnings of what go-diskqueue v1.1.0 logs when it gives up a data file, in this order.
const (
	logReadError   = "DISKQUEUE(%s) reading at "
	logPutAside    = "DISKQUEUE(%s) jump to next file"
	logRenameError = "DISKQUEUE(%s) failed to rename bad"
)

// logDisk passes go-diskqueue's log lines on.
//
// One case is handled instead. When go-diskqueue has read the last record of its write file ahead and then begins a new
// file, it later takes the old one's end for damage and keeps it as ".bad", although every record of it was taken: up to
// MaxBytesPerFile bytes of disk that nobody would free. Such a file is removed here, before the rename, and nothing is
// said. Were these lines to change, the file would stay, no more.
func (q *Queue) logDisk(level diskqueue.LogLevel, format string, args ...any) {
	switch {
	case strings.HasPrefix(format, logReadError):
		q.dropping = readToEnd(args)
		if q.dropping {
			q.dropping = os.Remove(args[2].(string)) == nil
		}
		if q.dropping {
			return
		}
	case q.dropping && (strings.HasPrefix(format, logPutAside) || strings.HasPrefix(format, logRenameError)):
		return
	}
	q.logf(level.String(), format, args...)
}

// readToEnd reports whether a read error is just the end of a file: args are the queue's name, the
// position, the file's name and the error.
func readToEnd(args []any) bool {
	if len(args) != 4 || args[3] != error(io.EOF) {
		return false
	}
	pos, ok1 := args[1].(int64)
	path, ok2 := args[2].(string)
	if !ok1 || !ok2 {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && info.Size() == pos
}
