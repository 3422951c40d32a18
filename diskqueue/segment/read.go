package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"

	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

// maxReaders is how many files stay open for reading.
const maxReaders = 4

// firstRead is how many bytes ReadFrame reads before it knows how long the message is.
const firstRead = 4 << 10

// reader is a file that is open for reading.
type reader struct {
	f       vfs.File
	number  uint32
	users   int  // guarded by Store.mu
	evicted bool // guarded by Store.mu: the last user closes it
}

// Read loads and verifies a block. The frames are as they were appended and in buf, which is grown when it is too small; lost
// says which of the block's messages are missing among them because they are damaged, which was read twice. An error means that
// nothing could be read now: ErrGone, ErrClosed, or what the file system said, which says nothing about what is on the disk.
func (s *Store) Read(b Block, buf []byte) (frames []byte, lost []Lost, err error) {
	frames, _, lost, err = s.ReadHeld(b, buf)
	return frames, lost, err
}

// ReadHeld is Read, and returns which positions the block has, damaged ones too; nil: all of them.
func (s *Store) ReadHeld(b Block, buf []byte) (frames []byte, held []Run, lost []Lost, err error) {
	if b.Held == 0 {
		frames, lost, err = s.readBlock(b, nil, buf)
		return frames, nil, lost, err
	}
	if held, err = s.readRuns(b); errors.Is(err, ErrDamaged) {
		return buf[:0], []Run{}, []Lost{{b.First, b.Count}}, nil // nobody knows which
	}
	if err != nil {
		return buf[:0], nil, nil, err
	}
	frames, lost, err = s.readBlock(b, held, buf)
	return frames, held, lost, err
}

// readRuns returns which positions a block has.
func (s *Store) readRuns(b Block) ([]Run, error) {
	list, err := s.ReadSections(b.Ref)
	if err != nil {
		return nil, err
	}
	for _, section := range list {
		if section.Kind == sectionRuns {
			if runs, ok := parseRuns(section.Data, b); ok {
				return runs, nil
			}
		}
	}
	s.noteDamage(b.Ref.File)
	return nil, fmt.Errorf("%w: runs of the block of %v", ErrDamaged, b.Ref)
}

// readBlock loads and verifies a block that has the positions in runs, nil for all.
func (s *Store) readBlock(b Block, runs []Run, buf []byte) (frames []byte, lost []Lost, err error) {
	r, err := s.acquire(b.Ref.File)
	if err != nil {
		return buf[:0], nil, err
	}
	defer s.release(r)
	if n := int(b.Ref.Length); cap(buf) < n {
		buf = make([]byte, n)
	} else {
		buf = buf[:n]
	}
	for again := range 2 {
		if again > 0 {
			if err := r.f.Forget(); err != nil && !s.o.AcceptLoss {
				return buf[:0], nil, fmt.Errorf("segments: %w", err)
			}
		}
		if err := s.load(r.f, buf, int64(b.Ref.Offset)+blockHeaderSize); err != nil {
			return buf[:0], nil, fmt.Errorf("segments: %w", err)
		}
		if runs == nil {
			frames, lost = verify(b, buf)
		} else {
			frames, lost = verifyRuns(b, runs, buf)
		}
		if lost == nil {
			return frames, nil, nil
		}
	}
	s.noteDamage(b.Ref.File)
	s.o.Log.Warn("segment block is damaged", "dir", s.o.Dir, "block", b.Ref, "lost", lost)
	return frames, lost, nil
}

// load fills p from a file, with zeros behind its end, and if loss is accepted also where it cannot be read.
func (s *Store) load(f vfs.File, p []byte, at int64) error {
	if s.o.AcceptLoss {
		_, err := readAround(f, p, at)
		if err != nil {
			s.o.Log.Warn("a segment file cannot be read whole", "dir", s.o.Dir, "error", err)
		}
		return nil
	}
	return readFull(f, p, at)
}

// ReadSections loads what a block has beside its frames. It fails with ErrDamaged when that is not what it was.
func (s *Store) ReadSections(ref Ref) ([]Section, error) {
	r, err := s.acquire(ref.File)
	if err != nil {
		return nil, err
	}
	defer s.release(r)
	for again := range 2 {
		if again > 0 {
			if err := r.f.Forget(); err != nil && !s.o.AcceptLoss {
				return nil, fmt.Errorf("segments: %w", err)
			}
		}
		list, ok, err := s.sections(r.f, ref)
		if err != nil {
			return nil, fmt.Errorf("segments: %w", err)
		}
		if ok {
			return list, nil
		}
	}
	s.noteDamage(ref.File)
	return nil, fmt.Errorf("%w: sections of the block of %v", ErrDamaged, ref)
}

func (s *Store) sections(f vfs.File, ref Ref) (list []Section, ok bool, err error) {
	head := make([]byte, blockHeaderSize)
	if err := s.load(f, head, int64(ref.Offset)); err != nil {
		return nil, false, err
	}
	h, ok := parseBlockHeader(head, ref.File, ref.Offset)
	if !ok || h.Ref != ref || h.extra == 0 {
		return nil, ok && h.Ref == ref, nil
	}
	extra := make([]byte, h.extra)
	if err := s.load(f, extra, ref.End()); err != nil {
		return nil, false, err
	}
	if crc32.Update(start(ref.File, ref.Offset), castagnoli, extra) != h.extraSum {
		return nil, false, nil
	}
	list, ok = parseSections(extra)
	return list, ok, nil
}

