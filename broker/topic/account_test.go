package topic

import (
	"bytes"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// large returns a body that is not kept in flight, told apart by its first byte.
func large(i int) []byte { return bytes.Repeat([]byte{byte('a' + i)}, 2*largeBody) }

// got takes all that a consumer may have, and returns the first bytes of bodies that are as they were, with their attempts.
func got(t *testing.T, s *Subscription) (text string, answers []Answer) {
	t.Helper()
	var d Delivery
	for s.Take(&d) > 0 {
		for _, run := range d.Runs {
			for frames := run.Frames; len(frames) > 0; {
				f := first(frames)
				frames = frames[len(f):]
				body := f.Body()
				if !bytes.Equal(body, large(int(body[0]-'a'))) {
					t.Fatalf("a body of %d bytes is not what it was", len(body))
				}
				text += string(body[:1]) + string(rune('0'+max(run.Attempts, 1)))
				answers = append(answers, Answer{ID: f.MustID()})
			}
		}
		d.Clear()
	}
	return text, answers
}

// TestLargeBodiesInFlightAreReadAgain: a large message in flight keeps no body in memory, whether its node is in memory or on disk, and
// comes again whole, however it comes back.
func TestLargeBodiesInFlightAreReadAgain(t *testing.T) {
	for _, mem := range []int{0, 2, 1000} {
		synctest.Test(t, func(t *testing.T) {
			cfg := config()
			makeDurable(&cfg)
			cfg.MemQueueSize = mem
			topic := mustTopic(t, start(t, cfg), "t")
			s := mustSubscribe(t, topic, "c", 100, SubscribeOptions{MsgTimeout: time.Minute})
			for i := range 4 {
				var b Batch
				b.Add(large(i))
				if err := topic.Publish(&b); err != nil {
					t.Fatal(err)
				}
			}
			_, answers := got(t, s)
			if len(answers) != 4 {
				t.Fatalf("%d messages came", len(answers))
			}
			if _, n := s.channel.machine.Bytes(); n > 1000 {
				t.Errorf("%d bytes are kept in flight", n)
			}
			answers[0].Verb, answers[1].Verb, answers[1].Delay = Requeue, Requeue, time.Second
			s.Apply(answers[:2], nil)
			if text, _ := got(t, s); text != "a2" {
				t.Errorf("got %s after a requeue", text)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if text, _ := got(t, s); text != "b2" {
				t.Errorf("got %s after a delay", text)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			text, _ := got(t, s)
			if len(text) != 8 || text != "c2d2a3b3" {
				t.Errorf("got %s after the timeout", text)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = mustSubscribe(t, topic, "c", 100, SubscribeOptions{MsgTimeout: time.Minute})
			text, answers = got(t, s)
			if text != "c3d3a4b4" {
				t.Errorf("got %s after the connection was lost", text)
			}
			s.Apply(answers, nil)
			if held := s.channel.Stats().Held; held != 0 {
				t.Errorf("%d are left", held)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestMemoryIsBounded: beyond what the node may have in memory what waits goes to disk, and a consumer gets one message at a time until
// it answers; nothing is lost, and the account is empty in the end.
func TestMemoryIsBounded(t *testing.T) {
	const limit, count = 16 * largeBody, 20
	for _, level := range []Level{Memory, Disk} {
		synctest.Test(t, func(t *testing.T) {
			cfg := config()
			if level > Memory {
				makeDurable(&cfg)
			}
			cfg.MaxMemory, cfg.Queues = limit, folder(t.TempDir())
			r := start(t, cfg)
			topic := mustTopic(t, r, "t")
			s := mustSubscribe(t, topic, "c", 100, SubscribeOptions{})
			for i := range count {
				var b Batch
				b.Add(large(i))
				if err := topic.Publish(&b); err != nil {
					t.Fatal(err)
				}
			}
			if n := r.memory.waiting.Load(); n > limit/2+6*largeBody { // and what the node has that is appended to
				t.Errorf("%v: %d bytes wait in memory, limit %d", level, n, limit)
			}
			var all []byte
			most := int64(0)
			for {
				text, answers := got(t, s)
				if text == "" {
					break
				}
				most = max(most, r.memory.flying.Load())
				for i := 0; i < len(text); i += 2 {
					all = append(all, text[i])
				}
				s.Apply(answers, nil)
				synctest.Wait()
			}
			if most > limit/2+3*largeBody {
				t.Errorf("%v: %d bytes were in flight, limit %d", level, most, limit)
			}
			slices.Sort(all)
			if len(all) != count || len(slices.Compact(all)) != count {
				t.Errorf("%v: %d messages came, of %d", level, len(all), count)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := r.DeleteTopic("t"); err != nil {
				t.Fatal(err)
			}
			if w, f := r.memory.waiting.Load(), r.memory.flying.Load(); w != 0 || f != 0 {
				t.Errorf("%v: the account has %d waiting and %d in flight, with no topic", level, w, f)
			}
		})
	}
}
