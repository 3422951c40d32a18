package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/replica"
	"brokerd/broker/topic"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/segment"
	"brokerd/diskqueue/vfs"
)

// disk is the segments of a group whose only generation is the first.
type disk struct{ fs vfs.FS }

func (d disk) Open(_, number uint32, name string) (*segment.Store, []segment.Block, error) {
	store, list, _, err := segment.Open(segment.Options{FS: d.fs, Dir: fmt.Sprint(number), FileSize: 64 << 10, Topic: number, Name: name})
	return store, list, err
}

func (d disk) New() (uint32, error)            { return 1, nil }
func (d disk) Generations() ([]uint32, error)  { return nil, nil }
func (d disk) Topics(uint32) ([]uint32, error) { return []uint32{1}, nil }
func (d disk) Remove(uint32) error             { return nil }
func (d disk) Room(int) error                  { return nil }

// nobody is a consumer that is not told anything.
type nobody struct{}

func (nobody) Wake()  {}
func (nobody) Close() {}

// messageFrame is how many bytes the frame of a message has beside its body: size, kind, time, attempts, id.
const messageFrame = 4 + 4 + 8 + 2 + 16

// count returns how many messages there are.
func count(frames []byte) (n int64) {
	for ; len(frames) > 0; n++ {
		frames = frames[4+binary.BigEndian.Uint32(frames):]
	}
	return n
}

