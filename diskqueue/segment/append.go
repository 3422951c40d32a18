package segment

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"

	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

// scratchSize is how many bytes are written at once. Frames that are longer are written from where they are.
const scratchSize = 64 << 10

// Append writes a block of count messages, whose frames follow each other in frames and are only read, and what else it has. It
// returns once all is written, not synced.
//
// After an error none of them counts as appended. What arrived of the block stays on disk behind the last good block of a
// file that is not appended to any more; the next Open passes over it, or finds the block if all of it arrived. The next
// Append begins a new file.
func (s *Store) Append(first uint64, count int, frames []byte, sections ...Section) (Ref, error) {
	return s.append(Block{First: first, Count: uint32(count)}, []Run{{first, uint32(count)}}, frames, sections)
}

// AppendSome is Append of a block that speaks of count positions and has messages of those in runs only, one run at least.
func (s *Store) AppendSome(first uint64, count int, runs []Run, frames []byte, sections ...Section) (Block, error) {
	b := Block{First: first, Count: uint32(count)}
	for _, r := range runs {
		b.Held += r.Count
	}
	if b.Held == b.Count {
		b.Held = 0
	} else {
		sections = append([]Section{{sectionRuns, appendRuns(nil, first, runs)}}, sections...)
	}
	ref, err := s.append(b, runs, frames, sections)
	b.Ref = ref
	return b, err
}

func (s *Store) append(block Block, runs []Run, frames []byte, sections []Section) (Ref, error) {
	if s.closed {
		return Ref{}, ErrClosed
	}
	if err := checkSize(frames, block.First, cmp.Or(block.Held, block.Count)); err != nil {
		return Ref{}, err
	}
	extra, err := appendSections(nil, sections)
	if err != nil {
		return Ref{}, err
	}
	name := s.nameSection()
	f, err := s.writable(blockHeaderSize + int64(len(frames)+len(extra)+len(name)))
	if err != nil {
		return Ref{}, fmt.Errorf("segments: %w", err)
	}
	if f.size == 0 {
		extra = append(extra, name...)
	}
	b := blockHeader{Block: block, extra: uint32(len(extra))}
	b.Ref = Ref{File: f.number, Offset: uint32(max(f.size, fileHeaderSize)), Length: uint32(len(frames))}
	if len(extra) > 0 {
		b.extraSum = crc32.Update(start(b.Ref.File, b.Ref.Offset), castagnoli, extra)
	}
	if !f.dirty {
		f.dirty = true
		s.unsynced = append(s.unsynced, f)
	}
	if err := s.write(f, b, runs, frames, extra); err != nil {
		return Ref{}, fmt.Errorf("segments: %w", errors.Join(err, s.seal(f)))
	}
	f.blocks = append(f.blocks, entry{offset: b.Ref.Offset, length: b.Ref.Length})
	f.live++
	s.bytes.Add(b.end() - f.size)
	f.size = b.end()
	return b.Ref, nil
}

// writable returns a file with room for n more bytes, open for writing.
func (s *Store) writable(n int64) (*file, error) {
	if f := s.active; f != nil && f.size+n <= s.o.FileSize {
		if f.w != nil {
			return f, nil
		}
		if w, err := s.o.FS.OpenWrite(s.path(f.number)); err == nil {
			f.w = w
			return f, nil
		}
	}
	made, err := s.create()
	if err != nil {
		return nil, err
	}
	if old := s.active; old != nil {
		if err := s.seal(old); err != nil {
			s.o.Log.Warn("segment file cannot be removed yet", "error", err)
		}
	}
	s.limitUnsynced()
	s.active = made
	return made, nil
}

// create makes the file with the next free number.
func (s *Store) create() (*file, error) {
	if !s.folder {
		if err := s.o.FS.MkdirAll(s.o.Dir); err != nil {
			return nil, err
		}
		s.folder = true
	}
	w, err := vfs.File(nil), error(fs.ErrExist)
	for errors.Is(err, fs.ErrExist) {
		if s.last == maxFile {
			return nil, errors.New("no number is left for a file")
		}
		s.last++
		w, err = s.o.FS.Create(s.path(s.last))
	}
	if err != nil {
		s.last-- // nothing is there
		s.folder = false
		return nil, err
	}
	f := &file{number: s.last, w: w, fresh: true}
	s.dirDirty = true
	s.mu.Lock()
	s.files[f.number] = f
	s.mu.Unlock()
	return f, nil
}

// seal ends appending to a file, and gives it up when nobody needs it.
func (s *Store) seal(f *file) error {
	if s.active == f {
		s.active = nil
	}
	if f.live == 0 {
		return s.giveUp(f)
	}
	if !f.dirty {
		f.closeWriter()
	}
	return nil
}

// write writes a block, with the header of the file in front of its first one. It proves on the way that it is given the whole message frames
// that were announced; if not it fails as a write does.
func (s *Store) write(f *file, b blockHeader, runs []Run, frames, extra []byte) error {
	if s.scratch == nil {
		s.scratch = make([]byte, 0, scratchSize)
	}
	w := blockWriter{w: f.w, at: f.size, buf: s.scratch}
	if f.size == 0 {
		w.buf = appendFileHeader(w.buf, s.owner(), f.number)
	}
	w.buf = b.append(w.buf)
	from := start(b.Ref.File, b.Ref.Offset)
	for _, r := range runs {
		for seq := r.First; seq < r.First+uint64(r.Count); seq++ {
			frame := frameAt(frames, 0)
			if frame == nil || binary.BigEndian.Uint32(frame[offsetSum:]) != uint32(protocol.FrameMessage) {
				return fmt.Errorf("%w: of message %d, %d bytes before the end", ErrFrames, seq, len(frames))
			}
			frames = frames[len(frame):]
			if err := w.add(frame, messageSum(frame, from, seq)); err != nil {
				return err
			}
		}
	}
	if len(frames) > 0 {
		return fmt.Errorf("%w: %d bytes too many", ErrFrames, len(frames))
	}
	if err := w.flush(); err != nil || len(extra) == 0 {
		return err
	}
	return w.write(extra)
}

// blockWriter gathers what is written one behind the other.
type blockWriter struct {
	w   vfs.File
	at  int64 // where buf goes
	buf []byte
}

// add writes a frame with the sum in the place of its type.
func (w *blockWriter) add(frame []byte, sum uint32) error {
	if cap(w.buf)-len(w.buf) < len(frame) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	at := len(w.buf)
	if len(frame) <= cap(w.buf) {
		w.buf = append(w.buf, frame...)
		binary.BigEndian.PutUint32(w.buf[at+offsetSum:], sum)
		return nil
	}
	w.buf = append(w.buf, frame[:offsetSum]...)
	w.buf = binary.BigEndian.AppendUint32(w.buf, sum)
	if err := w.flush(); err != nil {
		return err
	}
	return w.write(frame[protocol.FrameHeaderSize:])
}

func (w *blockWriter) flush() error {
	err := w.write(w.buf)
	w.buf = w.buf[:0]
	return err
}

func (w *blockWriter) write(b []byte) error {
	n, err := w.w.WriteAt(b, w.at)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	w.at += int64(len(b))
	return err
}
