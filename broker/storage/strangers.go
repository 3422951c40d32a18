package storage

import (
	"errors"
	"fmt"

	"brokerd/diskqueue/vfs"
)

// strangers are links, folders and devices that stand where files of the folder should be. Nothing is read through them. It is an
// ErrIncomplete: the files are not there.
type strangers struct {
	Incomplete
	paths []string
}

func newStrangers(dir string, paths []string) *strangers {
	s := &strangers{Incomplete{Dir: dir}, paths}
	for _, path := range paths {
		s.Missing = append(s.Missing, fmt.Sprintf("%s %v", path, vfs.ErrNotPlain))
	}
	return s
}

// setStrangersAside does so where loss is accepted, so that what they stand for counts as missing, and returns what they were. A crash
// in between is a folder in which less of them stand.
func setStrangersAside(o Options) (given []string, err error) {
	if !o.AcceptLoss {
		return nil, nil
	}
	_, err = lookAt(o.FS, o.Dir, true, true)
	s := (*strangers)(nil)
	if !errors.As(err, &s) {
		return nil, nil // what else is wrong is found again
	}
	a := aside{fs: o.FS, dir: o.Dir}
	for _, path := range s.paths {
		if err := a.put(path); err != nil {
			return nil, err
		}
	}
	return s.Missing, nil
}
