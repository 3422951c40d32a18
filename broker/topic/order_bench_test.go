package topic

import (
	"fmt"
	"testing"
	"time"

	"brokerd/diskqueue/journal"
)

// BenchmarkOrder publishes batches of 50 with 10,000 keys to 64 consumers, which take in turn and finish what they took a while before.
func BenchmarkOrder(b *testing.B) {
	for _, c := range []struct{ name, options string }{{"without keys", ""}, {"with keys", `{"key_from":"body"}`}, {"in order", `{"ordered":true,"key_from":"body"}`}} {
		b.Run(c.name, func(b *testing.B) {
			topic := mustTopic(b, durableRegistry(b, nothingKept{&keptLog{}}), "t")
			mustChannel(b, topic, "c")
			if c.options != "" {
				setTopicOptions(b, topic, c.options)
			}
			const consumers, keys, size = 64, 10_000, 50
			var subs [consumers]*Subscription
			var held [consumers][]Answer
			for i := range subs {
				subs[i] = mustSubscribe(b, topic, "c", 100, SubscribeOptions{MsgTimeout: time.Hour})
			}
			bodies := make([][]byte, keys)
			for i := range bodies {
				bodies[i] = fmt.Appendf(nil, "%016d", i)
			}
			var batch Batch
			var d Delivery
			n, finished := uint64(0), 0
			b.ResetTimer()
			for finished < b.N {
				for range size {
					n++
					batch.Add(bodies[n*0x9e3779b97f4a7c15>>32%keys])
				}
				if err := topic.Publish(&batch); err != nil {
					b.Fatal(err)
				}
				for range 2 {
					i := int(n/size) % consumers
					s := subs[i]
					if s.Apply(held[i], nil); len(held[i]) > 0 {
						finished += len(held[i])
						held[i] = held[i][:0]
					}
					for s.Take(&d) > 0 {
						for _, run := range d.Runs {
							for frames := run.Frames; len(frames) > 0; {
								m := first(frames)
								frames = frames[len(m):]
								held[i] = append(held[i], Answer{ID: m.MustID(), Verb: Finish})
							}
						}
						d.Clear()
					}
				}
			}
			b.StopTimer()
			for _, s := range subs {
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// nothingKept is a log that keeps nothing, for who only wants to know what the rest costs.
type nothingKept struct{ *keptLog }

func (nothingKept) Append(kind journal.Kind, head, body []byte) journal.Offset {
	return journal.Offset{}
}