// ReadFrame loads and verifies the message seq, whose frame begins off bytes behind the start of its block's frames. The
// frame is in buf, which is grown when it is too small: 4 KiB are read at once, the rest of a longer message after that. Errors are
// those of Read and ErrDamaged.
func (s *Store) ReadFrame(ref Ref, off uint32, seq uint64, buf []byte) (protocol.MessageFrame, error) {
	if off > ref.Length || ref.Length-off < minFrame {
		return nil, fmt.Errorf("%w: offset %d in block of %v", ErrDamaged, off, ref)
	}
	r, err := s.acquire(ref.File)
	if err != nil {
		return nil, err
	}
	defer s.release(r)
	for again := range 2 {
		if again > 0 {
			if err := r.f.Forget(); err != nil {
				return nil, fmt.Errorf("segments: %w", err)
			}
		}
		var proved bool
		if buf, proved, err = readFrame(r.f, ref, off, seq, buf); err != nil {
			return nil, fmt.Errorf("segments: %w", err)
		}
		if proved {
			setType(buf)
			return protocol.MessageFrame(buf), nil
		}
	}
	s.noteDamage(ref.File)
	return nil, fmt.Errorf("%w: %d at %d in block of %v", ErrDamaged, seq, off, ref)
}

// readFrame reads what should be the message seq, and reports whether it is.
func readFrame(f vfs.File, ref Ref, off uint32, seq uint64, buf []byte) (frame []byte, proved bool, err error) {
	at, left := int64(ref.Offset)+blockHeaderSize+int64(off), int(ref.Length-off)
	if cap(buf) < firstRead {
		buf = make([]byte, firstRead)
	}
	buf = buf[:min(firstRead, left)]
	if err := readFull(f, buf, at); err != nil {
		return buf, false, err
	}
	size := int64(binary.BigEndian.Uint32(buf)) + 4
	if size < minFrame || size > int64(left) {
		return buf, false, nil
	}
	if buf, err = extend(f, buf, at, int(size)); err != nil {
		return buf, false, err
	}
	return buf, proves(buf, start(ref.File, ref.Offset)) == uint32(seq), nil
}

// extend brings what was read at an offset to size bytes.
func extend(f vfs.File, buf []byte, at int64, size int) ([]byte, error) {
	have := len(buf)
	if size <= have {
		return buf[:size], nil
	}
	buf = slices.Grow(buf, size-have)[:size]
	return buf, readFull(f, buf[have:], at+int64(have))
}

// readFull fills p, with zeros behind the end of the file.
func readFull(f vfs.File, p []byte, at int64) error {
	n, err := f.ReadAt(p, at)
	if n == len(p) {
		return nil
	}
	if err != nil && err != io.EOF {
		return err
	}
	clear(p[n:])
	return nil
}

// noteDamage sees to it that the file is put aside and not removed.
func (s *Store) noteDamage(number uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.files[number]; f != nil {
		f.damaged.Store(true)
	}
}

// acquire returns the file, open for reading. Whoever has it releases it.
func (s *Store) acquire(number uint32) (*reader, error) {
	s.mu.Lock()
	r, err := s.openLocked(number)
	s.mu.Unlock()
	if r != nil || err != nil {
		return r, err
	}
	f, err := s.o.FS.Open(s.path(number))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrGone, FileName(number))
	}
	if err != nil {
		return nil, fmt.Errorf("segments: %w", err)
	}
	return s.enter(&reader{f: f, number: number, users: 1})
}

// openLocked returns a reader that is open already, or nil when it must be opened.
func (s *Store) openLocked(number uint32) (*reader, error) {
	if s.closed {
		return nil, ErrClosed
	}
	if s.files[number] == nil {
		return nil, fmt.Errorf("%w: %s", ErrGone, FileName(number))
	}
	i := slices.IndexFunc(s.readers, func(r *reader) bool { return r.number == number })
	if i < 0 {
		return nil, nil
	}
	r := s.readers[i]
	copy(s.readers[i:], s.readers[i+1:])
	s.readers[len(s.readers)-1] = r
	r.users++
	return r, nil
}

// enter adds a reader that was just opened, unless somebody else has opened the file or the file was given up meanwhile.
func (s *Store) enter(r *reader) (*reader, error) {
	s.mu.Lock()
	other, err := s.openLocked(r.number)
	var idle []*reader
	switch {
	case err != nil || other != nil:
		idle = append(idle, r)
		r = other
	default:
		s.readers = append(s.readers, r)
		if len(s.readers) > maxReaders {
			oldest := s.readers[0]
			idle = s.evictLocked(func(r *reader) bool { return r == oldest })
		}
	}
	s.mu.Unlock()
	closeAll(idle)
	return r, err
}

// evictLocked takes readers out of the table and returns those to close now; the others are closed by their last users.
func (s *Store) evictLocked(which func(*reader) bool) (idle []*reader) {
	s.readers = slices.DeleteFunc(s.readers, func(r *reader) bool {
		if !which(r) {
			return false
		}
		r.evicted = true
		if r.users == 0 {
			idle = append(idle, r)
		}
		return true
	})
	return idle
}

// release gives back what acquire returned.
func (s *Store) release(r *reader) {
	s.mu.Lock()
	r.users--
	last := r.users == 0 && r.evicted
	s.mu.Unlock()
	if last {
		_ = r.f.Close()
	}
}

func closeAll(readers []*reader) {
	for _, r := range readers {
		_ = r.f.Close()
	}
}
