package segment

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

// sample returns a segment file of three blocks, and these.
func sample(t testing.TB) ([]byte, []Block) {
	mem := vfs.NewMem()
	s, _, _ := mustOpen(t, Options{FS: mem})
	blocks := []Block{mustAppend(t, s, 10, 4), mustAppend(t, s, 14, 1), mustAppend(t, s, 15, 5)}
	must(t, s.Close())
	return content(t, mem, testDir+"/000001.seg"), blocks
}

// place says what the byte of a sample is part of: the index of the block, -1 for the header of the file, and of the message
// in it, -1 for the header of the block.
func place(file []byte, blocks []Block, at int) (block, msg int) {
	for i, b := range blocks {
		from := int(b.Ref.Offset) + blockHeaderSize
		if at >= int(b.Ref.End()) || at < int(b.Ref.Offset) {
			continue
		}
		if at < from {
			return i, -1
		}
		for m := 0; ; m++ {
			if from += sizeOf(file[from:]); at < from {
				return i, m
			}
		}
	}
	return -1, -1
}

func TestEveryByteFlipped(t *testing.T) {
	file, blocks := sample(t)
	for at := range file {
		for _, flip := range []byte{0xff, 0x01, 0x80} {
			bad := slices.Clone(file)
			bad[at] ^= flip
			block, msg := place(file, blocks, at)
			where := fmt.Sprintf("byte %d flipped by %#x, in block %d, message %d", at, flip, block, msg)
			s, found, damage := mustOpen(t, Options{FS: fileWith(t, bad)})
			want := slices.Clone(blocks)
			switch {
			case block < 0:
				if len(damage) != 1 || damage[0].Length != fileHeaderSize {
					t.Fatalf("%s: damage is %v", where, damage)
				}
			case msg < 0:
				lost := blocks[block].Ref
				want = slices.Delete(want, block, block+1)
				wanted := Damage{1, int64(lost.Offset), lost.End() - int64(lost.Offset), "block header"}
				if len(damage) != 1 || damage[0] != wanted {
					t.Fatalf("%s: damage is %v, not %v", where, damage, wanted)
				}
			case damage != nil:
				t.Fatalf("%s: damage is %v", where, damage)
			}
			if !slices.Equal(found, want) {
				t.Fatalf("%s: blocks are %v", where, found)
			}
			for _, b := range found {
				var wanted []Lost
				if msg >= 0 && b == blocks[block] {
					wanted = []Lost{{b.First + uint64(msg), 1}}
				}
				if lost := checkBlock(t, s, b); !slices.Equal(lost, wanted) {
					t.Fatalf("%s: lost are %v, not %v", where, lost, wanted)
				}
			}
		}
	}
}

