package vfs_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"brokerd/diskqueue/vfs"
)

const sector = 512

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func fill(c byte, n int) []byte { return bytes.Repeat([]byte{c}, n) }

// write creates or overwrites a file.
func write(t testing.TB, m vfs.FS, name string, off int64, p []byte) vfs.File {
	t.Helper()
	f, err := m.OpenWrite(name)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = m.Create(name)
	}
	ok(t, err)
	_, err = f.WriteAt(p, off)
	ok(t, err)
	return f
}

func content(t testing.TB, m vfs.FS, name string) []byte {
	t.Helper()
	f, err := m.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	ok(t, err)
	defer f.Close()
	p := make([]byte, must(f.Size())(t))
	if _, err := f.ReadAt(p, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return p
}

// crashes calls check with many crash clones of m.
func crashes(m *vfs.Mem, check func(*vfs.Mem)) {
	for seed := range uint64(500) {
		check(m.CrashClone(rand.New(rand.NewPCG(seed, 1))))
	}
}

func TestCrashKeepsWhatIsSynced(t *testing.T) {
	m := vfs.NewMem()
	ok(t, m.MkdirAll("/d"))
	f := write(t, m, "/d/f", 0, fill('a', 3*sector))
	ok(t, f.Sync())
	ok(t, m.SyncDir("/d"))
	_, err := f.WriteAt(fill('b', 100), sector) // an unsynced write beside it
	ok(t, err)
	crashes(m, func(c *vfs.Mem) {
		got := content(t, c, "/d/f")
		if len(got) != 3*sector || !bytes.Equal(got[:sector], fill('a', sector)) ||
			!bytes.Equal(got[sector+100:], fill('a', 2*sector-100)) {
			t.Fatal("synced bytes changed")
		}
	})
}

func TestCrashTearsWritesBySectorAndOutOfOrder(t *testing.T) {
	m := vfs.NewMem()
	f := write(t, m, "/f", 0, fill('a', 4*sector))
	ok(t, f.Sync())
	ok(t, m.SyncDir("/"))
	_, err := f.WriteAt(fill('b', 4*sector), 0)
	ok(t, err)
	seen := make(map[string]bool)
	torn := false
	crashes(m, func(c *vfs.Mem) {
		shape := ""
		got := content(t, c, "/f")
		for i := 0; i < len(got); i += sector {
			s := got[i : i+sector]
			switch {
			case bytes.Equal(s, fill('a', sector)):
				shape += "a"
			case bytes.Equal(s, fill('b', sector)):
				shape += "b"
			default:
				shape += "t"
				cut := bytes.IndexByte(s, 'a')
				if cut < 0 || bytes.IndexByte(s[cut:], 'b') >= 0 {
					t.Fatal("a torn sector is not new bytes, then old ones")
				}
				torn = true
			}
		}
		seen[shape] = true
	})
	for _, shape := range []string{"aaaa", "bbbb", "bbaa", "aabb", "abab"} {
		if !seen[shape] {
			t.Errorf("no crash left %s", shape)
		}
	}
	if !torn {
		t.Error("no crash tore a sector")
	}
}

func TestCrashShowsZerosOrNothingWhereAFileGrew(t *testing.T) {
	m := vfs.NewMem()
	f := write(t, m, "/f", 0, fill('a', 100))
	ok(t, f.Sync())
	ok(t, m.SyncDir("/"))
	_, err := f.WriteAt(fill('b', 2*sector), 2*sector)
	ok(t, err)
	sizes := make(map[int]bool)
	zeros := false
	crashes(m, func(c *vfs.Mem) {
		got := content(t, c, "/f")
		sizes[len(got)] = true
		if !bytes.Equal(got[:100], fill('a', 100)) {
			t.Fatal("synced bytes changed")
		}
		zeros = zeros || len(got) == 4*sector && bytes.Equal(got[2*sector:], make([]byte, 2*sector))
	})
	if !sizes[100] || !sizes[4*sector] || len(sizes) != 2 || !zeros {
		t.Errorf("sizes %v, zeros where the write was lost: %t", sizes, zeros)
	}
}

func TestCrashAfterTruncateMayBringBytesBack(t *testing.T) {
	m := vfs.NewMem()
	f := write(t, m, "/f", 0, fill('a', 2*sector))
	ok(t, f.Sync())
	ok(t, m.SyncDir("/"))
	ok(t, f.Truncate(10))
	lengths := make(map[int]bool)
	crashes(m, func(c *vfs.Mem) {
		got := content(t, c, "/f")
		lengths[len(got)] = true
		if len(got) == 2*sector && !bytes.Equal(got[:10], fill('a', 10)) {
			t.Fatal("bytes that were never changed changed")
		}
	})
	if !lengths[10] || !lengths[2*sector] {
		t.Errorf("lengths after the crash: %v", lengths)
	}
	ok(t, f.Sync())
	crashes(m, func(c *vfs.Mem) {
		if got := content(t, c, "/f"); !bytes.Equal(got, fill('a', 10)) {
			t.Fatalf("%d bytes after a synced truncate", len(got))
		}
	})
}

func TestCrashForgetsNamesUntilTheFolderIsSynced(t *testing.T) {
	m := vfs.NewMem()
	ok(t, write(t, m, "/old", 0, []byte("old")).Sync())
	ok(t, write(t, m, "/gone", 0, []byte("gone")).Sync())
	ok(t, m.SyncDir("/"))
	ok(t, write(t, m, "/made", 0, []byte("made")).Sync())
	ok(t, m.Rename("/old", "/new"))
	ok(t, m.Remove("/gone"))

	seen := make(map[string]bool)
	crashes(m, func(c *vfs.Mem) {
		names := must(c.List("/"))(t)
		for _, name := range names {
			want := map[string]string{"old": "old", "new": "old", "gone": "gone", "made": "made"}[name]
			if got := string(content(t, c, "/"+name)); got != want {
				t.Fatalf("%s holds %q", name, got)
			}
			seen[name] = true
		}
		if slices.Contains(names, "old") == slices.Contains(names, "new") {
			t.Fatalf("%q: a renamed file has neither or both of its names", names)
		}
		seen["-made"] = seen["-made"] || !slices.Contains(names, "made")
		seen["-gone"] = seen["-gone"] || !slices.Contains(names, "gone")
	})
	for _, want := range []string{"old", "new", "gone", "made", "-made", "-gone"} {
		if !seen[want] {
			t.Errorf("no crash left %s", want)
		}
	}
	ok(t, m.SyncDir("/"))
	crashes(m, func(c *vfs.Mem) {
		if names := must(c.List("/"))(t); !slices.Equal(names, []string{"made", "new"}) {
			t.Fatalf("%q after the folder was synced", names)
		}
	})
}

// A synced file is never without a name: what builds on a forgotten rename is forgotten with it.
func TestCrashNeverLosesASyncedFileToARename(t *testing.T) {
	m := vfs.NewMem()
	ok(t, write(t, m, "/a", 0, []byte("first")).Sync())
	ok(t, m.SyncDir("/"))
	ok(t, m.Rename("/a", "/b"))
	write(t, m, "/a", 0, []byte("second"))
	ok(t, m.Rename("/b", "/c"))
	crashes(m, func(c *vfs.Mem) {
		holders := 0
		for _, name := range must(c.List("/"))(t) {
			if string(content(t, c, "/"+name)) == "first" {
				holders++
			}
		}
		if holders != 1 {
			t.Fatalf("%d names hold the synced file", holders)
		}
	})
}

func TestKillKeepsEverythingAndStaysUnsynced(t *testing.T) {
	m := vfs.NewMem()
	ok(t, write(t, m, "/f", 0, fill('a', sector)).Sync())
	ok(t, m.SyncDir("/"))
	write(t, m, "/f", 0, fill('b', sector))
	write(t, m, "/g", 0, fill('c', 10))

	k := m.KillClone()
	if got := content(t, k, "/f"); !bytes.Equal(got, fill('b', sector)) {
		t.Error("a kill lost an unsynced write")
	}
	if got := content(t, k, "/g"); !bytes.Equal(got, fill('c', 10)) {
		t.Error("a kill lost an unsynced file")
	}
	write(t, m, "/f", 0, fill('x', sector))
	if got := content(t, k, "/f"); got[0] != 'b' {
		t.Error("a clone changes with its original")
	}
	old, lost := false, false
	crashes(k, func(c *vfs.Mem) {
		old = old || content(t, c, "/f")[0] == 'a'
		lost = lost || content(t, c, "/g") == nil
	})
	if !old || !lost {
		t.Errorf("a power cut after a kill must be able to lose what was not synced: write %t, name %t", old, lost)
	}
}

func TestSameSeedSameCrash(t *testing.T) {
	m := vfs.NewMem()
	for i := range byte(20) {
		write(t, m, "/"+string('a'+i), int64(i)*100, fill(i+1, 3000))
	}
	clone := func() *vfs.Mem { return m.CrashClone(rand.New(rand.NewPCG(4, 2))) }
	a, b := clone(), clone()
	names := must(a.List("/"))(t)
	if !slices.Equal(names, must(b.List("/"))(t)) {
		t.Fatal("names differ")
	}
	for _, name := range names {
		if !bytes.Equal(content(t, a, "/"+name), content(t, b, "/"+name)) {
			t.Fatalf("%s differs", name)
		}
	}
}

func TestLimit(t *testing.T) {
	m := vfs.NewMem()
	m.SetLimit(1000)
	f := write(t, m, "/f", 0, fill('a', 600))
	if space := must(m.Free("/"))(t); space != (vfs.Space{Free: 400, Total: 1000}) {
		t.Errorf("space %+v", space)
	}
	if n, err := f.WriteAt(fill('b', 600), 600); n != 400 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("writing over the limit: %d, %v; a full disk takes what fits", n, err)
	}
	if _, err := f.WriteAt(fill('c', 1000), 0); err != nil {
		t.Errorf("overwriting on a full disk: %v", err)
	}
	g := must(m.Create("/g"))(t)
	if err := g.Preallocate(1); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("preallocating on a full disk: %v", err)
	}
	ok(t, m.Remove("/f"))
	if err := g.Preallocate(1); !errors.Is(err, syscall.ENOSPC) {
		t.Error("the space of a removed file is free while it is open")
	}
	ok(t, f.Close())
	ok(t, g.Preallocate(1000))
	if used := m.Used(); used != 1000 {
		t.Errorf("%d bytes used", used)
	}
}

