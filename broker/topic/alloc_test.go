package topic

import (
	"runtime"
	"testing"
	"time"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/vfs"
)

// idleLog takes records as the node's log does, and writes them nowhere.
type idleLog struct{ at journal.Offset }

func (l *idleLog) Append(_ journal.Kind, head, body []byte) journal.Offset {
	before := l.at
	l.at.Offset += int64(len(head) + len(body))
	return before
}

func (l *idleLog) End() journal.Offset               { return l.at }
func (l *idleLog) Commit(journal.Offset, bool) error { return nil }
func (l *idleLog) Err() error                        { return nil }
func (l *idleLog) Gap() error                        { return nil }

// flowAt is newFlow at a level of durability. The log and the file system cost nothing.
func flowAt(t testing.TB, level Level, size int) *flow {
	cfg := config()
	cfg.Journal, cfg.Segments = new(idleLog), keptSegments{vfs.NewMem()}
	cfg.Level = func(string) Level { return level }
	f := &flow{t: t, topic: mustTopic(t, start(t, cfg), "t"), body: make([]byte, 200), size: size}
	f.sub = mustSubscribe(t, f.topic, "c", 2*size, SubscribeOptions{MsgTimeout: time.Hour})
	return f
}

// take takes the messages of one batch and makes their answers.
func (f *flow) take() {
	f.answers = f.answers[:0]
	for len(f.answers) < f.size {
		if f.sub.Take(&f.delivery) == 0 {
			f.t.Fatal("nothing to take")
		}
		for _, run := range f.delivery.Runs {
			for frames := run.Frames; len(frames) > 0; {
				m := first(frames)
				frames = frames[len(m):]
				f.answers = append(f.answers, Answer{ID: m.MustID()})
			}
		}
		f.delivery.Clear()
	}
}

// answer gives the same answer to all that was taken.
func (f *flow) answer(verb Verb) {
	for i := range f.answers {
		f.answers[i].Verb, f.answers[i].Err = verb, nil
	}
	f.sub.Apply(f.answers, nil)
	for i := range f.answers {
		if err := f.answers[i].Err; err != nil {
			f.t.Fatal(err)
		}
	}
}

// steps is a message's whole way, each step with all messages of a batch.
func (f *flow) steps() []step {
	return []step{
		{"publish", f.publish},
		{"take", f.take},
		{"touch", func() { f.answer(Touch) }},
		{"requeue", func() { f.answer(Requeue) }},
		{"take again", f.take},
		{"finish", func() { f.answer(Finish) }},
	}
}

type step struct {
	name string
	do   func()
}

func mallocs(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs
}

// Each step of a message's way allocates nothing, at any level. Only the blocks that hold the messages are new from time to
// time, one for over a thousand messages, and what belongs to a block.
func TestNoStepAllocates(t *testing.T) {
	const size, rounds = 100, 300
	for _, level := range []Level{Memory, Disk, Fsync} {
		t.Run(level.String(), func(t *testing.T) {
			f := flowAt(t, level, size)
			sum, within := make(map[string]uint64), make(map[string]int)
			for round := range 2 * rounds {
				for _, s := range f.steps() {
					n := mallocs(s.do)
					if round < rounds {
						continue // buffers grow to their full size
					}
					sum[s.name] += n
					if n == 0 {
						within[s.name]++
					}
				}
			}
			for _, s := range f.steps() {
				perMessage := float64(sum[s.name]) / (rounds * size)
				if perMessage > 0.02 || within[s.name] < rounds*8/10 {
					t.Errorf("%s: %.4f allocations for a message, none in %d of %d batches", s.name, perMessage, within[s.name], rounds)
				}
			}
		})
	}
}

// BenchmarkSteps measures each step of a message's way alone; ns/message is what counts.
func BenchmarkSteps(b *testing.B) {
	const size = 200
	for _, level := range []Level{Memory, Disk} {
		for i, measured := range flowAt(b, level, size).steps() {
			b.Run(level.String()+"/"+measured.name, func(b *testing.B) {
				f := flowAt(b, level, size)
				list := f.steps()
				var took time.Duration
				b.ReportAllocs()
				for b.Loop() {
					for j, s := range list {
						began := time.Now()
						s.do()
						if j == i {
							took += time.Since(began)
						}
					}
				}
				b.ReportMetric(float64(took.Nanoseconds())/float64(b.N*size), "ns/message")
			})
		}
	}
}
