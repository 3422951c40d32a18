package storage

import (
	"errors"
	"fmt"
)

// stranger is a link, a folder or a device that stands where a file of the folder should be, or anything else where a folder should be.
type stranger struct {
	path string
	is   error
}

// errNoFolder is what stands where the log or segments should be.
var errNoFolder = errors.New("is no folder, and one belongs there: move it elsewhere")

// strangers are those of a folder. Nothing is read through them. It is an ErrIncomplete: the files are not there.
type strangers struct {
	Incomplete
	list []stranger
}

func newStrangers(dir string, list []stranger) *strangers {
	s := &strangers{Incomplete{Dir: dir}, list}
	for _, one := range list {
		s.Missing = append(s.Missing, fmt.Sprintf("%s %v", one.path, one.is))
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
	for _, one := range s.list {
		if err := a.put(one.path); err != nil {
			return nil, err
		}
	}
	return s.Missing, nil
}