func TestFaulty(t *testing.T) {
	m := vfs.NewMem()
	f := vfs.NewFaulty(m,
		vfs.Rule{Ops: vfs.OpWrite, Path: "*.log", Skip: 1, Times: 2, Err: syscall.EIO, Short: 3},
		vfs.Rule{Ops: vfs.OpSync | vfs.OpSyncDir, Err: syscall.ENOSPC})
	file := must(f.Create("/a.log"))(t)
	other := must(f.Create("/a.other"))(t)
	_, err := file.WriteAt([]byte("12345"), 0)
	ok(t, err)
	for range 2 {
		if n, err := file.WriteAt([]byte("abcde"), 0); n != 3 || !errors.Is(err, syscall.EIO) {
			t.Errorf("a failing write: %d, %v", n, err)
		}
		_, err = other.WriteAt([]byte("x"), 0)
		ok(t, err)
	}
	_, err = file.WriteAt([]byte("z"), 4)
	ok(t, err)
	if got := string(content(t, m, "/a.log")); got != "abc4z" {
		t.Errorf("a short write left %q", got)
	}
	for range 3 {
		if err := file.Sync(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("sync: %v", err)
		}
	}
	if err := f.SyncDir("/"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("sync of the folder: %v", err)
	}
	f.SetRules()
	var seen []vfs.Op
	f.Observe(func(op vfs.Op, _ string) { seen = append(seen, op) })
	ok(t, file.Sync())
	ok(t, f.Rename("/a.log", "/b.log"))
	if !slices.Equal(seen, []vfs.Op{vfs.OpSync, vfs.OpRename}) {
		t.Errorf("observed %v", seen)
	}
}

