package segment

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"

	"brokerd/diskqueue/vfs"
)

// Damage is a part of a file that Open could not make sense of. It may have held any number of blocks.
type Damage struct {
	File   uint32
	Offset int64 // in the file
	Length int64 // bytes
	What   string
}

func (d Damage) String() string {
	return fmt.Sprintf("%s at %d, %d bytes: %s", FileName(d.File), d.Offset, d.Length, d.What)
}

// scanned is what was found in one file.
type scanned struct {
	size    int64
	blocks  []Block
	damage  []Damage
	torn    int64 // bytes at the end that were left by an append which was not finished
	foreign bool  // of another folder or topic, or written in a format that is not known here: left alone
}

const (
	searchChunk = 64 << 10
	sector      = 4 << 10 // what is given up when the disk cannot read it
)

// scanner reads the headers of one file.
type scanner struct {
	scanned
	f      vfs.File
	number uint32
	owner  owner
	loss   bool // what cannot be read is damage
	head   []byte
	chunk  []byte // made when something must be searched for
	err    error  // of the last read that failed since it was set to nil
	failed error  // of the first one, when that is no damage: the scan ends
}

// scan finds the blocks of a file. What looks damaged is looked at once more, on the disk and not in the system's memory.
func (s *Store) scan(number uint32) (found scanned, err error) {
	for again := range 2 {
		if again > 0 {
			if err := vfs.Forget(s.o.FS, s.path(number)); err != nil && !s.o.AcceptLoss {
				return scanned{}, err
			}
		}
		err = vfs.Retry(func() (err error) {
			found, err = scanFile(s.o, number)
			return err
		})
		if err != nil || len(found.damage) == 0 || found.foreign {
			return found, err
		}
	}
	return found, nil
}

// Files are scanned side by side when they are many: each header is a read of its own, which takes its time when the system's memory does not
// have it, and disks answer many at once as fast as one.
const (
	manyFiles  = 32
	sideBySide = 16
)

// scanAll finds the blocks of files.
func (s *Store) scanAll(numbers []uint32) ([]scanned, error) {
	found, errs := make([]scanned, len(numbers)), make([]error, len(numbers))
	workers := 1
	if len(numbers) >= manyFiles {
		workers = sideBySide
	}
	var next atomic.Int64
	var failed atomic.Bool // then the rest is not looked at: each may be tried for long
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(numbers) && !failed.Load(); i = next.Add(1) - 1 {
				if found[i], errs[i] = s.scan(numbers[i]); errs[i] != nil {
					failed.Store(true)
				}
			}
		})
	}
	all.Wait()
	return found, cmp.Or(errs...)
}

// scanFile finds the blocks of a file.
func scanFile(o Options, number uint32) (scanned, error) {
	f, err := o.FS.Open(filepath.Join(o.Dir, FileName(number)))
	if err != nil {
		return scanned{}, err
	}
	defer f.Close()
	s := scanner{f: f, number: number, owner: owner{o.Folder, o.Topic}, loss: o.AcceptLoss, head: make([]byte, blockHeaderSize)}
	if s.size, err = f.Size(); err != nil {
		return scanned{}, err
	}
	if s.fileHeader() {
		s.allBlocks()
	}
	if s.failed != nil {
		return scanned{}, s.failed
	}
	return s.scanned, nil
}

// fileHeader reads the header of the file; false means that there is nothing to look for behind it.
func (s *scanner) fileHeader() bool {
	if s.size < fileHeaderSize {
		s.torn = s.size
		return false
	}
	s.read(s.head[:fileHeaderSize], 0) // zeros, if that fails
	kind, what := checkFileHeader(s.head, s.owner, s.number)
	switch {
	case kind == ownFile:
		return true
	case kind != brokenFile:
		s.foreign = true
		s.damaged(0, s.size, what)
		return false
	case s.zeros(0, s.size):
		s.torn = s.size
		return false
	}
	s.damaged(0, fileHeaderSize, what)
	return true
}

