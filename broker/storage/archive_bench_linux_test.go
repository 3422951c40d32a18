package storage

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"brokerd/broker/topic"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/manifest"
	"brokerd/diskqueue/segment"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

// Of a terabyte that is kept: files of 16 MiB, of 64 blocks each.
const (
	archiveFiles  = 1 << 16
	archiveBlocks = 64
	perBlock      = 100 // messages
)

// bigFolder is a folder whose topic keeps very much: in sparse files, but for one in the middle, which has messages.
type bigFolder struct {
	b      *testing.B
	dir    string
	began  int64 // when the first message came
	middle int64 // when the first message of the file came that has some
}

func newBigFolder(b *testing.B, files int) *bigFolder {
	f := &bigFolder{b: b, dir: b.TempDir(), began: time.Now().Add(-time.Duration(files) * time.Second).UnixNano()}
	k, r := f.open()
	r.Start()
	k.Start(r)
	t, err := r.Topic("t")
	if err == nil {
		_, err = t.Channel("c")
	}
	if err == nil {
		err = t.SetOptions(map[string]json.RawMessage{"retain_time": json.RawMessage(`"8760h"`)})
	}
	f.must(err)
	f.close(k, r)
	s, err := lookAt(vfs.OS(), f.dir, false, false)
	f.must(err)
	for _, state := range s.state.Topics {
		f.fill(state, files, s.m.Folder.Short())
	}
	f.name(s)
	return f
}

func (f *bigFolder) must(err error) {
	f.b.Helper()
	if err != nil {
		f.b.Fatal(err)
	}
}

func (f *bigFolder) open() (*Engine, *topic.Registry) {
	f.b.Helper()
	log := slog.New(slog.DiscardHandler)
	k, recovery, err := Open(Options{Dir: f.dir, SyncEvery: 1000, SyncTimeout: time.Second, Log: log})
	f.must(err)
	r := topic.NewRegistry(topic.Config{MemQueueSize: 1000, MaxMsgTimeout: time.Hour, MaxReqTimeout: time.Hour, Journal: k.Journal(),
		Segments: k.Segments(), Need: k.Need, Log: log, Level: func(string) topic.Level { return topic.Disk }})
	f.must(r.Recover(recovery))
	return k, r
}

func (f *bigFolder) close(k *Engine, r *topic.Registry) {
	f.b.Helper()
	f.must(r.Close())
	f.must(k.Close())
}

// fill makes the files of a topic, a second of messages each.
func (f *bigFolder) fill(t *journal.Topic, files int, folder [8]byte) {
	f.b.Helper()
	dir := filepath.Join(f.dir, segmentsFolder, fmt.Sprint(t.ID))
	f.must(os.MkdirAll(dir, 0o755))
	next := journal.Position(1)
	for i := range files {
		number := uint32(i + 1)
		path := filepath.Join(dir, segment.FileName(number))
		began := f.began + int64(i)*int64(time.Second)
		size := int64(segment.DefaultFileSize)
		if i == files/2 {
			f.middle = began
			size = f.messages(path, number, next, t.ID, folder)
		} else {
			f.must(os.WriteFile(path, nil, 0o600))
			f.must(os.Truncate(path, size))
		}
		t.Files = append(t.Files, journal.File{Node: journal.Node{First: next, Count: archiveBlocks * perBlock, File: number, Length: uint32(size - 4096)},
			Size: uint32(size), Oldest: began, Newest: began + int64(time.Second) - 1, Low: uint64(next), High: uint64(next) + archiveBlocks*perBlock - 1})
		next += archiveBlocks * perBlock
	}
	t.Floor, t.Next, t.Stamp = 1, next, time.Now().UnixNano()
	for _, c := range t.Channels {
		c.After, c.Offered = next-1, next-1
	}
}

