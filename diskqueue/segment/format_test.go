package segment

import (
	"bytes"
	"errors"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

var update = flag.Bool("update", false, "write the golden file")

// TestGolden keeps the format: what this version wrote once it must write and read for ever.
func TestGolden(t *testing.T) {
	mem := vfs.NewMem()
	whose := Options{FS: mem, Folder: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}, Topic: 9}
	s, _, _ := mustOpen(t, whose)
	sections := []Section{{Kind: 1, Data: []byte("some")}, {Kind: 200}}
	var frames []byte
	for i, body := range []string{"hello", "", "a third one\x00\x00\x00\x00"} {
		frames = protocol.AppendMessageHeader(frames, 1700000000000000000+int64(i), uint16(i), protocol.MessageID(0xabc0+i), len(body))
		frames = append(frames, body...)
	}
	one := frames[:sizeOf(frames)]
	var want []Block
	for _, c := range []struct {
		first  uint64
		frames []byte
		count  int
	}{{1<<32 - 2, frames, 3}, {1<<63 + 7, one, 1}} {
		ref, err := s.Append(c.first, c.count, c.frames, sections...)
		must(t, err)
		sections = nil
		want = append(want, Block{First: c.first, Count: uint32(c.count), Ref: ref})
	}
	must(t, s.Close())
	written := content(t, mem, testDir+"/000001.seg")
	golden := filepath.Join("testdata", "golden-2.seg")
	if *update {
		must(t, os.WriteFile(golden, written, 0o644))
	}
	file, err := os.ReadFile(golden)
	must(t, err)
	if !bytes.Equal(written, file) {
		t.Fatalf("the format has changed:\n%x\n%x", written, file)
	}
	whose.FS = fileWith(t, file)
	s, blocks, damage := mustOpen(t, whose)
	if !slices.Equal(blocks, want) || damage != nil {
		t.Fatalf("found %v, damage %v", blocks, damage)
	}
	got, lost, err := s.Read(blocks[0], nil)
	if err != nil || lost != nil || !bytes.Equal(got, frames) {
		t.Errorf("frames are %x, lost %v, %v", got, lost, err)
	}
	some, err := s.ReadSections(blocks[0].Ref)
	if err != nil || len(some) != 2 || some[0].Kind != 1 || string(some[0].Data) != "some" || some[1].Kind != 200 || len(some[1].Data) > 0 {
		t.Errorf("sections are %v, %v", some, err)
	}
	if none, err := s.ReadSections(blocks[1].Ref); len(none) > 0 || err != nil {
		t.Errorf("sections are %v, %v", none, err)
	}
}

// TestFilesOfOthersAreLeftAlone: a file of another folder, or of another topic, is not taken for this one's, and is not changed.
func TestFilesOfOthersAreLeftAlone(t *testing.T) {
	mem := vfs.NewMem()
	own := Options{FS: mem, Folder: [8]byte{1}, Topic: 2}
	s, _, _ := mustOpen(t, own)
	mustAppend(t, s, 10, 4)
	must(t, s.Close())
	file := content(t, mem, testDir+"/000001.seg")
	for _, other := range []Options{{Folder: [8]byte{2}, Topic: 2}, {Folder: [8]byte{1}, Topic: 3}} {
		other.FS = mem
		s, found, damage := mustOpen(t, other)
		if len(found) > 0 || len(damage) != 1 || !strings.Contains(damage[0].What, "belongs to folder 0100000000000000, topic 2") {
			t.Errorf("found %v, damage %v", found, damage)
		}
		must(t, s.Close())
		if !bytes.Equal(content(t, mem, testDir+"/000001.seg"), file) {
			t.Error("the file was changed")
		}
	}
	if _, found, damage := mustOpen(t, own); len(found) != 1 || len(damage) > 0 {
		t.Errorf("its own: found %v, damage %v", found, damage)
	}
}

// TestDamagedSections: sections that are not what they were are refused, and the frames before them stay readable.
func TestDamagedSections(t *testing.T) {
	mem := vfs.NewMem()
	s, _, _ := mustOpen(t, Options{FS: mem})
	ref, err := s.Append(7, 1, message(7), Section{Kind: 2, Data: []byte("some")})
	must(t, err)
	next := mustAppend(t, s, 8, 2)
	for i := range int64(8) {
		at := ref.End() + i
		old := content(t, mem, testDir+"/000001.seg")[at]
		change(t, mem, testDir+"/000001.seg", at, []byte{old ^ 4})
		if _, err := s.ReadSections(ref); !errors.Is(err, ErrDamaged) {
			t.Errorf("byte %d: %v", i, err)
		}
		checkBlock(t, s, Block{First: 7, Count: 1, Ref: ref})
		change(t, mem, testDir+"/000001.seg", at, []byte{old})
	}
	if _, err := s.ReadSections(ref); err != nil {
		t.Error(err)
	}
	must(t, s.Close())
	if _, found, damage := mustOpen(t, Options{FS: mem}); len(found) != 2 || found[1] != next || len(damage) > 0 {
		t.Errorf("found %v, damage %v", found, damage)
	}
}

