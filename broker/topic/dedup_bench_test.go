package topic

import (
	"encoding/binary"
	"sync/atomic"
	"syscall"
	"testing"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/vfs"
)

// noLog takes records and forgets them.
type noLog struct{ at atomic.Int64 }

func (l *noLog) Append(_ journal.Kind, head, body []byte) journal.Offset {
	return journal.Offset{Offset: l.at.Add(int64(len(head) + len(body)))}
}
func (l *noLog) Commit(journal.Offset, bool) error { return nil }
func (l *noLog) End() journal.Offset               { return journal.Offset{Offset: l.at.Load()} }
func (l *noLog) Err() error                        { return nil }
func (l *noLog) Gap() error                        { return nil }

// processorTime returns what the process has used, in nanoseconds: on a machine that does other work as well the clock says nothing.
func processorTime(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkKeyedPublish is batches of a hundred messages of 200 bytes to a topic in a log that costs nothing: without keys, with an option that no
// message uses, with a key each while they are remembered and when each lets another go, and with keys taken out of bodies.
func BenchmarkKeyedPublish(b *testing.B) {
	const size = 100
	for _, c := range []struct {
		name, options string
		key           bool
	}{
		{"plain", "", false}, {"window", `{"dedup_window":"1d"}`, false}, {"keyed", `{"dedup_window":"1d","dedup_max":100000000}`, true},
		{"full", `{"dedup_window":"1d","dedup_max":1000000}`, true}, {"bytes", `{"dedup_window":"1d","dedup_from":"bytes:0-16"}`, false},
	} {
		b.Run(c.name, func(b *testing.B) {
			cfg := config()
			cfg.Journal, cfg.Segments, cfg.Level = &noLog{}, keptSegments{vfs.NewMem()}, func(string) Level { return Disk }
			r := NewRegistry(cfg)
			r.Start()
			topic := mustTopic(b, r, "t")
			if c.options != "" {
				setTopicOptions(b, topic, c.options)
			}
			mustSubscribe(b, topic, "c#ephemeral", 0, SubscribeOptions{}) // it keeps a few, so that nodes go
			body, text := make([]byte, 200), make([]byte, 16)
			var batch Batch
			n := uint64(0)
			publish := func() {
				for range size {
					n++
					binary.BigEndian.PutUint64(body, n)
					mark := batch.Mark()
					batch.Add(body)
					if c.key {
						binary.BigEndian.PutUint64(text, n)
						batch.Deduplicate(mark, "t", string(text), false)
					}
				}
				if err := topic.Publish(&batch); err != nil {
					b.Fatal(err)
				}
			}
			for c.name == "full" && n < 1_000_000 {
				publish()
			}
			used := processorTime(b)
			for b.Loop() {
				publish()
			}
			b.ReportMetric(float64(processorTime(b)-used)/float64(b.N*size), "cpu-ns/message")
			b.StopTimer()
			if err := r.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
