package topic

import (
	"testing"
	"time"
)

// flow publishes batches and takes and finishes them, on one goroutine.
type flow struct {
	t        testing.TB
	topic    *Topic
	sub      *Subscription
	body     []byte
	size     int
	batch    Batch
	delivery Delivery
	answers  []Answer
}

func newFlow(t testing.TB, size int) *flow {
	topic := mustTopic(t, start(t, config()), "t")
	f := &flow{t: t, topic: topic, body: make([]byte, 200), size: size}
	f.sub = mustSubscribe(t, topic, "c", 2*size, SubscribeOptions{MsgTimeout: time.Hour})
	return f
}

func (f *flow) publish() {
	for range f.size {
		f.batch.Add(f.body)
	}
	if err := f.topic.Publish(&f.batch); err != nil {
		f.t.Fatal(err)
	}
}

func (f *flow) consume() {
	for left := f.size; left > 0; {
		n := f.sub.Take(&f.delivery)
		if n == 0 {
			f.t.Fatal("nothing to take")
		}
		left -= n
		f.answers = f.answers[:0]
		for _, run := range f.delivery.Runs {
			for frames := run.Frames; len(frames) > 0; {
				m := first(frames)
				frames = frames[len(m):]
				id, _ := m.ID()
				f.answers = append(f.answers, Answer{ID: id, Verb: Finish})
			}
		}
		f.delivery.Clear()
		f.sub.Apply(f.answers, nil)
	}
}

// A message costs no allocation on its whole way; what is allocated is the blocks of bytes, one for over a thousand messages.
func TestMessagePathAllocatesNothing(t *testing.T) {
	f := newFlow(t, 100)
	round := func() { f.publish(); f.consume() }
	for range 200 { // the blocks grow to their full size
		round()
	}
	const rounds = 200
	perRound := testing.AllocsPerRun(rounds, round)
	if perMessage := perRound / float64(f.size); perMessage > 0.01 {
		t.Errorf("%.3f allocations for a message", perMessage)
	}
}

func BenchmarkPublish(b *testing.B) {
	for _, c := range []struct {
		name string
		size int
	}{{"one", 1}, {"batch of 200", 200}} {
		b.Run(c.name, func(b *testing.B) {
			f := newFlow(b, c.size)
			b.ReportAllocs()
			for b.Loop() {
				f.publish()
				b.StopTimer()
				f.consume()
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*c.size), "ns/message")
		})
	}
}

func BenchmarkPublishTakeFinish(b *testing.B) {
	for _, c := range []struct {
		name string
		size int
	}{{"one", 1}, {"batch of 200", 200}} {
		b.Run(c.name, func(b *testing.B) {
			f := newFlow(b, c.size)
			b.ReportAllocs()
			for b.Loop() {
				f.publish()
				f.consume()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*c.size), "ns/message")
		})
	}
}
