package segment

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"

	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

func TestBlocksComeBackAfterAReopen(t *testing.T) {
	mem := vfs.NewMem()
	s, blocks, damage := mustOpen(t, Options{FS: mem, FileSize: 4 << 10})
	if len(blocks)+len(damage) > 0 {
		t.Fatal("something was found in a folder that does not exist")
	}
	var want []Block
	for i := range 40 {
		want = append(want, mustAppend(t, s, uint64(100*i), 1+i%7))
	}
	for _, b := range want {
		checkBlock(t, s, b)
		checkFramesAt(t, s, b)
	}
	bytesBefore := s.Bytes()
	must(t, s.Close())
	s, blocks, damage = mustOpen(t, Options{FS: mem})
	if !slices.Equal(blocks, want) || damage != nil {
		t.Fatalf("found %v and damage %v, appended were %v", blocks, damage, want)
	}
	if s.Bytes() != bytesBefore || s.Bytes() != mem.Used() {
		t.Errorf("%d bytes after, %d before, %d on disk", s.Bytes(), bytesBefore, mem.Used())
	}
	for _, b := range blocks {
		checkBlock(t, s, b)
	}
	if next := mustAppend(t, s, 9000, 1); next.Ref.File <= want[len(want)-1].Ref.File {
		t.Errorf("appended to file %d, which was there before", next.Ref.File)
	}
}

// Many files are scanned side by side: what is found is the same, each damage too, and a file that cannot be read is an error.
func TestManyFilesAreFoundAsFewAre(t *testing.T) {
	mem := vfs.NewMem()
	s, _, _ := mustOpen(t, Options{FS: mem, FileSize: 1})
	var want []Block
	for i := range 4 * manyFiles {
		want = append(want, mustAppend(t, s, uint64(100*i), 1+i%7))
	}
	must(t, s.Close())
	_, blocks, damage := mustOpen(t, Options{FS: mem})
	if !slices.Equal(blocks, want) || damage != nil {
		t.Fatalf("found %v and damage %v, appended were %v", blocks, damage, want)
	}
	for _, i := range []int{3, 50, 4*manyFiles - 1} {
		change(t, mem, s.path(want[i].Ref.File), int64(want[i].Ref.Offset), []byte("damaged"))
	}
	_, blocks, damage = mustOpen(t, Options{FS: mem})
	if len(blocks) != len(want)-3 || len(damage) != 3 || damage[0].File != want[3].Ref.File || damage[1].File != want[50].Ref.File {
		t.Errorf("%d blocks of %d, and damage %v", len(blocks), len(want), damage)
	}
	faulty := vfs.NewFaulty(mem, vfs.Rule{Ops: vfs.OpOpen, Path: FileName(want[77].Ref.File), Err: syscall.EIO})
	if _, _, _, err := Open(Options{FS: faulty, Dir: testDir}); !errors.Is(err, syscall.EIO) {
		t.Errorf("a file that cannot be opened: %v", err)
	}
}

func TestBlocksAreFoundInTheOrderOfTheirMessages(t *testing.T) {
	mem := vfs.NewMem()
	s, _, _ := mustOpen(t, Options{FS: mem})
	a, b, again := mustAppend(t, s, 500, 2), mustAppend(t, s, 100, 3), mustAppend(t, s, 500, 2)
	must(t, s.Close())
	_, blocks, _ := mustOpen(t, Options{FS: mem})
	if want := []Block{b, a, again}; !slices.Equal(blocks, want) {
		t.Errorf("found %v, wanted %v", blocks, want)
	}
}

func TestLargeMessagesAndBlocks(t *testing.T) {
	mem := vfs.NewMem()
	s, _, _ := mustOpen(t, Options{FS: mem, FileSize: 100 << 10})
	var frames []byte
	for i, size := range []int{scratchSize - 200, 3, scratchSize, 5 * scratchSize, 0, scratchSize - protocol.MessageOverhead} {
		frames = protocol.AppendMessageHeader(frames, 1, 0, protocol.MessageID(i), size)
		frames = append(frames, bytes.Repeat([]byte{byte(i + 1)}, size)...)
	}
	small := mustAppend(t, s, 1, 1)
	ref, err := s.Append(1<<40, 6, frames)
	must(t, err)
	behind := mustAppend(t, s, 2, 1)
	if ref.File == small.Ref.File || ref.File == behind.Ref.File {
		t.Errorf("a block larger than a file shares one: %v, %v, %v", small.Ref, ref, behind.Ref)
	}
	got, lost, err := s.Read(Block{First: 1 << 40, Count: 6, Ref: ref}, nil)
	if err != nil || lost != nil || !bytes.Equal(got, frames) {
		t.Fatalf("read gave %d bytes, lost %v, %v", len(got), lost, err)
	}
	for off, seq := 0, uint64(1<<40); off < len(frames); seq++ {
		f, err := s.ReadFrame(ref, uint32(off), seq, make([]byte, 0, 100))
		if err != nil || !bytes.Equal(f, protocol.FirstMessage(frames[off:])) {
			t.Fatalf("message %d: %v", seq, err)
		}
		off += len(f)
	}
}