// TestABacklogIsBoundByTheDisk: many times what memory has room for is taken, and comes, by the leader that it was published at, and by one that begins
// with a checkpoint; while the disk takes nothing publishes are refused from a bound on, with its reason, and taken again afterwards.
func TestABacklogIsBoundByTheDisk(t *testing.T) {
	run(t, func(f *fixture) {
		f.s.Close()
		fault := vfs.NewFaulty(vfs.NewMem())
		f.o = Options{Segments: disk{fault}, Room: 8 << 10, Limit: 32 << 10}
		f.open(nil, replica.Point{Index: 1, Term: 1})
		f.create("orders", 1)
		f.a.lead(2)
		if _, err := f.r.Lookup("orders").Channel("c"); err != nil {
			t.Fatal(err)
		}
		publish := func(n int) (err error) {
			for i := 0; i < n && err == nil; i++ {
				err = f.publish("orders")
			}
			return err
		}
		if err := publish(2000); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if held, _ := f.s.Bytes(); held > f.o.Limit {
			t.Errorf("%d bytes are in memory", held)
		}
		fault.SetRules(vfs.Rule{Ops: vfs.OpWrite | vfs.OpCreate, Err: syscall.ENOSPC})
		if err := publish(1000); !errors.Is(err, ErrFull) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("a full disk: %v", err)
		}
		fault.SetRules()
		time.Sleep(2 * spillAgain)
		synctest.Wait()
		if err := publish(1); err != nil {
			t.Fatal(err)
		}
		content, at, counts, err := f.s.Content()
		if err != nil {
			t.Fatal(err)
		}
		counts()
		f.a.set(func() { f.a.term = 0 })
		f.s.Close()
		f.open(content, at)
		f.s.Tend(f.state)
		f.a.lead(3)
		depth := f.r.Lookup("orders").LookupChannel("c").Stats().Depth
		if depth < 2001 {
			t.Errorf("%d messages are there", depth)
		}
		sub, err := f.r.Lookup("orders").Subscribe("c", topic.SubscribeOptions{Owner: nobody{}, MsgTimeout: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		sub.SetReady(10000)
		got := int64(0)
		for range 1000 {
			var d topic.Delivery
			for sub.Take(&d) > 0 {
				for _, r := range d.Runs {
					got += count(r.Frames)
				}
				d.Clear()
			}
			if got == depth {
				break
			}
			time.Sleep(time.Millisecond)
			synctest.Wait()
		}
		if got != depth {
			t.Errorf("%d of %d messages came", got, depth)
		}
		held, _ := f.s.standby.OnDisk()
		if err := f.r.Lookup("orders").LookupChannel("c").Empty(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * idlePace)
		synctest.Wait()
		if left, free := f.s.standby.OnDisk(); held == 0 || left > 0 || free < held {
			t.Errorf("%d of %d bytes are held on disk when nobody needs them, %d come free", left, held, free)
		}
	})
}

// TestAReplicaThatIsSlowToWriteIsHeldUp: what follows takes no more memory than it may, also when nobody has moved anything to the disk yet.
func TestAReplicaThatIsSlowToWriteIsHeldUp(t *testing.T) {
	fault := vfs.NewFaulty(vfs.NewMem())
	s, err := New(Options{Number: 1, Segments: disk{fault}, Room: 1 << 10, Limit: 8 << 10, Stop: func(err error) { t.Error(err) }}, nil, replica.Point{Index: 1, Term: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	number, most := uint64(0), int64(0)
	apply := func(kind journal.Kind, payload []byte) {
		number++
		s.Committed(&replica.Committed{Index: 1 + number, Term: 1, First: number, Count: 1, Data: journal.AppendRecord(journal.AppendFirst(nil, number), kind, payload),
			At: replica.Point{Index: 1 + number, Term: 1, Record: number}})
		held, _ := s.Bytes()
		most = max(most, held)
	}
	apply(journal.KindChange, journal.AppendChange(nil, journal.Change{Op: journal.OpCreateTopic, Topic: 1, Name: "orders"}))
	body := make([]byte, 500)
	message := binary.BigEndian.AppendUint32(nil, uint32(messageFrame-4+len(body)))
	message = append(append(append(message, 0, 0, 0, 2), make([]byte, 10)...), "0000000000000001"...)
	message = append(message, body...)
	for i := range 200 {
		apply(journal.KindPublish, append(journal.AppendPublish(nil, journal.Publish{Topic: 1, First: topic.Position(1 + i), Count: 1}), message...))
	}
	if most > 17<<10 || s.failed != nil {
		t.Errorf("%d bytes were in memory: %v", most, s.failed)
	}
	fault.SetRules(vfs.Rule{Ops: vfs.OpWrite | vfs.OpCreate, Err: syscall.ENOSPC})
	apply(journal.KindChange, journal.AppendChange(nil, journal.Change{Op: journal.OpCreateChannel, Topic: 1, Channel: 2, Name: "c"}))
	for i := range 100 { // it goes on while there is memory
		apply(journal.KindPublish, append(journal.AppendPublish(nil, journal.Publish{Topic: 1, First: topic.Position(201 + i), Count: 1}), message...))
	}
	if s.failed != nil {
		t.Error(s.failed)
	}
	full := func(why error) bool {
		s.spilled(why)
		return s.Full()
	}
	if full(syscall.ENOSPC) || !full(syscall.EIO) || full(nil) {
		t.Errorf("is it full? without room %v, with segments that fail %v, before they have failed %v", full(syscall.ENOSPC), full(syscall.EIO), full(nil))
	}
}

// TestAGroupWithoutRoomTakesNoPublishes: it says why, all else goes on, and what was taken before counts no more as held once it is finished.
func TestAGroupWithoutRoomTakesNoPublishes(t *testing.T) {
	run(t, func(f *fixture) {
		f.s.Close()
		why := errors.New("disks are nearly full")
		var short atomic.Pointer[error]
		f.o = Options{Segments: disk{vfs.NewMem()}, Short: func() error {
			if p := short.Load(); p != nil {
				return *p
			}
			return nil
		}}
		f.open(nil, replica.Point{Index: 1, Term: 1})
		f.create("orders", 1)
		f.a.lead(2)
		if _, err := f.r.Lookup("orders").Channel("c"); err != nil {
			t.Fatal(err)
		}
		if err := f.publish("orders"); err != nil {
			t.Fatal(err)
		}
		short.Store(&why)
		if err := f.publish("orders"); !errors.Is(err, why) || !topic.Refuses(err) {
			t.Errorf("a publish: %v", err)
		}
		if err := f.r.Lookup("orders").LookupChannel("c").Empty(); err != nil {
			t.Errorf("a channel cannot be emptied: %v", err)
		}
		time.Sleep(3 * idlePace)
		if held, _ := f.s.Bytes(); held > 0 {
			t.Errorf("%d bytes are held that nobody needs", held)
		}
		short.Store(nil)
		if err := f.publish("orders"); err != nil {
			t.Errorf("with room again: %v", err)
		}
	})
}