// TestLinkSurvivesEachName: of a file with two names each one survives a power cut when its folder was synced, whatever becomes of
// the other, and the file with it.
func TestLinkSurvivesEachName(t *testing.T) {
	for seed := range uint64(200) {
		m := vfs.NewMem()
		ok(t, m.MkdirAll("from"))
		ok(t, m.MkdirAll("to"))
		f := write(t, m, "from/a", 0, fill('a', 10))
		ok(t, f.Sync())
		ok(t, f.Close())
		ok(t, m.SyncDir("from"))
		ok(t, m.Link("from/a", "to/b"))
		ok(t, m.SyncDir("to"))
		ok(t, m.Remove("from/a"))
		c := m.CrashClone(rand.New(rand.NewPCG(seed, 1)))
		if got := content(t, c, "to/b"); !bytes.Equal(got, fill('a', 10)) {
			t.Fatalf("seed %d: the new name has %q", seed, got)
		}
		if got := content(t, c, "from/a"); got != nil && !bytes.Equal(got, fill('a', 10)) {
			t.Fatalf("seed %d: the old name has %q", seed, got)
		}
		if used := c.Used(); used != 10 {
			t.Fatalf("seed %d: %d bytes are used", seed, used)
		}
	}
}

// What a failing sync was for may never be written, whatever later syncs say; what is written anew is.
func TestAFailedSyncIsNotMadeUpFor(t *testing.T) {
	m := vfs.NewMem()
	disk := vfs.NewFaulty(m, vfs.Rule{Ops: vfs.OpSync, Skip: 1, Times: 1, Err: syscall.EIO, Clean: true})
	f := write(t, disk, "/f", 0, fill('a', 20*sector))
	ok(t, f.Sync())
	ok(t, m.SyncDir("/"))
	_, err := f.WriteAt(fill('b', 20*sector), 0)
	ok(t, err)
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	ok(t, f.Sync())
	if got := content(t, m, "/f"); !bytes.Equal(got, fill('b', 20*sector)) {
		t.Error("what was written cannot be read")
	}
	old := 0
	crashes(m, func(c *vfs.Mem) {
		if !bytes.Equal(content(t, c, "/f"), fill('b', 20*sector)) {
			old++
		}
	})
	if old == 0 {
		t.Error("no power cut takes what a failed sync was for")
	}
	_, err = f.WriteAt([]byte("c"), sector) // which writes its page, eight sectors
	ok(t, err)
	ok(t, f.Sync())
	want := append(append(fill('b', sector), 'c'), fill('b', 7*sector-1)...)
	crashes(m, func(c *vfs.Mem) {
		if got := content(t, c, "/f"); !bytes.Equal(got[:8*sector], want) {
			t.Fatal("a power cut takes what was written anew and synced")
		}
	})
}