// allBlocks reads the headers of blocks up to the end of the file.
func (s *scanner) allBlocks() {
	for at := int64(fileHeaderSize); at < s.size; {
		if s.size-at < blockHeaderSize {
			s.torn = s.size - at
			return
		}
		s.err = nil
		s.read(s.head, at)
		if s.failed != nil {
			return
		}
		b, ok := s.parse(s.head, at)
		if !ok {
			at = s.resume(at)
			continue
		}
		if b.end() > s.size {
			s.torn = s.size - at
			return
		}
		s.blocks = append(s.blocks, b.Block)
		at = b.end()
	}
}

func (s *scanner) parse(h []byte, at int64) (blockHeader, bool) {
	if at > maxFile {
		return blockHeader{}, false
	}
	return parseBlockHeader(h, s.number, uint32(at))
}

// resume says what the bytes from at on are, in whose place there is no valid header, and where to go on.
func (s *scanner) resume(at int64) int64 {
	next := s.search(at + 1)
	switch {
	case s.err != nil:
		s.damaged(at, next-at, "cannot be read: "+s.err.Error())
	case next == s.size && s.zeros(at+blockHeaderSize, s.size):
		s.torn = s.size - at
	case s.zeros(at, next):
		s.damaged(at, next-at, "zeros")
	default:
		s.damaged(at, next-at, "block header")
	}
	return next
}

func (s *scanner) damaged(at, length int64, what string) {
	s.damage = append(s.damage, Damage{File: s.number, Offset: at, Length: length, What: what})
}

// search returns the offset of the next valid header, or the size of the file.
func (s *scanner) search(from int64) int64 {
	for s.size-from >= blockHeaderSize {
		chunk := s.load(from, s.size)
		for i := 0; ; i++ {
			n := bytes.Index(chunk[i:], []byte(blockMagic))
			if i += n; n < 0 || len(chunk)-i < blockHeaderSize {
				break
			}
			if _, ok := s.parse(chunk[i:], from+int64(i)); ok {
				return from + int64(i)
			}
		}
		from += int64(len(chunk) - blockHeaderSize + 1)
	}
	return s.size
}

// zeros reports whether all bytes between the two offsets can be read and are 0.
func (s *scanner) zeros(from, to int64) bool {
	for from < to {
		chunk := s.load(from, to)
		if s.err != nil || len(bytes.Trim(chunk, "\x00")) > 0 {
			return false
		}
		from += int64(len(chunk))
	}
	return true
}

// load reads a part of the file that ends before to.
func (s *scanner) load(from, to int64) []byte {
	if s.chunk == nil {
		s.chunk = make([]byte, searchChunk)
	}
	chunk := s.chunk[:min(to-from, searchChunk)]
	s.read(chunk, from)
	return chunk
}

func (s *scanner) read(p []byte, at int64) {
	if !s.loss {
		if err := readFull(s.f, p, at); err != nil {
			clear(p)
			s.err = err
			s.failed = cmp.Or(s.failed, err)
		}
		return
	}
	if _, err := readAround(s.f, p, at); err != nil {
		s.err = err
	}
}

// readAround fills p from the file. What the disk cannot read, and what lies behind the end of the file, is filled with
// zeros; it returns how many bytes were read and the first error, which io.EOF is not.
func readAround(f vfs.File, p []byte, at int64) (read int, err error) {
	n, err := f.ReadAt(p, at)
	if n == len(p) {
		return n, nil
	}
	if err == nil || err == io.EOF {
		clear(p[n:])
		return n, nil
	}
	for len(p) > 0 {
		part := p[:min(int64(len(p)), sector-at%sector)]
		n, failed := f.ReadAt(part, at)
		if failed != nil && failed != io.EOF {
			n = 0
		}
		clear(part[n:])
		read += n
		at += int64(len(part))
		p = p[len(part):]
	}
	return read, err
}
