package topic

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestOneKeyHasOneActiveConsumer: where all messages have one key a consumer is what elsewhere is the single active one. Consumers come, time out, all of
// them at once too, and close with what they have. One has a message at a time, and while one is ready one has: it is the next in order.
func TestOneKeyHasOneActiveConsumer(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			const messages = 30
			rng := rand.New(rand.NewPCG(seed, 28))
			topic, c := orderedTopic(t, &keptLog{})
			var all []string
			for i := range messages {
				all = append(all, fmt.Sprint("key=m", i))
			}
			publishOrdered(t, topic, all...)
			var subs []*Subscription
			f, done := flight{}, 0
			var holder *Subscription
			active := func(after string) {
				synctest.Wait()
				for _, s := range subs {
					if got := f.takeAll(s); len(got) > 0 {
						if len(got) > 1 || holder != nil || got[0] != fmt.Sprint("m", done) {
							t.Fatalf("seed %d, after %s: %v comes, another consumer has one: %v; %d are finished", seed, after, got, holder != nil, done)
						}
						holder = s
					}
				}
				if flying := c.Stats().InFlight; flying > 1 || (flying == 1) != (holder != nil) || holder == nil && len(subs) > 0 && done < messages {
					t.Fatalf("seed %d, after %s: %d in flight with %d consumers, %d are finished", seed, after, flying, len(subs), done)
				}
			}
			for range 300 {
				switch k := rng.IntN(6); {
				case k < 2 && len(subs) < 5:
					subs = append(subs, mustSubscribe(t, topic, "c", 1+rng.IntN(3), SubscribeOptions{MsgTimeout: time.Second}))
					active("one has come")
				case k == 2 && len(subs) > 0:
					i := rng.IntN(len(subs))
					if subs[i] == holder {
						holder = nil
					}
					if err := subs[i].Close(); err != nil {
						t.Fatal(err)
					}
					subs = slices.Delete(subs, i, i+1)
					active("one has left")
				case k == 3:
					time.Sleep(1100 * time.Millisecond)
					holder = nil
					active("all have timed out")
				case holder != nil && k == 4 && rng.IntN(2) == 0:
					s := holder
					holder = nil
					f.answer(t, s, fmt.Sprint("m", done), Requeue, 0)
					active("REQ")
				case holder != nil && k == 5 && rng.IntN(3) == 0 && done < messages-5:
					s := holder
					holder = nil
					f.answer(t, s, fmt.Sprint("m", done), Finish, 0)
					done++
					active("FIN")
				}
			}
			if done == 0 {
				t.Errorf("seed %d: nothing was finished", seed)
			}
			for _, s := range subs {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			subs, holder = []*Subscription{mustSubscribe(t, topic, "c", 2, SubscribeOptions{})}, nil
			for active("all but one have left"); done < messages; active("FIN") {
				holder = nil
				f.answer(t, subs[0], fmt.Sprint("m", done), Finish, 0)
				done++
			}
			if err := subs[0].Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