// An operation that fails may have been done all the same, and a read may be wrong without an error.
func TestFailuresThatAreNone(t *testing.T) {
	m := vfs.NewMem()
	disk := vfs.NewFaulty(m, vfs.Rule{Ops: vfs.OpChange, Err: syscall.EIO, Done: true})
	fails := func(err error) {
		t.Helper()
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("error %v", err)
		}
	}
	fails(disk.MkdirAll("/d"))
	ok(t, m.SyncDir("/"))
	_, err := disk.Create("/d/a")
	fails(err)
	f := must(disk.OpenWrite("/d/a"))(t)
	_, err = f.WriteAt([]byte("text"), 0)
	fails(err)
	fails(f.Sync())
	fails(f.Truncate(3))
	fails(f.Preallocate(5))
	ok(t, f.Close())
	fails(disk.Link("/d/a", "/d/b"))
	fails(disk.Rename("/d/a", "/d/c"))
	fails(disk.Remove("/d/b"))
	fails(disk.SyncDir("/d"))
	crashes(m, func(c *vfs.Mem) {
		if names, _ := c.List("/d"); !slices.Equal(names, []string{"c"}) || string(content(t, c, "/d/c")[:3]) != "tex" {
			t.Fatalf("names %q", names)
		}
	})
	disk.SetRules(vfs.Rule{Ops: vfs.OpRead, Times: 1, Flip: true})
	for i, same := range []bool{false, true} {
		if got := content(t, disk, "/d/c"); bytes.Equal(got, []byte("tex\x00\x00")) != same {
			t.Errorf("read %d: %q", i, got)
		}
	}
}

