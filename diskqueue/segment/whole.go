package segment

import (
	"errors"
	"fmt"
	"io/fs"
)

// A file that is needed as a whole is one entry: nobody remembers its blocks, and Open does not look into it. Its place is a Ref without an
// offset. Whoever wants to read in it asks for its blocks.

// adoptWhole enters a file that was there before and is needed as a whole.
func (s *Store) adoptWhole(number uint32) (is bool) {
	size, is := s.o.Whole[number]
	if is {
		s.files[number] = &file{number: number, size: size, live: 1, whole: true}
		s.bytes.Add(size)
	}
	return is
}

// Join forgets the blocks of a file: from now on it is needed as a whole. It reports whether it did: nothing is appended to the file any more,
// all of it is synced, there is no damage in it, and it has so many blocks that are needed.
func (s *Store) Join(number uint32, blocks int) bool {
	f := s.files[number]
	switch {
	case f == nil || f == s.active || f.whole || f.foreign || f.live != blocks || f.damaged.Load():
		return false
	case f.dirty || f.syncing || f.fresh || f.doubt != nil || f.synced != len(f.blocks):
		return false
	}
	s.cutTail(f)
	f.whole, f.live, f.blocks, f.synced = true, 1, nil, 0
	f.closeWriter()
	return true
}

// cutTail has the size of a file be that of what is sure to be there after a power cut. The file itself stays as it is, and is looked into by
// the next Open, as it is longer.
func (s *Store) cutTail(f *file) {
	if !f.found {
		return
	}
	end := f.size - f.torn
	for i := len(f.blocks) - 1; i >= 0 && f.blocks[i].dropped(); i-- {
		end = int64(f.blocks[i].offset)
	}
	s.bytes.Add(end - f.size)
	f.size, f.torn = end, 0
}

// IsWhole reports whether a file is there and is needed as a whole.
func (s *Store) IsWhole(number uint32) bool {
	f := s.files[number]
	return f != nil && f.whole
}

// Size returns the size of a file in bytes, 0 when it is not known here.
func (s *Store) Size(number uint32) int64 {
	if f := s.files[number]; f != nil {
		return f.size
	}
	return 0
}

// Blocks looks into a file and returns its blocks in order, those too that nobody needs. Where there is damage they are missing, and the file
// is put aside in the end. It may be called beside other methods, and fails as Read does; a file that has become another's is an error, as
// the right one may be put back.
func (s *Store) Blocks(number uint32) ([]Block, error) {
	s.mu.Lock()
	closed, known := s.closed, s.files[number] != nil
	s.mu.Unlock()
	switch {
	case closed:
		return nil, ErrClosed
	case !known:
		return nil, fmt.Errorf("%w: %s", ErrGone, FileName(number))
	}
	found, err := s.scan(number)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %s", ErrGone, FileName(number))
	case err != nil:
		return nil, fmt.Errorf("segments: %w", err)
	case found.foreign:
		return nil, fmt.Errorf("segments: %s: %s", FileName(number), found.damage[0].What)
	}
	if len(found.damage) > 0 {
		s.noteDamage(number)
		s.o.Log.Warn("segment file is damaged", "dir", s.o.Dir, "where", found.damage)
	}
	return found.blocks, nil
}
