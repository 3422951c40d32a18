package topic

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
	"brokerd/diskqueue/vfs"
)

// groupDisk is the segments of a group on a file system of their own.
type groupDisk struct{ fs vfs.FS }

func (g groupDisk) Open(generation, topic uint32, name string) (*segment.Store, []segment.Block, error) {
	store, list, _, err := segment.Open(segment.Options{FS: g.fs, Dir: fmt.Sprintf("g/%d/%d", generation, topic), FileSize: 4 << 10, Topic: topic, Name: name})
	return store, list, err
}

func (g groupDisk) numbers(dir string) (list []uint32, err error) {
	names, err := g.fs.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, name := range names {
		n, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			return nil, err
		}
		list = append(list, uint32(n))
	}
	return list, err
}

func (g groupDisk) Generations() ([]uint32, error) { return g.numbers("g") }
func (g groupDisk) Topics(generation uint32) ([]uint32, error) {
	return g.numbers(fmt.Sprint("g/", generation))
}

func (g groupDisk) Room(int) error { return nil }

func (g groupDisk) New() (uint32, error) {
	list, err := g.Generations()
	if err != nil {
		return 0, err
	}
	generation := slices.Max(append(list, 0)) + 1
	return generation, g.fs.MkdirAll(fmt.Sprint("g/", generation))
}