// What an earlier process has left, a failed sync behind it, is durable once it is written anew; a read that is wrong is not written.
func TestSyncAnew(t *testing.T) {
	m := vfs.NewMem()
	disk := vfs.NewFaulty(m, vfs.Rule{Ops: vfs.OpSync, Skip: 1, Times: 1, Err: syscall.EIO, Clean: true})
	f := write(t, disk, "/f", 0, fill('a', 40*sector))
	ok(t, f.Sync())
	ok(t, m.SyncDir("/"))
	_, err := f.WriteAt(fill('b', 30*sector), 10*sector)
	ok(t, err)
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	want := append(fill('a', 10*sector), fill('b', 30*sector)...)
	m = m.KillClone()
	wrong := vfs.NewFaulty(m, vfs.Rule{Ops: vfs.OpRead, Times: 1, Flip: true})
	if err := vfs.SyncAnew(wrong, "/f", 10*sector, 1<<20); err == nil {
		t.Error("a read that is wrong was written")
	}
	ok(t, vfs.SyncAnew(m, "/f", 50*sector, 1<<20)) // there is nothing
	ok(t, vfs.SyncAnew(m, "/f", 10*sector, 1<<20))
	crashes(m, func(c *vfs.Mem) {
		if !bytes.Equal(content(t, c, "/f"), want) {
			t.Fatal("a power cut takes what was written anew")
		}
	})
	if err := vfs.SyncAnew(m, "/none", 0, 1); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestAFolderThatIsThereMayNotBeDurable: who made it has failed, or ended, before its name was synced. Who asks for it again is told that it is durable, and it
// is then.
func TestAFolderThatIsThereMayNotBeDurable(t *testing.T) {
	m := vfs.NewMem()
	disk := vfs.NewFaulty(m, vfs.Rule{Ops: vfs.OpMkdir, Times: 1, Err: syscall.EIO, Done: true})
	if err := disk.MkdirAll("/d/e"); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	lost := false
	crashes(m, func(c *vfs.Mem) {
		_, err := c.List("/d/e")
		lost = lost || errors.Is(err, fs.ErrNotExist)
	})
	if !lost {
		t.Error("a power cut never takes a folder whose name was not synced")
	}
	ok(t, disk.MkdirAll("/d/e"))
	crashes(m, func(c *vfs.Mem) { must(c.List("/d/e"))(t) })
}

// TestStyles: renames that a power cut tears, so that both names are there or neither, and sectors that show what files that are gone had.
func TestStyles(t *testing.T) {
	seen := map[vfs.Style][3]bool{}
	for _, style := range []vfs.Style{{}, {TornRenames: true}, {Stale: true}, {LostRenames: true}} {
		m := vfs.NewMem()
		m.SetStyle(style)
		ok(t, write(t, m, "/gone", 0, fill('g', 4*sector)).Close())
		ok(t, write(t, m, "/a", 0, fill('a', sector)).Sync())
		ok(t, m.SyncDir("/"))
		ok(t, m.Remove("/gone"))
		ok(t, m.Rename("/a", "/b"))
		f := write(t, m, "/f", 0, fill('f', sector))
		ok(t, m.SyncDir("/"))
		ok(t, m.Rename("/b", "/c"))
		_, err := f.WriteAt(fill('f', 2*sector), sector)
		ok(t, err)
		var is [3]bool
		crashes(m, func(c *vfs.Mem) {
			b, renamed := content(t, c, "/b"), content(t, c, "/c")
			is[2] = is[2] || b == nil && renamed == nil
			is[0] = is[0] || b != nil && renamed != nil
			is[1] = is[1] || bytes.IndexByte(content(t, c, "/f"), 'g') >= 0
		})
		seen[style] = is
	}
	want := map[vfs.Style][3]bool{{}: {}, {TornRenames: true}: {true, false, false}, {Stale: true}: {false, true, false}, {LostRenames: true}: {false, false, true}}
	for style, is := range seen {
		if is != want[style] {
			t.Errorf("%+v: a name is there twice %v, what is gone is shown %v, no name is there %v", style, is[0], is[1], is[2])
		}
	}
}

// TestAFailedSyncOfAFolderIsNotMadeUpFor: names that a failing sync was for may never be durable, whatever later syncs of the process say that was told of it; a name
// that is changed again is.
func TestAFailedSyncOfAFolderIsNotMadeUpFor(t *testing.T) {
	m := vfs.NewMem()
	disk := vfs.NewFaulty(m)
	for _, name := range []string{"/removed", "/renamed", "/kept"} {
		ok(t, write(t, m, name, 0, []byte(name)).Sync())
	}
	ok(t, disk.SyncDir("/"))
	ok(t, write(t, m, "/made", 0, []byte("m")).Sync())
	ok(t, m.Remove("/removed"))
	ok(t, m.Rename("/renamed", "/another"))
	disk.SetRules(vfs.Rule{Ops: vfs.OpSyncDir, Times: 1, Err: syscall.EIO, Clean: true})
	if err := disk.SyncDir("/"); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	ok(t, write(t, m, "/later", 0, []byte("l")).Sync())
	ok(t, disk.SyncDir("/"))
	left := func(m *vfs.Mem, want ...string) {
		t.Helper()
		crashes(m, func(c *vfs.Mem) {
			if names, _ := c.List("/"); !slices.Equal(names, want) {
				t.Fatalf("a power cut leaves %q, want %q", names, want)
			}
		})
	}
	if names, _ := m.List("/"); !slices.Equal(names, []string{"another", "kept", "later", "made"}) {
		t.Errorf("there are %q", names)
	}
	left(m, "kept", "later", "removed", "renamed")
	killed := m.KillClone()
	ok(t, killed.SyncDir("/")) // by a process that cannot know
	left(killed, "another", "kept", "later", "made")
	ok(t, m.Rename("/another", "/renamed"))
	ok(t, m.Rename("/made", "/again"))
	ok(t, disk.SyncDir("/"))
	left(m, "again", "kept", "later", "removed", "renamed")
}

// TestProtect: what nobody may write to can be read, renamed and removed as long as its folder may be changed, over kills and power cuts.
func TestProtect(t *testing.T) {
	m := vfs.NewMem()
	ok(t, m.MkdirAll("/d"))
	ok(t, write(t, m, "/d/f", 0, []byte("f")).Sync())
	ok(t, m.SyncDir("/d"))
	ok(t, m.Protect("/d/f", true))
	ok(t, m.Protect("/d", true))
	if err := m.Protect("/none", true); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	for _, m := range []*vfs.Mem{m, m.KillClone(), m.CrashClone(rand.New(rand.NewPCG(1, 1)))} {
		_, written := m.OpenWrite("/d/f")
		_, created := m.Create("/d/g")
		for _, err := range []error{written, created, m.Remove("/d/f"), m.Rename("/d/f", "/d/g"), m.Link("/d/f", "/d/g"), m.MkdirAll("/d/e")} {
			if !errors.Is(err, fs.ErrPermission) {
				t.Errorf("error %v", err)
			}
		}
		if got := string(content(t, m, "/d/f")); got != "f" {
			t.Errorf("it has %q", got)
		}
		ok(t, m.Protect("/d", false))
		ok(t, m.Rename("/d/f", "/d/g"))
		if _, err := m.OpenWrite("/d/g"); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("error %v behind a rename", err)
		}
		ok(t, m.Protect("/d/g", false))
		ok(t, must(m.OpenWrite("/d/g"))(t).Close())
		ok(t, m.Remove("/d/g"))
	}
}

