package storage

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/manifest"
	"brokerd/diskqueue/vfs"
)

// What differs from one life of a node to the next, and from one file system to the other, beside what reborn and anySizes draw.

// vary draws what the next life is like: how it ends, on what disk, and with which options.
func (n *node) vary(faulty bool) {
	n.faults = faulty && (n.rng.IntN(2) == 0 || *crashHard)
	n.sizes = n.anySizes()
	if n.reserve, n.free = 0, nil; n.fills {
		n.reserve = 16 << 10 << n.rng.IntN(3)
		if n.rng.IntN(3) == 0 {
			wanted := n.rng.Uint64N(16 << 10)
			n.free = func(uint64) uint64 { return wanted }
		}
	}
	n.memory = []int64{0, 0, 4 << 10, 64 << 10}[n.rng.IntN(4)]
	n.guard()
	n.crash = crash{left: n.rng.IntN(400)}
	if n.rng.IntN(4) == 0 { // most likely in the midst of the start
		n.crash.left = n.rng.IntN(40)
	}
	if n.rng.IntN(2) == 0 {
		n.crash.power = rand.New(rand.NewPCG(n.rng.Uint64(), 3))
	}
	n.written.Store(0)
	n.synced.Store(0)
	n.note("life: crash after %d operations, power cut %v, faults %v, %d bytes kept for when the disk is full, sizes %+v", n.crash.left,
		n.crash.power != nil, n.faults, n.reserve, n.sizes)
}

// beset draws what the disk is like at a start, and reports whether it fails. A folder that is closed, and a full disk, stay so.
func (n *node) beset() (fails bool) {
	fails = n.faults && n.rng.IntN(2) == 0
	n.rules()
	switch {
	case fails:
		n.rules(n.randomRule())
	case n.faults && n.fills && n.crash.left >= 0 && n.rng.IntN(2) == 0:
		n.fill(20 << 10)
	case n.faults && n.crash.left >= 0 && n.rng.IntN(4) == 0:
		n.closeFolder()
	}
	return fails
}

// rules has the disk fail by some rules, and by those that hold for good.
func (n *node) rules(more ...vfs.Rule) { n.disk.SetRules(slices.Concat(n.lacks, more)...) }

// lackSome draws what the file system cannot do at all, as some cannot.
func (n *node) lackSome() {
	if n.rng.IntN(3) > 0 {
		return
	}
	for _, r := range []vfs.Rule{
		{Ops: vfs.OpLink, Err: syscall.EPERM}, // FAT
		{Ops: vfs.OpLink, Err: syscall.EOPNOTSUPP},
		{Ops: vfs.OpLink, Err: syscall.EMLINK},
		{Ops: vfs.OpFree, Err: errors.ErrUnsupported},
		{Ops: vfs.OpLinks, Err: errors.ErrUnsupported},
	} {
		if n.rng.IntN(2) == 0 {
			n.lacks = append(n.lacks, r)
			n.note("the file system has none of %+v", r)
		}
	}
}

// another is a node of the same kind on another folder.
func (n *node) another(fs *vfs.Mem) *node {
	again := &node{t: n.t, seed: n.seed, rng: n.rng, fs: fs, id: n.id, levels: n.levels, listed: n.listed, lacks: n.lacks}
	again.disk = vfs.NewFaulty(fs)
	again.rules()
	return again
}

// fill leaves no more than so many bytes of room on the disk.
func (n *node) fill(most int64) {
	room := n.rng.Int64N(most)
	n.fs.SetLimit(n.fs.Used() + room)
	n.note("the disk has room for %d bytes", room)
}

// folders are those of a data folder, but for the topics' own.
var folders = []string{"data", "data/" + logFolder, "data/" + segmentsFolder, "data/" + asideFolder}

// closeFolder takes away the right to change names in a folder, if it is there.
func (n *node) closeFolder() {
	name := folders[n.rng.IntN(len(folders))]
	if dirs := n.folders(segmentsFolder); name == folders[2] && len(dirs) > 0 && n.rng.IntN(2) == 0 {
		name = dirs[n.rng.IntN(len(dirs))]
	}
	n.note("no name may be changed in %s: %v", name, n.fs.Protect(name, true))
}

// openFolders gives it back.
func (n *node) openFolders() {
	for _, name := range slices.Concat(folders, n.folders(segmentsFolder)) {
		_ = n.fs.Protect(name, false) // it need not be there
	}
}

// folders returns the folders in a folder of the data folder.
func (n *node) folders(in string) (paths []string) {
	in = filepath.Join("data", in)
	names, _ := n.fs.List(in)
	for _, name := range names {
		if _, err := n.fs.List(filepath.Join(in, name)); err == nil {
			paths = append(paths, filepath.Join(in, name))
		}
	}
	return paths
}

// guard has some files be read only from now on, as those of another user are, or what somebody has made so: they can be renamed and removed.
func (n *node) guard() {
	if n.rng.IntN(6) > 0 {
		return
	}
	n.guarded = true
	all := n.contents()
	for _, path := range slices.Sorted(maps.Keys(all)) {
		if n.rng.IntN(3) == 0 {
			n.note("%s can only be read", path)
			if err := n.fs.Protect(path, true); err != nil {
				n.fail("taking the right to write to %s: %v", path, err)
			}
		}
	}
}