// FuzzFile gives Open and Read any file: what they return must hold together.
func FuzzFile(f *testing.F) {
	file, blocks := sample(f)
	f.Add(file)
	f.Add(file[:len(file)-5])
	f.Add([]byte(nil))
	for _, at := range []int{0, 9, int(blocks[1].Ref.Offset), int(blocks[2].Ref.Offset) + blockHeaderSize + 1, len(file) - 1} {
		bad := slices.Clone(file)
		bad[at] ^= 0x41
		f.Add(bad)
	}
	golden, err := os.ReadFile(filepath.Join("testdata", "golden-2.seg"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Fuzz(func(t *testing.T, file []byte) {
		s, found, damage := mustOpen(t, Options{FS: fileWith(t, file), Log: slog.New(slog.DiscardHandler)})
		covered := int64(0)
		for _, d := range damage {
			covered += d.Length
		}
		for _, b := range found {
			covered += b.Ref.End() - int64(b.Ref.Offset)
			fuzzBlock(t, s, b)
		}
		if covered > int64(len(file)) {
			t.Fatalf("%v and %v overlap in %d bytes", found, damage, len(file))
		}
	})
}

func fuzzBlock(t *testing.T, s *Store, b Block) {
	frames, lost, err := s.Read(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for at := 0; at < len(frames); n++ {
		kind, _, size, err := protocol.ParseFrame(frames[at:], len(frames))
		if err != nil || kind != protocol.FrameMessage {
			t.Fatalf("%+v gives what is no message: %v", b, err)
		}
		at += size
	}
	if uint64(n)+uint64(seqs(lost)) != uint64(b.Count) {
		t.Fatalf("%+v: %d messages read, %v lost", b, n, lost)
	}
	if n > 0 && lost == nil {
		if f, err := s.ReadFrame(b.Ref, 0, b.First, nil); err != nil || !bytes.Equal(f, frames[:len(f)]) {
			t.Fatalf("%+v: first message: %v", b, err)
		}
	}
}

// FuzzDamage overwrites a part of a good block: nothing but what was appended may come back, and no more be lost than the
// messages that the part touches.
func FuzzDamage(f *testing.F) {
	f.Add(uint16(70), []byte{0, 0, 0, 30})
	f.Add(uint16(300), message(13))
	f.Add(uint16(0), bytes.Repeat([]byte{0}, 500))
	f.Fuzz(func(t *testing.T, at uint16, bad []byte) {
		mem := vfs.NewMem()
		s, _, _ := mustOpen(t, Options{FS: mem})
		b := mustAppend(t, s, 10, 20)
		before := content(t, mem, testDir+"/000001.seg")
		from := int(b.Ref.Offset) + blockHeaderSize + int(at)%int(b.Ref.Length)
		to := min(from+len(bad), int(b.Ref.End()))
		change(t, mem, testDir+"/000001.seg", int64(from), bad[:to-from])
		if lost := checkBlock(t, s, b); seqs(lost) > reached(before, b, from, to) {
			t.Fatalf("lost %v", lost)
		}
	})
}

// reached counts the messages of a block that have bytes between the two offsets.
func reached(file []byte, b Block, from, to int) (n int) {
	at := int(b.Ref.Offset) + blockHeaderSize
	for range b.Count {
		end := at + sizeOf(file[at:])
		if at < to && end > from {
			n++
		}
		at = end
	}
	return n
}

// TestBlocksWithGaps: a block that has some of its positions gives these back, also after the store was opened anew, and says which;
// damage costs what it touches.
func TestBlocksWithGaps(t *testing.T) {
	mem := vfs.NewMem()
	s, _, _ := mustOpen(t, Options{FS: mem})
	runs := []Run{{102, 1}, {110, 3}, {199, 1}}
	var frames []byte
	for _, r := range runs {
		frames = append(frames, messages(r.First, int(r.Count))...)
	}
	b, err := s.AppendSome(100, 100, runs, frames, Section{Kind: 200, Data: []byte("more")})
	must(t, err)
	all, err := s.AppendSome(200, 2, []Run{{200, 2}}, messages(200, 2))
	must(t, err)
	if b.Held != 5 || all.Held != 0 {
		t.Errorf("%+v, %+v", b, all)
	}
	must(t, s.Close())
	s, found, damage := mustOpen(t, Options{FS: mem})
	if !slices.Equal(found, []Block{b, all}) || damage != nil {
		t.Fatalf("found %+v, damage %v", found, damage)
	}
	got, held, lost, err := s.ReadHeld(b, nil)
	if err != nil || lost != nil || !slices.Equal(held, runs) || !bytes.Equal(got, frames) {
		t.Errorf("read %d bytes of %v, lost %v, %v", len(got), held, lost, err)
	}
	if f, err := s.ReadFrame(b.Ref, 0, 102, nil); err != nil || !bytes.Equal(f, message(102)) {
		t.Errorf("%v", err)
	}
	at := int64(b.Ref.Offset) + blockHeaderSize + int64(len(message(102))) + 10 // in the second message
	change(t, mem, testDir+"/000001.seg", at, []byte{0xaa})
	got, _, lost, err = s.ReadHeld(b, nil)
	if err != nil || !slices.Equal(lost, []Lost{{110, 1}}) || !bytes.Equal(got, slices.Concat(message(102), messages(111, 2), message(199))) {
		t.Errorf("read %d bytes, lost %v, %v", len(got), lost, err)
	}
	change(t, mem, testDir+"/000001.seg", b.Ref.End()+5, []byte{0xaa}) // of the runs
	got, _, lost, err = s.ReadHeld(b, nil)
	if err != nil || len(got) > 0 || !slices.Equal(lost, []Lost{{100, 100}}) {
		t.Errorf("read %d bytes, lost %v, %v", len(got), lost, err)
	}
	for _, wrong := range [][]Run{{{99, 1}}, {{100, 1}, {100, 1}}} {
		if _, ok := parseRuns(appendRuns(nil, 100, wrong), Block{First: 100, Count: 10, Held: 1}); ok {
			t.Errorf("%v are taken for runs", wrong)
		}
	}
}