// TestWhatAsksFails: questions about open files, and closing them, fail as everything else does; a file that fails to be closed is closed.
func TestWhatAsksFails(t *testing.T) {
	disk := vfs.NewFaulty(vfs.NewMem())
	f := must(disk.Create("/f"))(t)
	disk.SetRules(vfs.Rule{Ops: vfs.OpStat | vfs.OpLinks | vfs.OpClose, Err: syscall.EIO})
	_, size := f.Size()
	_, links := f.Links()
	_, is := disk.Is("/f", f)
	for _, err := range []error{size, links, is, f.Close()} {
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("error %v", err)
		}
	}
	disk.SetRules()
	if err := f.Close(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("it is open still: %v", err)
	}
}

// TestBreak: sectors that cannot be read fail every read that touches them, behind a crash too, until they are written to.
func TestBreak(t *testing.T) {
	m := vfs.NewMem()
	ok(t, write(t, m, "/f", 0, fill('f', 10*sector)).Sync())
	ok(t, m.SyncDir("/"))
	ok(t, m.Break("/f", 3*sector+5, 2))
	for _, m := range []*vfs.Mem{m, m.KillClone(), m.CrashClone(rand.New(rand.NewPCG(1, 1)))} {
		f := must(m.OpenWrite("/f"))(t)
		p := make([]byte, 10*sector)
		if n, err := f.ReadAt(p, sector); n != 2*sector || !errors.Is(err, syscall.EIO) {
			t.Errorf("%d bytes, %v", n, err)
		}
		if n, err := f.ReadAt(p[:1], 5*sector-1); n != 0 || !errors.Is(err, syscall.EIO) {
			t.Errorf("%d bytes, %v", n, err)
		}
		_, err := f.ReadAt(p[:5*sector], 5*sector)
		ok(t, err)
		_, err = f.WriteAt(fill('g', 2*sector), 3*sector)
		ok(t, err)
		if _, err := f.ReadAt(p, 0); err != nil || !bytes.Equal(p, slices.Concat(fill('f', 3*sector), fill('g', 2*sector), fill('f', 5*sector))) {
			t.Errorf("behind a write: %v", err)
		}
		ok(t, f.Close())
		ok(t, m.Break("/f", 0, 1))
		ok(t, m.Break("/f", 0, 0))
		content(t, m, "/f")
	}
}