func TestEveryDamagedMessageIsRefusedOneByOne(t *testing.T) {
	file, blocks := sample(t)
	b := blocks[2]
	from := int(b.Ref.Offset) + blockHeaderSize
	for at := from; at < from+sizeOf(file[from:]); at++ {
		bad := slices.Clone(file)
		bad[at] ^= 0x10
		s, _, _ := mustOpen(t, Options{FS: fileWith(t, bad)})
		if f, err := s.ReadFrame(b.Ref, 0, b.First, nil); !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d flipped: %v, %v", at, f, err)
		}
	}
	s, _, _ := mustOpen(t, Options{FS: fileWith(t, file)})
	for name, err := range map[string]error{
		"another sequence number": second(s.ReadFrame(b.Ref, 0, b.First+1, nil)),
		"another offset":          second(s.ReadFrame(b.Ref, 4, b.First, nil)),
		"behind the block":        second(s.ReadFrame(b.Ref, b.Ref.Length, b.First, nil)),
		"another block":           second(s.ReadFrame(blocks[0].Ref, 0, b.First, nil)),
	} {
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second(_ protocol.MessageFrame, err error) error { return err }

func TestTruncationAtEveryLength(t *testing.T) {
	file, blocks := sample(t)
	for size := range file {
		mem := fileWith(t, file[:size])
		s, found, damage := mustOpen(t, Options{FS: mem})
		var want []Block
		for _, b := range blocks {
			if b.Ref.End() <= int64(size) {
				want = append(want, b)
			}
		}
		if damage != nil || !slices.Equal(found, want) {
			t.Fatalf("%d bytes: found %v, damage %v, wanted %v", size, found, damage, want)
		}
		next := mustAppend(t, s, 1000, 2)
		for _, b := range append(want, next) {
			if lost := checkBlock(t, s, b); lost != nil {
				t.Fatalf("%d bytes: lost %v", size, lost)
			}
		}
		if !bytes.Equal(content(t, mem, testDir+"/000001.seg"), file[:size]) {
			t.Fatalf("%d bytes: the file was changed", size)
		}
	}
}

func TestTheEndInZerosIsAnUnfinishedAppend(t *testing.T) {
	file, blocks := sample(t)
	for i, b := range blocks {
		for _, keep := range []uint32{0, 1, blockHeaderSize - 9} {
			bad := slices.Clone(file)
			clear(bad[b.Ref.Offset+keep:])
			_, found, damage := mustOpen(t, Options{FS: fileWith(t, bad)})
			if damage != nil || !slices.Equal(found, blocks[:i]) {
				t.Errorf("zeros from %d on: found %v, damage %v", b.Ref.Offset+keep, found, damage)
			}
		}
	}
	if _, found, damage := mustOpen(t, Options{FS: fileWith(t, make([]byte, 10000))}); len(found)+len(damage) > 0 {
		t.Errorf("zeros only: found %v, damage %v", found, damage)
	}
}

func TestZeroedPage(t *testing.T) {
	const page = 4 << 10
	mem := vfs.NewMem()
	s, _, _ := mustOpen(t, Options{FS: mem})
	var blocks []Block
	for i := range uint64(6) {
		blocks = append(blocks, mustAppend(t, s, 1000*i, 150))
	}
	must(t, s.Close())
	file := content(t, mem, testDir+"/000001.seg")
	for from := 0; from < len(file); from += page {
		bad := slices.Clone(file)
		to := min(from+page, len(file))
		clear(bad[from:to])
		s, found, damage := mustOpen(t, Options{FS: fileWith(t, bad)})
		lostSome := len(damage) > 0
		for _, b := range blocks {
			inHeader := from < int(b.Ref.Offset)+blockHeaderSize && to > int(b.Ref.Offset)
			if contains(found, b) == inHeader {
				t.Fatalf("page %d: found %v, damage %v", from/page, found, damage)
			}
			if inHeader {
				continue
			}
			lost := checkBlock(t, s, b)
			lostSome = lostSome || lost != nil
			if want := touched(file, b, from, to); seqs(lost) != want {
				t.Fatalf("page %d: %d messages of %+v are lost, %d touch the page", from/page, seqs(lost), b, want)
			}
		}
		if !lostSome {
			t.Fatalf("page %d: nothing was found to be wrong", from/page)
		}
	}
}

// touched counts the messages of a block that have bytes between the two offsets which are not 0 anyway.
func touched(file []byte, b Block, from, to int) (n int) {
	at := int(b.Ref.Offset) + blockHeaderSize
	for range b.Count {
		end := at + sizeOf(file[at:])
		if a, b := max(at, from), min(end, to); a < b && len(bytes.Trim(file[a:b], "\x00")) > 0 {
			n++
		}
		at = end
	}
	return n
}

// TestCopiesOfSegmentsInBodiesAreNotTakenForSegments damages what precedes such a copy, so that it is searched.
func TestCopiesOfSegmentsInBodiesAreNotTakenForSegments(t *testing.T) {
	copied, _ := sample(t)
	frames := protocol.AppendMessageHeader(nil, 1, 0, 1, len(copied))
	frames = append(frames, copied...)
	mem := vfs.NewMem()
	s, _, _ := mustOpen(t, Options{FS: mem})
	ref, err := s.Append(9, 1, frames)
	must(t, err)
	behind := mustAppend(t, s, 10, 3)
	must(t, s.Close())
	file := content(t, mem, testDir+"/000001.seg")

	bad := slices.Clone(file)
	bad[ref.Offset] ^= 1
	if _, found, damage := mustOpen(t, Options{FS: fileWith(t, bad)}); !slices.Equal(found, []Block{behind}) || len(damage) != 1 {
		t.Errorf("found %v, damage %v", found, damage)
	}
	bad = slices.Clone(file)
	bad[ref.Offset+blockHeaderSize] ^= 0xff
	s, found, _ := mustOpen(t, Options{FS: fileWith(t, bad)})
	if got, lost, err := s.Read(found[0], nil); err != nil || len(got) > 0 || !slices.Equal(lost, []Lost{{9, 1}}) {
		t.Errorf("read %d bytes, lost %v, %v", len(got), lost, err)
	}
}

func TestDamagedFilesArePutAsideWhenTheirRestIsNotNeeded(t *testing.T) {
	file, blocks := sample(t)
	file[blocks[1].Ref.Offset] ^= 1
	mem := fileWith(t, file)
	s, found, damage := mustOpen(t, Options{FS: mem})
	if len(damage) != 1 {
		t.Fatalf("damage is %v", damage)
	}
	for _, b := range found {
		must(t, s.Drop(b.Ref))
	}
	if !bytes.Equal(content(t, mem, testDir+"/000001.seg.bad"), file) {
		t.Error("the file was changed")
	}
	must(t, s.Close())
	s, found, damage = mustOpen(t, Options{FS: mem})
	if len(found)+len(damage) > 0 {
		t.Errorf("found again: %v, %v", found, damage)
	}
	if b := mustAppend(t, s, 1, 1); b.Ref.File != 2 {
		t.Errorf("number %d was used again", b.Ref.File)
	}
}

func TestFilesOfAnotherFormatAreLeftAlone(t *testing.T) {
	file, _ := sample(t)
	head := appendFileHeader(nil, owner{}, 1)
	head[7] = version + 1
	// The sum is made as this version does, which later ones must keep to.
	copy(file, resum(head))
	mem := fileWith(t, file)
	s, found, damage := mustOpen(t, Options{FS: mem})
	if len(found) > 0 || len(damage) != 1 || !strings.Contains(damage[0].What, "version 3") {
		t.Fatalf("found %v, damage %v", found, damage)
	}
	must(t, s.Close())
	if !bytes.Equal(content(t, mem, testDir+"/000001.seg"), file) {
		t.Error("the file was changed")
	}
}

func TestOtherNamesAreIgnored(t *testing.T) {
	file, _ := sample(t)
	mem := fileWith(t, file)
	for _, name := range []string{"1.seg", "0000001.seg", "000000.seg", "000002.seg.tmp", "x.seg", "-00001.seg", "9999999999.seg"} {
		f, err := mem.Create(testDir + "/" + name)
		must(t, err)
		must(t, f.Close())
	}
	s, found, damage := mustOpen(t, Options{FS: mem})
	if len(found) != 3 || damage != nil {
		t.Errorf("found %v, damage %v", found, damage)
	}
	if b := mustAppend(t, s, 1, 1); b.Ref.File != 2 {
		t.Errorf("next file is %d", b.Ref.File)
	}
}

// TestSectorsThatCannotBeRead: what the disk refuses is no damage but an error. When loss is accepted it is lost, and what lies
// around it is served.
func TestSectorsThatCannotBeRead(t *testing.T) {
	mem := vfs.NewMem()
	s, _, _ := mustOpen(t, Options{FS: mem})
	b := mustAppend(t, s, 0, 1000)
	next := mustAppend(t, s, 1000, 10)
	must(t, s.Close())
	for bad := range int64(5) {
		strict, found, _, err := Open(Options{FS: badSector{mem, bad * sector}, Dir: testDir})
		if bad == 0 && !errors.Is(err, syscall.EIO) {
			t.Errorf("opened with %v, %v", found, err)
		} else if bad > 0 {
			if _, lost, err := strict.Read(b, nil); !errors.Is(err, syscall.EIO) || lost != nil {
				t.Errorf("sector %d: lost %v, %v", bad, lost, err)
			}
		}
		s, found, damage := mustOpen(t, Options{FS: badSector{mem, bad * sector}, AcceptLoss: true})
		if bad == 0 {
			// The headers of the file and of the first block are gone.
			if !slices.Equal(found, []Block{next}) || len(damage) != 2 || !strings.Contains(damage[1].What, "input/output") {
				t.Errorf("found %v, damage %v", found, damage)
			}
			continue
		}
		if lost := checkBlock(t, s, b); len(lost) != 1 || seqs(lost) > sector/minFrame || damage != nil {
			t.Errorf("sector %d: lost %v, damage %v", bad, lost, damage)
		}
	}
	faulty := vfs.NewFaulty(mem, vfs.Rule{Ops: vfs.OpRead, Err: syscall.EIO})
	s = &Store{o: Options{FS: faulty, Dir: testDir}.withDefaults(), files: map[uint32]*file{1: {number: 1}}}
	if _, lost, err := s.Read(b, nil); !errors.Is(err, syscall.EIO) || lost != nil {
		t.Errorf("a disk that reads nothing: lost %v, %v", lost, err)
	}
}

// badSector fails reads that touch one sector.
type badSector struct {
	vfs.FS
	at int64
}

type badSectorFile struct {
	vfs.File
	at int64
}

func (b badSector) Open(name string) (vfs.File, error) {
	f, err := b.FS.Open(name)
	return badSectorFile{f, b.at}, err
}

func (f badSectorFile) ReadAt(p []byte, off int64) (int, error) {
	if off < f.at+sector && off+int64(len(p)) > f.at {
		return 0, syscall.EIO
	}
	return f.File.ReadAt(p, off)
}