func TestAppendRefusesWhatIsNoFrames(t *testing.T) {
	s, _, _ := mustOpen(t, Options{FS: vfs.NewMem()})
	whole := messages(1, 3)
	wrongType := slices.Clone(whole)
	wrongType[7] = 0
	for name, c := range map[string]struct {
		first  uint64
		count  int
		frames []byte
	}{
		"none":          {1, 0, nil},
		"too few":       {1, 4, whole},
		"too many":      {1, 2, whole},
		"cut":           {1, 3, whole[:len(whole)-1]},
		"bytes behind":  {1, 3, append(slices.Clone(whole), 0)},
		"another type":  {1, 3, wrongType},
		"last sequence": {1<<64 - 3, 3, whole},
	} {
		if _, err := s.Append(c.first, c.count, c.frames); !errors.Is(err, ErrFrames) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s.Bytes() != 0 {
		t.Error("something was written")
	}
}

// Frames are proven while they are written: where the last one of a large block is none, its file ends before the block.
func TestFramesThatAreNoneEndTheirFile(t *testing.T) {
	mem := vfs.NewMem()
	s, _, _ := mustOpen(t, Options{FS: mem})
	a := mustAppend(t, s, 1, 3)
	large := messages(4, 2000)
	large[len(large)-len(message(2003))+7] = 0
	if len(large) < 2*scratchSize {
		t.Fatal("nothing of it would be written")
	}
	if _, err := s.Append(4, 2000, large); !errors.Is(err, ErrFrames) {
		t.Fatalf("Append says %v", err)
	}
	b := mustAppend(t, s, 4, 3)
	if b.Ref.File == a.Ref.File {
		t.Error("appended behind a block that is not whole")
	}
	must(t, s.Close())
	s, blocks, damage := mustOpen(t, Options{FS: mem})
	if !slices.Equal(blocks, []Block{a, b}) || damage != nil {
		t.Errorf("found %v, damage %v", blocks, damage)
	}
	checkBlock(t, s, a)
	checkBlock(t, s, b)
}

func TestAppendLeavesTheFramesAlone(t *testing.T) {
	s, _, _ := mustOpen(t, Options{FS: vfs.NewMem()})
	frames := messages(1, 50)
	_, err := s.Append(1, 50, frames)
	must(t, err)
	if !bytes.Equal(frames, messages(1, 50)) {
		t.Error("frames were changed, which readers share")
	}
}

func TestFilesGoWithTheirLastBlock(t *testing.T) {
	mem := vfs.NewMem()
	s, _, _ := mustOpen(t, Options{FS: mem, FileSize: 1 << 10})
	var blocks []Block
	for i := uint64(0); len(names2(t, mem)) < 4; i++ {
		blocks = append(blocks, mustAppend(t, s, 10*i, 3))
	}
	for _, b := range blocks {
		must(t, s.Drop(b.Ref))
		if err := s.Drop(b.Ref); !errors.Is(err, ErrGone) {
			t.Fatalf("dropped twice: %v", err)
		}
	}
	if left := names(t, mem); !slices.Equal(left, []string{"000004.seg"}) {
		t.Errorf("left are %v, wanted the one that is appended to", left)
	}
	if _, _, err := s.Read(blocks[0], nil); !errors.Is(err, ErrGone) {
		t.Errorf("read of a dropped block: %v", err)
	}
	if _, err := s.ReadFrame(blocks[0].Ref, 0, 0, nil); !errors.Is(err, ErrGone) {
		t.Errorf("read of a dropped block's message: %v", err)
	}
	must(t, s.Release())
	if left := names(t, mem); len(left) > 0 || s.Bytes() != 0 {
		t.Errorf("left after Release are %v, %d bytes", left, s.Bytes())
	}
	checkBlock(t, s, mustAppend(t, s, 7, 7))
}

// names2 is names for a folder that may not exist yet.
func names2(t *testing.T, fs vfs.FS) []string {
	if _, err := fs.List(testDir); err != nil {
		return nil
	}
	return names(t, fs)
}

func TestDescriptorsAreFewAndNoneAfterRelease(t *testing.T) {
	fs := counting(vfs.NewMem())
	s, _, _ := mustOpen(t, Options{FS: fs, FileSize: 1 << 10})
	var blocks []Block
	for i := range uint64(5 * maxUnsynced) {
		blocks = append(blocks, mustAppend(t, s, 10*i, 2))
		checkBlock(t, s, blocks[rand.IntN(len(blocks))])
		if n := fs.open.Load(); n > 1+maxUnsynced+maxReaders {
			t.Fatalf("%d files are open", n)
		}
	}
	must(t, s.Sync())
	if n := fs.open.Load(); n > 1+maxReaders {
		t.Errorf("%d files are open after Sync", n)
	}
	must(t, s.Release())
	if n := fs.open.Load(); n != 0 {
		t.Errorf("%d files are open after Release", n)
	}
	last := blocks[len(blocks)-1]
	if next := mustAppend(t, s, 1, 1); next.Ref.File != last.Ref.File {
		t.Errorf("file %d was not gone on with after Release, but %d begun", last.Ref.File, next.Ref.File)
	}
	checkBlock(t, s, last)
	must(t, s.Close())
	must(t, s.Close())
	if n := fs.open.Load(); n != 0 {
		t.Errorf("%d files are open after Close", n)
	}
	_, appendErr := s.Append(1, 1, messages(1, 1))
	_, _, readErr := s.Read(last, nil)
	if !errors.Is(appendErr, ErrClosed) || !errors.Is(readErr, ErrClosed) || !errors.Is(s.Sync(), ErrClosed) {
		t.Error("a closed store can be used")
	}
}

func TestAFileThatIsReadOutlivesItsDrop(t *testing.T) {
	fs := counting(vfs.NewMem())
	s, _, _ := mustOpen(t, Options{FS: fs, FileSize: 1})
	b := mustAppend(t, s, 1, 3)
	mustAppend(t, s, 4, 1)
	r, err := s.acquire(b.Ref.File)
	must(t, err)
	must(t, s.Drop(b.Ref))
	must(t, s.Close())
	mem := make([]byte, b.Ref.Length)
	_, err = r.f.ReadAt(mem, int64(b.Ref.Offset)+blockHeaderSize)
	must(t, err)
	if frames, lost := verify(b, mem); lost != nil || !bytes.Equal(frames, messages(1, 3)) {
		t.Error("other bytes after the drop")
	}
	s.release(r)
	if n := fs.open.Load(); n != 0 {
		t.Errorf("%d files are open", n)
	}
}

func TestRemoveAllLeavesOnlyWhatIsNotOurs(t *testing.T) {
	mem := vfs.NewMem()
	s, _, _ := mustOpen(t, Options{FS: mem, FileSize: 1})
	a := mustAppend(t, s, 1, 3)
	mustAppend(t, s, 4, 3)
	change(t, mem, testDir+"/000001.seg", 90, []byte("damage"))
	if lost := checkBlock(t, s, a); lost == nil {
		t.Fatal("damage was not found")
	}
	must(t, s.Drop(a.Ref))
	if left := names(t, mem); !slices.Equal(left, []string{"000001.seg.bad", "000002.seg"}) {
		t.Fatalf("files are %v", left)
	}
	other, err := mem.Create(testDir + "/notes")
	must(t, err)
	must(t, other.Close())
	must(t, s.RemoveAll())
	if left := names(t, mem); !slices.Equal(left, []string{"notes"}) {
		t.Errorf("left are %v", left)
	}
	must(t, mem.Remove(testDir+"/notes"))
	must(t, s.RemoveAll())
	if _, err := mem.List(testDir); err == nil {
		t.Error("the empty folder is still there")
	}
	must(t, s.RemoveAll())
}

// TestReadersBesideTheWriter is for the race detector, and for the promise that a reader gets the block or ErrGone.
func TestReadersBesideTheWriter(t *testing.T) {
	fs := counting(vfs.NewMem())
	s, _, _ := mustOpen(t, Options{FS: fs, FileSize: 2 << 10})
	var mu sync.Mutex
	var live []Block
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			buf := make([]byte, 0, 4<<10)
			for {
				select {
				case <-done:
					return
				default:
				}
				mu.Lock()
				if len(live) == 0 {
					mu.Unlock()
					continue
				}
				b := live[rand.IntN(len(live))]
				mu.Unlock()
				frames, lost, err := s.Read(b, buf)
				if err == nil && (lost != nil || !bytes.Equal(frames, messages(b.First, int(b.Count)))) {
					t.Errorf("%+v: other frames, lost %v", b, lost)
				}
				_, frameErr := s.ReadFrame(b.Ref, 0, b.First, buf)
				for _, err := range []error{err, frameErr} {
					if err != nil && !errors.Is(err, ErrGone) {
						t.Error(err)
					}
				}
				_ = s.Bytes()
			}
		})
	}
	for i := range uint64(1000) {
		b := mustAppend(t, s, i*10, 5)
		mu.Lock()
		live = append(live, b)
		mu.Unlock()
		if len(live) > 20 {
			must(t, s.Drop(live[0].Ref)) // readers may still choose it
			mu.Lock()
			live = live[1:]
			mu.Unlock()
		}
		if i%100 == 99 {
			must(t, s.Release())
		}
	}
	close(done)
	readers.Wait()
	must(t, s.Close())
	if n := fs.open.Load(); n != 0 {
		t.Errorf("%d files are open", n)
	}
}
