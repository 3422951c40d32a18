package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

const testDir = "/data/topic"

// message returns the frame of a sequence number: the same number always gives the same bytes. Bodies have 0 to 99 bytes, and
// some consist of zeros and small numbers, which look like sizes.
func message(seq uint64) []byte {
	if f, made := made.Load(seq); made {
		return f.([]byte)
	}
	rng := rand.New(rand.NewPCG(seq, 1))
	body := make([]byte, rng.IntN(100))
	for i := range body {
		if body[i] = byte(rng.Uint32()); seq%3 == 0 {
			body[i] = body[i] % 64 * byte(i%4/3)
		}
	}
	f := protocol.AppendMessageHeader(nil, int64(seq)*1e9, uint16(seq%5), protocol.NewMessageID(7, seq), len(body))
	f = append(f, body...)
	made.Store(seq, f)
	return f
}

// made keeps messages, as making them is most of what a test does.
var made sync.Map

// messages returns the frames of count messages.
func messages(first uint64, count int) []byte {
	var frames []byte
	for i := range uint64(count) {
		frames = append(frames, message(first+i)...)
	}
	return frames
}

func mustOpen(t testing.TB, o Options) (*Store, []Block, []Damage) {
	t.Helper()
	if o.Dir == "" {
		o.Dir = testDir
	}
	s, blocks, damage, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s, blocks, damage
}

// mustAppend appends the messages and returns their block.
func mustAppend(t testing.TB, s *Store, first uint64, count int) Block {
	t.Helper()
	ref, err := s.Append(first, count, messages(first, count))
	if err != nil {
		t.Fatal(err)
	}
	return Block{First: first, Count: uint32(count), Ref: ref}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// checkBlock reads a block, proves that what it gives is what was appended but for what it says is lost, and returns that.
func checkBlock(t testing.TB, s *Store, b Block) []Lost {
	t.Helper()
	before := b
	frames, lost, err := s.Read(b, nil)
	if err != nil {
		t.Fatalf("read %+v: %v", before, err)
	}
	var want []byte
	missing := lost
	for seq := b.First; seq < b.First+uint64(b.Count); seq++ {
		if len(missing) > 0 && seq == missing[0].First {
			seq += uint64(missing[0].Count) - 1
			missing = missing[1:]
			continue
		}
		want = append(want, message(seq)...)
	}
	if len(missing) > 0 {
		t.Fatalf("%+v: lost are %+v", b, lost)
	}
	if !bytes.Equal(frames, want) {
		t.Fatalf("%+v: other frames than were appended, lost %+v", b, lost)
	}
	return lost
}

// checkFramesAt reads every message of a whole block by its offset.
func checkFramesAt(t testing.TB, s *Store, b Block) {
	t.Helper()
	off := uint32(0)
	for seq := b.First; seq < b.First+uint64(b.Count); seq++ {
		f, err := s.ReadFrame(b.Ref, off, seq, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(f, message(seq)) {
			t.Fatalf("message %d has changed", seq)
		}
		off += uint32(len(f))
	}
}

// seqs counts the messages of runs.
func seqs(lost []Lost) (n int) {
	for _, l := range lost {
		n += int(l.Count)
	}
	return n
}

// change overwrites bytes of a file behind the store's back.
func change(t testing.TB, fs vfs.FS, name string, at int64, b []byte) {
	t.Helper()
	f, err := fs.OpenWrite(name)
	must(t, err)
	_, err = f.WriteAt(b, at)
	must(t, errors.Join(err, f.Close()))
}

// content returns a whole file.
func content(t testing.TB, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	must(t, err)
	size, err := f.Size()
	must(t, err)
	b := make([]byte, size)
	if size > 0 {
		_, err = f.ReadAt(b, 0)
		must(t, err)
	}
	must(t, f.Close())
	return b
}

// fileWith returns a file system that holds one segment file.
func fileWith(t testing.TB, b []byte) *vfs.Mem {
	t.Helper()
	mem := vfs.NewMem()
	must(t, mem.MkdirAll(testDir))
	f, err := mem.Create(testDir + "/000001.seg")
	must(t, err)
	if len(b) > 0 {
		_, err = f.WriteAt(b, 0)
	}
	must(t, errors.Join(err, f.Close()))
	return mem
}

func names(t testing.TB, fs vfs.FS) []string {
	t.Helper()
	list, err := fs.List(testDir)
	must(t, err)
	return list
}

func contains(blocks []Block, b Block) bool { return slices.Contains(blocks, b) }

// countingFS counts the files that are open.
type countingFS struct {
	vfs.FS
	open *atomic.Int64
}

type countedFile struct {
	vfs.File
	open *atomic.Int64
}

func counting(fs vfs.FS) countingFS { return countingFS{fs, new(atomic.Int64)} }

func (c countingFS) counted(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	c.open.Add(1)
	return countedFile{f, c.open}, nil
}

func (c countingFS) Create(name string) (vfs.File, error)    { return c.counted(c.FS.Create(name)) }
func (c countingFS) Open(name string) (vfs.File, error)      { return c.counted(c.FS.Open(name)) }
func (c countingFS) OpenWrite(name string) (vfs.File, error) { return c.counted(c.FS.OpenWrite(name)) }

func (f countedFile) Close() error {
	f.open.Add(-1)
	return f.File.Close()
}

// sizeOf returns the length of the frame at the start of b.
func sizeOf(b []byte) int { return 4 + int(binary.BigEndian.Uint32(b)) }

// resum gives the header of the first file the sum that its other bytes have.
func resum(head []byte) []byte {
	binary.BigEndian.PutUint32(head[12:], crc32.Update(start(1, 0), castagnoli, head[:12]))
	return head
}