// broken is a part of a file that cannot be read, nothing while sectors is 0.
type broken struct {
	path    string
	off     int64
	sectors int
}

// breakOne has a part of one file not be read any more.
func (n *node) breakOne() {
	all := n.contents()
	maps.DeleteFunc(all, func(path, _ string) bool { // a spare one may become the log's newest file: then nobody knows what it had
		return filepath.Ext(path) == ".spare"
	})
	paths := slices.Sorted(maps.Keys(all))
	if len(paths) == 0 {
		return
	}
	path := paths[n.rng.IntN(len(paths))]
	n.broken = broken{path, n.rng.Int64N(int64(len(all[path])) + 1), 1 + n.rng.IntN(10)}
	n.note("some of it cannot be read: %+v", n.broken)
}

// setBroken has that be so, or not.
func (n *node) setBroken(is bool) {
	b := n.broken
	if b.sectors == 0 {
		return
	}
	if !is {
		b.sectors = 0
	}
	if err := n.fs.Break(b.path, b.off, b.sectors); err != nil {
		n.fail("breaking %s: %v", b.path, err)
	}
}

// copyBeside puts a copy of a file beside it, under another number of the same form, as a hand that errs does.
func (n *node) copyBeside(path string) {
	dir, name := filepath.Split(path)
	var number uint64
	for _, form := range []string{"%016d.wal", "%06d.seg", checkpointPrefix + "%06d"} {
		if _, err := fmt.Sscanf(name, strings.Replace(strings.Replace(form, "%016d", "%d", 1), "%06d", "%d", 1), &number); err != nil {
			continue
		}
		to := fmt.Sprintf(form, max(4, number+uint64(n.rng.IntN(7)))-3)
		if _, err := n.fs.Size(dir + to); err == nil {
			return
		}
		n.note("%s is there as %s, too", path, to)
		b, err := vfs.ReadFile(n.fs, path)
		if err != nil {
			n.fail("reading %s: %v", path, err)
		}
		n.put(dir+to, b)
		return
	}
}

// put makes a file.
func (n *node) put(path string, b []byte) {
	f, err := n.fs.Create(path)
	if err != nil {
		n.fail("making %s: %v", path, err)
	}
	_, err = f.WriteAt(b, 0)
	if err := errors.Join(err, f.Sync(), f.Close(), n.fs.SyncDir(filepath.Dir(path))); err != nil {
		n.fail("making %s: %v", path, err)
	}
}

// clockSpans are within which time the clocks of two lives differ.
var clockSpans = []time.Duration{time.Minute, time.Hour, 72 * time.Hour, 400 * 24 * time.Hour, 90 * 365 * 24 * time.Hour, 120 * 365 * 24 * time.Hour}

// lastDue is when the last message is due that may come.
func (n *node) lastDue() (last time.Time) {
	for _, p := range n.promises {
		if p.due.After(last) {
			last = p.due
		}
	}
	return last
}

// latest is how long after the beginning of a bubble that is, and all is due that was put off in any life, by its clock: what comes back after a delay is not
// known to be due then or later.
func (n *node) latest() time.Duration {
	last := n.lastDue()
	if put := n.newest.Add(2 * time.Minute); put.After(last) {
		last = put
	}
	return max(0, last.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)))
}

// age makes a folder of a node that has lived for long: its next message, log file and checkpoint have numbers that are near to some bound.
func (n *node) age() {
	position := []journal.Position{1<<32 - 100, 1<<53 - 100, 1 << 62}[n.rng.IntN(3)]
	m := manifest.Manifest{Folder: manifest.NewID()}
	m.Log.Limit = []uint64{1<<32 - 3, 1e16 - 3, 1 << 53}[n.rng.IntN(3)]
	c, err := createCheckpoint(n.fs, "data", m.Folder.Short(), []uint64{1e6 - 3, 1<<32 - 3}[n.rng.IntN(2)])
	if err != nil {
		n.fail("making an old folder: %v", err)
	}
	w := journal.NewWriter(c)
	w.Head(topics+1, journal.Offset{}, 0)
	for i := range topics {
		w.Topic(&journal.Topic{ID: uint32(i + 1), Name: fmt.Sprint("t", i), Next: position})
		w.Channel(&journal.Channel{After: position - 1, Offered: position - 1})
		dir := fmt.Sprint("data/", segmentsFolder, "/", i+1)
		if err := n.fs.MkdirAll(dir); err != nil {
			n.fail("making an old folder: %v", err)
		}
		n.put(dir+"/999998.seg", nil)
	}
	_, err = w.Finish()
	if err = errors.Join(err, c.finish(nil), c.rename()); err == nil {
		m.Name(c.entry(journal.Offset{}))
		err = manifest.Write(n.fs, "data", &m)
	}
	if err != nil {
		n.fail("making an old folder: %v", err)
	}
	n.note("the folder is old: positions from %d on, %+v", position, m)
}
