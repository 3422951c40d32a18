package nsqdata

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// TopicQueueName returns the name of a topic's disk queue.
func TopicQueueName(topic string) string { return topic }

// ChannelQueueName returns the name of a channel's disk queue.
func ChannelQueueName(topic, channel string) string {
	if runtime.GOOS == "windows" {
		return topic + ";" + channel
	}
	return topic + ":" + channel
}

// Exists reports whether a disk queue of this name is in dir: a meta file, or a first data file whose meta file was never
// written because the process was killed before.
func Exists(dir, name string) bool {
	files := queueFiles{dir: dir, name: name}
	if _, err := os.Stat(files.meta()); err == nil {
		return true
	}
	_, ok := files.size(0)
	return ok
}

// queueFiles names the files of one queue.
type queueFiles struct{ dir, name string }

func (f queueFiles) meta() string { return filepath.Join(f.dir, f.name+".diskqueue.meta.dat") }

func (f queueFiles) data(number int64) string {
	return filepath.Join(f.dir, fmt.Sprintf("%s.diskqueue.%06d.dat", f.name, number))
}

// size returns the length in bytes of a data file; ok is false when there is none. A link is none.
func (f queueFiles) size(number int64) (bytes int64, ok bool) {
	info, err := os.Lstat(f.data(number))
	if err != nil || !info.Mode().IsRegular() {
		return 0, false
	}
	return info.Size(), true
}

// folder returns the name under which dir itself can be opened.
func folder(dir string) string {
	if dir == "" {
		return "."
	}
	return dir
}

// queueFolder turns dir into what go-diskqueue can be given: it uses the folder as part of a format.
func queueFolder(dir string) string { return strings.ReplaceAll(dir, "%", "%%") }

// replaceFile makes data the content of path, whole or not at all whatever happens: data goes to a file beside it, which is
// synced and renamed, and the folder is synced.
func replaceFile(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return syncPath(filepath.Dir(path))
}

// syncPath syncs a file or folder. One that is not there is no error.
func syncPath(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