func (g groupDisk) Remove(generation uint32) error {
	topics, err := g.Topics(generation)
	if err != nil {
		return err
	}
	dir := fmt.Sprint("g/", generation)
	for _, n := range topics {
		of := path.Join(dir, fmt.Sprint(n))
		names, err := g.fs.List(of)
		for _, name := range names {
			err = errors.Join(err, g.fs.Remove(filepath.Join(of, name)))
		}
		if err = errors.Join(err, g.fs.Remove(of)); err != nil {
			return err
		}
	}
	if err := g.fs.Remove(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// onDisk is the disk of a model of a group's topics, and what a start goes on from.
type onDisk struct {
	mem    *vfs.Mem
	faulty *vfs.Faulty
	named  []byte   // the checkpoint that counts; nil: none does
	log    [][]byte // entries behind it; nil: the end of a reign
	bodies map[Position]string
}

var spillSeeds = flag.Int("spill-seeds", 6, "how many runs of the model of leaders and standbys there are with next to no memory")

const tightRoom = 300 // bytes: a message or two

// newOnDisk gives a model a disk, and next to no memory.
func newOnDisk(t testing.TB) *onDisk {
	d := &onDisk{mem: vfs.NewMem(), bodies: map[Position]string{}}
	d.faulty = vfs.NewFaulty(d.mem)
	if err := d.mem.MkdirAll("g"); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *onDisk) segments() groupDisk { return groupDisk{d.faulty} }

// open makes a standby of what is on the disk and what the log has.
func (d *onDisk) open(t testing.TB) *Standby {
	t.Helper()
	s, err := OpenStandby(d.named, d.segments())
	if err != nil {
		t.Fatal(err)
	}
	s.Keep(tightRoom, nil, nil)
	for _, entry := range d.log {
		if entry == nil {
			s.EndReign()
		} else if err := s.Apply(entry); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// checkpoint writes the standby down, unless the disk fails or it is midway.
func (d *onDisk) checkpoint(t testing.TB, s *Standby) {
	t.Helper()
	release, err := s.Hold()
	if err != nil {
		d.failed(t, err)
		return
	}
	snap, err := s.Snapshot()
	release()
	if errors.Is(err, ErrMidway) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	d.named, d.log = snap.Append(nil), nil
	if err := s.Named(snap.Number()); err != nil {
		d.failed(t, err)
	}
}

func (d *onDisk) failed(t testing.TB, err error) {
	t.Helper()
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// files returns the files of segments that are there, but for those that are aside: a power cut may leave some that are not whole.
func (d *onDisk) files(t testing.TB) (list []string) {
	t.Helper()
	generations, err := d.segments().Generations()
	for _, g := range generations {
		topics, topicsErr := d.segments().Topics(g)
		err = errors.Join(err, topicsErr)
		for _, n := range topics {
			names, namesErr := d.mem.List(fmt.Sprintf("g/%d/%d", g, n))
			err = errors.Join(err, namesErr)
			list = append(list, slices.DeleteFunc(names, func(name string) bool { return path.Ext(name) == ".bad" })...)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// toDisk does something that only concerns the disk.
func (m *ledModel) toDisk() {
	d := m.disk
	if m.rand.IntN(3) == 0 {
		m.lookAround()
		return
	}
	switch k := m.rand.IntN(8); {
	case k < 4:
		if err := m.standby.Spill(); err != nil {
			d.failed(m.t, err)
		}
	case k < 6:
		d.checkpoint(m.t, m.standby)
	case k == 6:
		m.standby.Tidy(m.rand.IntN(2) == 0)
		if _, err := m.standby.Compact(m.t.Context(), unpaced); err != nil {
			d.failed(m.t, err)
		}
	default:
		op := []vfs.Op{vfs.OpWrite, vfs.OpSync, vfs.OpCreate, vfs.OpSyncDir, vfs.OpRemove, vfs.OpChange}[m.rand.IntN(6)]
		d.faulty.SetRules(vfs.Rule{Ops: op, Skip: m.rand.IntN(4), Times: 1 + m.rand.IntN(3), Err: syscall.ENOSPC, Short: m.rand.IntN(100)})
	}
}

// unpaced is for Compact: what is to be read may be read at once.
func unpaced(int) error { return nil }

// lookAround looks at messages in all ways that read the disk. One that was shown at a position is there for good, or nothing is.
func (m *ledModel) lookAround() {
	pos := Position(1 + m.rand.IntN(max(1, int(m.topic.d.next))))
	at := time.Now().Add(-time.Duration(m.rand.IntN(60)) * time.Second).UnixNano()
	ctx := m.t.Context()
	look := Look{From: pos, Limit: 1 + m.rand.IntN(20), Body: -1}
	if m.rand.IntN(3) == 0 {
		look.Since = at
	}
	seen, err := m.topic.Browse(ctx, look)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, msg := range seen.Messages {
		if body, known := m.disk.bodies[msg.Pos]; known && body != string(msg.Body) {
			m.t.Fatalf("message %d was %q and is %q", msg.Pos, body, msg.Body)
		}
		m.disk.bodies[msg.Pos] = string(msg.Body)
	}
	for _, c := range m.topic.Channels() {
		if c.ephemeral {
			continue
		}
		if _, err := c.BrowseWaiting(ctx, Look{From: pos, Limit: 5, Body: -1}); err != nil {
			m.t.Fatal(err)
		}
		if _, err := c.Skip(Place{kind: atTime, at: at}, false, true); err != nil && !errors.Is(err, ErrChannelNotFound) {
			m.t.Fatal(err)
		}
	}
}

// restart is what becomes of a broker that has come to an end, or has lost its power, or is sent all that another one has.
func (m *ledModel) restart() {
	d := m.disk
	d.faulty.SetRules()
	switch m.rand.IntN(5) {
	case 0: // another one goes on to follow
	case 1:
		if err := m.standby.Close(); err != nil { // of a sync that had failed: what it was for no checkpoint names
			d.failed(m.t, err)
		}
		m.standby = d.open(m.t)
	case 2, 3:
		d.mem = d.mem.CrashClone(m.rand)
		d.faulty = vfs.NewFaulty(d.mem)
		m.standby = d.open(m.t)
	default:
		was := m.standby
		m.standby = wholeOf(m.t, was, d.segments())
		m.standby.Keep(tightRoom, nil, nil)
		if m.rand.IntN(2) == 0 { // it dies before that counts
			d.mem = d.mem.CrashClone(m.rand)
			d.faulty = vfs.NewFaulty(d.mem)
			m.standby = d.open(m.t)
			return
		}
		d.checkpoint(m.t, m.standby)
		if err := was.Discard(); err != nil {
			d.failed(m.t, err)
		}
	}
}

// wholeOf sends all that a standby has to another one, in small pieces.
func wholeOf(t testing.TB, s *Standby, to GroupSegments) *Standby {
	t.Helper()
	in, err := NewIntake(to)
	if err != nil {
		t.Fatal(err)
	}
	in.room = tightRoom
	w, err := s.Whole()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	err = w.Send(func(b []byte) error {
		for err == nil && len(b) > 0 {
			n := min(len(b), 777)
			err, b = in.Write(b[:n]), b[n:]
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := in.Standby()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestStandbyWithNextToNoMemoryIsWhatTheLeaderIs: what the model of leaders and standbys does, with all messages but one or two on a disk that fails now
// and then, and is cut off; what is delivered comes from there.
func TestStandbyWithNextToNoMemoryIsWhatTheLeaderIs(t *testing.T) {
	for seed := range uint64(*spillSeeds) {
		for _, rough := range []bool{false, true} {
			t.Run(fmt.Sprint(seed, rough), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					(&ledModel{t: t, rand: rand.New(rand.NewPCG(seed, 3)), rough: rough, disk: newOnDisk(t)}).run()
				})
			})
		}
	}
}

// spilled makes a group with a topic of some messages, all of which are on disk.
func spilled(t testing.TB, n int) (*group, *onDisk) {
	t.Helper()
	d := newOnDisk(t)
	g := &group{t: t, s: d.open(t)}
	g.change(journal.Change{Op: journal.OpCreateTopic, Topic: 1, Name: "orders"})
	g.change(journal.Change{Op: journal.OpCreateChannel, Topic: 1, Channel: 2, Name: "c"})
	for i := range n {
		g.must(journal.KindPublish, publishRecord(1, Position(1+i), fmt.Sprint("body", i, strings.Repeat(".", 500))))
		if i%5 != 4 {
			continue
		}
		if err := g.s.Spill(); err != nil {
			t.Fatal(err)
		}
	}
	return g, d
}

// TestADamagedBlockIsNotLost: another replica has what is damaged here, so that it must not be said to be lost, which all replicas would apply. Nor is
// what the disk does not give back for a while.
func TestADamagedBlockIsNotLost(t *testing.T) {
	for what, harm := range map[string]func(t *testing.T, d *onDisk){
		"damaged": func(t *testing.T, d *onDisk) {
			f, err := d.mem.OpenWrite("g/1/1/000001.seg")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt([]byte("harm"), 300); err != nil {
				t.Fatal(err)
			}
		},
		"unreadable": func(_ *testing.T, d *onDisk) {
			d.faulty.SetRules(vfs.Rule{Ops: vfs.OpRead | vfs.OpOpen, Err: syscall.EIO})
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, d := spilled(t, 10)
				told := make(chan error, 1000)
				g.s.Keep(tightRoom, nil, func(err error) { told <- err })
				r := start(t, durableConfig())
				l, _ := lead(t, r, g.s)
				harm(t, d)
				s := mustSubscribe(t, r.Lookup("orders"), "c", 100, SubscribeOptions{})
				got := 0
				for range 10 {
					got += drain(s)
					time.Sleep(time.Second)
					synctest.Wait()
				}
				c := r.Lookup("orders").LookupChannel("c")
				discarded := c.Stats().Counts.Discarded
				if discarded != (journal.Counts{}).Discarded || got == 10 {
					t.Errorf("%d messages came, discarded were %v", got, discarded)
				}
				if len(told) == 0 {
					t.Fatal("nobody was told")
				}
				if err := <-told; errors.Is(err, ErrUnread) != (what == "unreadable") {
					t.Errorf("it was said that %v", err)
				}
				if what == "unreadable" {
					d.faulty.SetRules()
					for range 10 {
						time.Sleep(time.Second)
						synctest.Wait()
						got += drain(s)
					}
					if got != 10 {
						t.Errorf("%d messages came once the disk was well, want 10", got)
					}
				}
				l.Drop()
			})
		})
	}
}

// TestWhatIsOnDiskGoesOnceACheckpointSaysSo: not before, as a start would miss it; with a topic that is deleted its folder goes.
func TestWhatIsOnDiskGoesOnceACheckpointSaysSo(t *testing.T) {
	t.Parallel()
	g, d := spilled(t, 50)
	d.checkpoint(t, g.s)
	full := d.mem.Used()
	g.must(journal.KindDelivered, runsRecord(func(r *journal.Runs) { r.BeginDelivered(1, 2, 0) }, journal.Range{First: 1, Last: 40}))
	g.must(journal.KindFinished, runsRecord(func(r *journal.Runs) { r.Begin(1, 2) }, journal.Range{First: 1, Last: 40}))
	g.s.Tidy(false)
	if held, free := g.s.OnDisk(); free == 0 || held == 0 || d.mem.Used() != full {
		t.Fatalf("%d bytes of %d are needed, %d are to come free, %d there", held, full, free, d.mem.Used())
	}
	d.checkpoint(t, g.s)
	if used := d.mem.Used(); used > full/2 {
		t.Errorf("%d of %d bytes are there, and a fifth is needed", used, full)
	}
	g.change(journal.Change{Op: journal.OpDeleteTopic, Topic: 1})
	d.checkpoint(t, g.s)
	if topics, err := d.segments().Topics(1); len(topics) > 0 || err != nil || d.mem.Used() > 0 {
		t.Errorf("of a deleted topic there are %v, %d bytes: %v", topics, d.mem.Used(), err)
	}
}

// TestATopicThatIsMadeAgainByTheLogKeepsWhatItSpills: the checkpoint that counts is older than the topic, of which an earlier life has left blocks. The next
// checkpoint names those that were written since.
func TestATopicThatIsMadeAgainByTheLogKeepsWhatItSpills(t *testing.T) {
	t.Parallel()
	d := newOnDisk(t)
	d.checkpoint(t, d.open(t)) // of nothing
	for life := range 2 {
		g := &group{t: t, s: d.open(t)} // what was there before was killed
		g.change(journal.Change{Op: journal.OpCreateTopic, Topic: 1, Name: "orders"})
		g.change(journal.Change{Op: journal.OpCreateChannel, Topic: 1, Channel: 2, Name: "c"})
		for i := range 20 {
			g.must(journal.KindPublish, publishRecord(1, Position(1+i), fmt.Sprint("body", i, strings.Repeat(".", 500))))
			if err := g.s.Spill(); err != nil {
				t.Fatal(err)
			}
		}
		if life == 0 {
			continue
		}
		d.checkpoint(t, g.s)
		again := d.open(t)
		if held, _ := again.OnDisk(); held == 0 {
			t.Error("nothing is on disk")
		}
	}
}

// TestAStandbyThatLacksABlockIsNone: a start does not go on without what the checkpoint says is there.
func TestAStandbyThatLacksABlockIsNone(t *testing.T) {
	t.Parallel()
	for what, harm := range map[string]func(d *onDisk) error{
		"no folder": func(d *onDisk) error { return d.segments().Remove(1) },
		"no file":   func(d *onDisk) error { return d.mem.Remove("g/1/1/000001.seg") },
		"cut short": func(d *onDisk) error {
			f, err := d.mem.OpenWrite("g/1/1/000001.seg")
			if err != nil {
				return err
			}
			return errors.Join(f.Truncate(200), f.Close())
		},
	} {
		g, d := spilled(t, 10)
		d.checkpoint(t, g.s)
		if err := g.s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := harm(d); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenStandby(d.named, d.segments()); !errors.Is(err, ErrStandby) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestAFullDiskKeepsMessagesInMemory: what cannot be written stays there, and goes once it can be.
func TestAFullDiskKeepsMessagesInMemory(t *testing.T) {
	t.Parallel()
	g, d := spilled(t, 10)
	d.faulty.SetRules(vfs.Rule{Ops: vfs.OpChange, Err: syscall.ENOSPC})
	for i := range 10 {
		g.must(journal.KindPublish, publishRecord(1, Position(11+i), fmt.Sprint("body", 10+i, strings.Repeat(".", 500))))
	}
	if err := g.s.Spill(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("a full disk: %v", err)
	}
	if n := g.s.Bytes(); n < 5000 {
		t.Errorf("%d bytes are in memory", n)
	}
	d.faulty.SetRules()
	if err := g.s.Spill(); err != nil || g.s.Bytes() > tightRoom {
		t.Errorf("%d bytes are in memory once the disk has room: %v", g.s.Bytes(), err)
	}
}