// messages makes a file with messages, and returns its size.
func (f *bigFolder) messages(path string, number uint32, first journal.Position, topic uint32, folder [8]byte) int64 {
	f.b.Helper()
	scratch := f.b.TempDir()
	f.must(os.WriteFile(filepath.Join(scratch, segment.FileName(number-1)), nil, 0o600))
	s, _, _, err := segment.Open(segment.Options{FS: vfs.OS(), Dir: scratch, Folder: folder, Topic: topic})
	f.must(err)
	body := make([]byte, segment.DefaultFileSize/archiveBlocks/perBlock-100)
	for i := range archiveBlocks {
		var frames []byte
		for j := range perBlock {
			n := i*perBlock + j
			at := f.middle + int64(n)*int64(time.Second)/(archiveBlocks*perBlock)
			frames = protocol.AppendMessageHeader(frames, at, 1, protocol.MessageID(int(first)+n), len(body))
			frames = append(frames, body...)
		}
		_, err := s.Append(uint64(first)+uint64(i*perBlock), perBlock, frames)
		f.must(err)
	}
	size := s.Size(number)
	f.must(s.Close())
	f.must(os.Rename(filepath.Join(scratch, segment.FileName(number)), path))
	return size
}

// name writes the state as the newest checkpoint.
func (f *bigFolder) name(s *sight) {
	f.b.Helper()
	number := s.m.Checkpoints[0].Number + 1
	c, err := createCheckpoint(vfs.OS(), f.dir, s.m.Folder.Short(), number)
	f.must(err)
	w := journal.NewWriter(c)
	w.Head(s.state.NextID, s.state.From, s.state.Time)
	for _, t := range s.state.Topics {
		w.Topic(t)
		for _, ch := range t.Channels {
			w.Channel(ch)
		}
	}
	_, err = w.Finish()
	f.must(err)
	f.must(c.finish(nil))
	f.must(c.rename())
	s.m.Name(c.entry(s.state.From))
	f.must(manifest.Write(vfs.OS(), f.dir, &s.m))
}

// processor returns the processor's time that the process has used, which others on the machine change little.
func processor() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkStartWithATerabyteKept is a start on a folder with a terabyte of history, in sparse files, and on one with a file of it.
func BenchmarkStartWithATerabyteKept(b *testing.B) {
	for _, files := range []int{1, archiveFiles} {
		b.Run(fmt.Sprint(files), func(b *testing.B) {
			f := newBigFolder(b, files)
			var before, after runtime.MemStats
			cpu, n := time.Duration(0), 0
			for b.Loop() {
				b.StopTimer()
				runtime.GC()
				runtime.ReadMemStats(&before)
				b.StartTimer()
				began := processor()
				k, r := f.open()
				cpu, n = cpu+processor()-began, n+1
				b.StopTimer()
				runtime.GC()
				runtime.ReadMemStats(&after)
				if got := r.OnDisk(); got != int64(files) {
					b.Fatalf("%d entries", got)
				}
				f.must(r.Close())
				f.must(k.Abandon())
				b.StartTimer()
			}
			b.ReportMetric(float64(cpu.Milliseconds())/float64(n), "cpu-ms/op")
			b.ReportMetric(float64(after.HeapAlloc)-float64(before.HeapAlloc), "heap-bytes")
		})
	}
}

// BenchmarkChannelAtAPlace makes a channel at a time in the middle of a terabyte of history, and one where the topic is now: the
// difference is what the search and the look at the message there cost; the rest is that a channel is synced before it counts.
func BenchmarkChannelAtAPlace(b *testing.B) {
	f := newBigFolder(b, archiveFiles)
	k, r := f.open()
	r.Start()
	k.Start(r)
	defer f.close(k, r)
	at := f.middle + int64(600*time.Millisecond)
	i := 0
	b.Run("middle", func(b *testing.B) {
		for b.Loop() {
			i++
			p, err := topic.ParsePlace(time.Unix(0, at).UTC().Format(time.RFC3339Nano), time.Now())
			f.must(err)
			_, made, m, err := r.Lookup("t").ChannelAt(fmt.Sprint("c", i), p)
			if f.must(err); !made || m.Messages < archiveFiles/2*archiveBlocks*perBlock-archiveBlocks*perBlock {
				b.Fatalf("%v %+v", made, m)
			}
		}
	})
	b.Run("now", func(b *testing.B) {
		for b.Loop() {
			i++
			_, err := r.Lookup("t").Channel(fmt.Sprint("c", i))
			f.must(err)
		}
	})
}
