package segment

import (
	"errors"
	"path/filepath"
	"testing"

	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

// typicalBlock returns 256 KiB of messages with bodies of 200 bytes.
func typicalBlock() (frames []byte, count int) {
	body := make([]byte, 200)
	for ; len(frames)+protocol.MessageOverhead+len(body) <= 256<<10; count++ {
		frames = protocol.AppendMessageHeader(frames, int64(count), 1, protocol.MessageID(count), len(body))
		frames = append(frames, body...)
	}
	return frames, count
}

func onDisk(t testing.TB) *Store {
	s, _, _ := mustOpen(t, Options{FS: vfs.OS(), Dir: filepath.Join(t.TempDir(), "topic")})
	t.Cleanup(func() { must(t, s.RemoveAll()) })
	return s
}

func TestAppendAndReadAllocateNothing(t *testing.T) {
	s := onDisk(t)
	frames, count := typicalBlock()
	ref, err := s.Append(0, count, frames)
	must(t, err)
	b := Block{Count: uint32(count), Ref: ref}
	buf := make([]byte, 0, len(frames))
	seq := uint64(count)
	for name, f := range map[string]func() error{
		"Append": func() error {
			_, err := s.Append(seq, count, frames)
			seq += uint64(count)
			return err
		},
		"Read": func() error {
			_, lost, err := s.Read(b, buf)
			return errors.Join(err, someLost(lost))
		},
		"ReadFrame": func() error {
			_, err := s.ReadFrame(ref, uint32(sizeOf(frames)), 1, buf)
			return err
		},
	} {
		if n := testing.AllocsPerRun(50, func() { must(t, f()) }); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func someLost(lost []Lost) error {
	if lost == nil {
		return nil
	}
	return ErrDamaged
}

func BenchmarkAppend(b *testing.B) {
	s := onDisk(b)
	frames, count := typicalBlock()
	b.SetBytes(int64(len(frames)))
	b.ReportAllocs()
	var refs []Ref
	for i := 0; b.Loop(); i++ {
		ref, err := s.Append(uint64(i*count), count, frames)
		must(b, err)
		if refs = append(refs, ref); len(refs) == 512 { // 128 MiB stay
			for _, ref := range refs {
				must(b, s.Drop(ref))
			}
			refs = refs[:0]
		}
	}
}

func BenchmarkRead(b *testing.B) {
	s := onDisk(b)
	frames, count := typicalBlock()
	var blocks []Block
	for i := range 256 {
		ref, err := s.Append(uint64(i*count), count, frames)
		must(b, err)
		blocks = append(blocks, Block{First: uint64(i * count), Count: uint32(count), Ref: ref})
	}
	buf := make([]byte, 0, len(frames))
	b.SetBytes(int64(len(frames)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_, lost, err := s.Read(blocks[i%len(blocks)], buf)
		must(b, errors.Join(err, someLost(lost)))
	}
}

func BenchmarkReadFrame(b *testing.B) {
	s := onDisk(b)
	frames, count := typicalBlock()
	ref, err := s.Append(0, count, frames)
	must(b, err)
	buf := make([]byte, 0, 4<<10)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_, err := s.ReadFrame(ref, uint32(i%count*sizeOf(frames)), uint64(i%count), buf)
		must(b, err)
	}
}

// BenchmarkOpen opens what ten million messages of 200 bytes leave: 9,000 blocks, whose bodies are holes here.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	frames, count := typicalBlock()
	const blocks, perFile = 9000, 63
	for i := range blocks {
		number := uint32(1 + i/perFile)
		if i%perFile == 0 {
			f, err := vfs.OS().Create(filepath.Join(dir, FileName(number)))
			must(b, err)
			_, err = f.WriteAt(appendFileHeader(nil, owner{}, number), 0)
			size := fileHeaderSize + int64(min(perFile, blocks-i)*(blockHeaderSize+len(frames)))
			must(b, errors.Join(err, f.Truncate(size), f.Close()))
		}
		ref := Ref{number, uint32(fileHeaderSize + i%perFile*(blockHeaderSize+len(frames))), uint32(len(frames))}
		h := blockHeader{Block: Block{First: uint64(i * count), Count: uint32(count), Ref: ref}}
		head := h.append(nil)
		change(b, vfs.OS(), filepath.Join(dir, FileName(number)), int64(ref.Offset), head)
	}
	for b.Loop() {
		s, found, damage := mustOpen(b, Options{FS: vfs.OS(), Dir: dir})
		if len(found) != blocks || damage != nil {
			b.Fatal(len(found), damage)
		}
		must(b, s.Close())
	}
}
