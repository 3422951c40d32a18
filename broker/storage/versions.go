package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/manifest"
	"brokerd/diskqueue/segment"
	"brokerd/diskqueue/vfs"
	"brokerd/diskqueue/wal"
)

// formatVersion is the version of the formats of log, segments and checkpoints. They change together.
const formatVersion = 2

// ErrVersion is a folder that another version has written. Nothing in it is changed.
var ErrVersion = errors.New("this build cannot read the folder")

// versions is what a look at the beginning of every file has found.
type versions struct {
	files  int    // of the log, of segments, and checkpoints
	newest uint32 // version of any
	name   string // of the file with that
	old    string // a file of a version that is not read any more; empty: there is none

	unread  []string // files that the disk does not give back, where loss is accepted
	strange []stranger
	loss    bool // a file that the disk does not give back is passed over
}

func (v *versions) add(name string, version uint32) {
	switch {
	case version > formatVersion && version > v.newest:
		v.newest, v.name = version, name
	case version < formatVersion && v.old == "":
		v.old = name
	}
}

// check returns why the folder may not be touched.
func (v *versions) check() error {
	switch {
	case v.newest > formatVersion:
		return fmt.Errorf("%w: %s has format %d, and this build knows formats up to %d: start the newer brokerd that wrote it",
			ErrVersion, v.name, v.newest, formatVersion)
	case v.old != "":
		return fmt.Errorf("%w: %s has format 1, of a brokerd before the first release. The way out: run `brokerd export DATA-PATH "+
			"OUT-PATH` of the build that wrote it, and start this one on OUT-PATH. When deferred messages are due is not kept that way",
			ErrVersion, v.old)
	}
	return nil
}

// lookAtVersions looks at the beginning of every file but those of segments. An error is one of the disk; where loss is accepted a file that cannot be read
// says nothing about its version.
func lookAtVersions(files vfs.FS, dir string, acceptLoss bool) (v versions, err error) {
	v.loss = acceptLoss
	err = eachName(files, dir, func(name string) error {
		if _, ok := checkpointNumber(name); !ok {
			return nil
		}
		return v.look(files, filepath.Join(dir, name), checkpointHeaderSize, checkpointVersion)
	})
	if err != nil {
		return v, err
	}
	logDir := filepath.Join(dir, logFolder)
	return v, v.each(files, logDir, func(name string) error {
		if filepath.Ext(name) != ".wal" {
			return nil
		}
		return v.look(files, filepath.Join(logDir, name), 64, wal.VersionOf)
	})
}

// lookAtSegments looks at the beginning of every file of segments, but for those that a checkpoint, nil when there is none, has as a whole: it was written
// after them, by a build of its version.
func (v *versions) lookAtSegments(files vfs.FS, dir string, state *journal.State) error {
	segmentsDir := filepath.Join(dir, segmentsFolder)
	return v.each(files, segmentsDir, func(name string) error {
		path := filepath.Join(segmentsDir, name)
		if _, _, ok := groupFolder(name); ok {
			return v.lookAtGroup(files, path)
		}
		id, ok := topicNumber(name)
		if !ok {
			return nil
		}
		known := map[uint32]bool{}
		if state != nil && state.Topics[id] != nil {
			for _, f := range state.Topics[id].Files {
				known[f.File] = true
			}
		}
		return v.lookAtEach(files, path, known)
	})
}

// lookAtGroup looks at the beginning of every file of segments of a generation of a group of replicas.
func (v *versions) lookAtGroup(files vfs.FS, dir string) error {
	return v.each(files, dir, func(name string) error {
		if _, ok := topicNumber(name); !ok {
			return nil
		}
		return v.lookAtEach(files, filepath.Join(dir, name), nil)
	})
}

// lookAtEach looks at the beginning of every file of segments of a topic, but for those that are known.
func (v *versions) lookAtEach(files vfs.FS, topicDir string, known map[uint32]bool) error {
	return v.each(files, topicDir, func(name string) error {
		number, ok := segment.FileNumber(name)
		if !ok || known[number] {
			return nil
		}
		return v.look(files, filepath.Join(topicDir, name), 16, func(head []byte) (uint32, bool) {
			return segment.VersionOf(head, number)
		})
	})
}

// look looks at one file. What is too short or damaged says nothing about its version.
func (v *versions) look(files vfs.FS, name string, size int, versionOf func([]byte) (uint32, bool)) error {
	head, err := readHead(files, name, size)
	if errors.Is(err, vfs.ErrNotPlain) {
		v.strange = append(v.strange, stranger{name, vfs.ErrNotPlain})
		return nil
	}
	if err != nil && !v.loss {
		return fmt.Errorf("looking at the version of %s: %w", name, err)
	}
	v.files++
	if err != nil {
		v.unread = append(v.unread, name)
		return nil
	}
	if version, ok := versionOf(head); ok {
		v.add(name, version)
	}
	return nil
}

// readHead reads the first bytes of a file; where it has fewer, the rest is zeros.
func readHead(files vfs.FS, name string, size int) ([]byte, error) {
	head := make([]byte, size)
	return head, vfs.Retry(func() error {
		f, err := files.Open(name)
		if err != nil {
			return err
		}
		defer f.Close() // read only
		return vfs.ReadFull(f, head, 0)
	})
}

// each is eachName for a folder of the broker's own. What stands there and is none is a stranger.
func (v *versions) each(files vfs.FS, dir string, f func(string) error) error {
	names, err := list(files, dir)
	if errors.Is(err, syscall.ENOTDIR) {
		v.strange = append(v.strange, stranger{dir, errNoFolder})
		return nil
	}
	return eachOf(names, err, f)
}

// eachName calls f with every name in a folder, which need not be there.
func eachName(files vfs.FS, dir string, f func(string) error) error {
	names, err := list(files, dir)
	return eachOf(names, err, f)
}

func eachOf(names []string, err error, f func(string) error) error {
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := f(name); err != nil {
			return err
		}
	}
	return nil
}

// list returns the names in a folder, none when it is not there.
func list(files vfs.FS, dir string) (names []string, err error) {
	err = vfs.Retry(func() error {
		names, err = files.List(dir)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking into %s: %w", dir, err)
	}
	return names, nil
}

// checkNeeds returns why a manifest cannot be followed.
func checkNeeds(m *manifest.Manifest) error {
	for _, name := range m.Needs {
		if _, ok := journal.ParseFeature(name); !ok {
			return fmt.Errorf("%w: it uses the feature %q: start the newer brokerd that wrote it", ErrVersion, name)
		}
	}
	return nil
}

// checkpointVersion returns the version of a checkpoint by its first bytes.
func checkpointVersion(head []byte) (uint32, bool) {
	if string(head[:8]) == "BRKDCKP1" { // before the first release
		return 1, true
	}
	_, _, ok := parseCheckpointHeader(head)
	return binary.BigEndian.Uint32(head[8:]), ok
}
