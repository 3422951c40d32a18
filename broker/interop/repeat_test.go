package interop

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
)

// TestKilledBrokerStoresRepeatsOnce: go-nsq's producers, of which nothing is changed but the topic's text, repeat every publish that they got
// no OK for, while the broker is killed with SIGKILL again and again. In the end each key is in the topic once.
func TestKilledBrokerStoresRepeatsOnce(t *testing.T) {
	burden(t)
	b := newBroker(t, "brokerd", "brokerd-disk", t.TempDir(), "--mem-queue-size=200")
	storesRepeatsOnce(t, b, "disk", rounds(t), func() { b.Kill(t) })
}

func storesRepeatsOnce(t *testing.T, b *cmdtest.Process, level string, rounds int, end func()) {
	flags := b.Args
	reborn(b, flags, level)
	b.Args = append(b.Args, "--topic-options="+topic+" dedup_window=1h")
	b.Start(t)
	b.Create(t, topic, channel)
	const producers = 4
	var stop atomic.Bool
	var wg sync.WaitGroup
	var sent, repeated [producers]int
	for p := range producers {
		wg.Go(func() { sent[p], repeated[p] = repeatPublishes(t, b.TCP, p, &stop) })
	}
	for round := range rounds {
		<-time.After(time.Duration(30+rand.IntN(400)) * time.Millisecond) // a random moment is what is tested
		end()
		t.Logf("life %d: %s", round+2, reborn(b, flags, level))
		b.Args = append(b.Args, "--topic-options="+topic+" dedup_window=1h")
		b.Start(t)
	}
	before := b.Topic(t, topic).MessageCount
	cmdtest.Eventually(t, "publishes go on in the last life", time.Minute, func() bool { return b.Topic(t, topic).MessageCount > before+20 })
	stop.Store(true)
	wg.Wait()
	stored := storedBodies(t, b)
	all := 0
	for p := range producers {
		t.Logf("producer %d: %d messages, %d publishes were repeated", p, sent[p], repeated[p])
		for n := range sent[p] {
			if k := stored[fmt.Sprintf("%d-%d", p, n)]; k != 1 {
				t.Errorf("message %d of producer %d is there %d times", n, p, k)
			}
		}
		all += sent[p]
	}
	if len(stored) != all {
		t.Errorf("%d messages are there, %d were sent", len(stored), all)
	}
	stats := b.Topic(t, topic)
	t.Logf("the last life has passed over %d messages", stats.Duplicates)
}

// repeatPublishes publishes one after the other, each until it is answered OK, and returns how many messages there were, and how many
// publishes failed.
func repeatPublishes(t *testing.T, address string, number int, stop *atomic.Bool) (sent, repeated int) {
	producer, err := newProducer(address)
	if err != nil {
		t.Error(err)
		return 0, 0
	}
	defer producer.Stop()
	for ; !stop.Load(); sent++ {
		body := fmt.Sprintf("%d-%d", number, sent)
		words := topic + " dedup=" + body
		var bodies [][]byte
		if sent%3 == 2 { // three messages with one key
			bodies = [][]byte{[]byte(body), fmt.Appendf(nil, "%d-%d", number, sent+1), fmt.Appendf(nil, "%d-%d", number, sent+2)}
		}
		for {
			if bodies != nil {
				err = producer.MultiPublish(words, bodies)
			} else {
				err = producer.Publish(words, []byte(body))
			}
			if err == nil {
				break
			}
			repeated++
			<-time.After(5 * time.Millisecond) // between two tries
		}
		if bodies != nil {
			sent += 2
		}
	}
	return sent, repeated
}

// storedBodies returns how often each body is in the topic, by looking at all of it.
func storedBodies(t *testing.T, b *cmdtest.Process) map[string]int {
	t.Helper()
	found := map[string]int{}
	eachStored(t, b, func(m *httpapi.Message) { found[*m.Body]++ })
	return found
}

// eachStored calls f with all messages that are in the topic.
func eachStored(t *testing.T, b *cmdtest.Process, f func(m *httpapi.Message)) {
	t.Helper()
	for cursor := ""; ; {
		resp, err := http.Get("http://" + b.HTTP + "/topic/messages?topic=" + topic + "&limit=1000" + cursor)
		if err != nil {
			t.Fatal(err)
		}
		var m httpapi.Messages
		err = json.NewDecoder(resp.Body).Decode(&m)
		if resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v", resp.Status, err)
		}
		for i := range m.Messages {
			f(&m.Messages[i])
		}
		if cursor = "&cursor=" + m.Next; m.End {
			return
		}
	}
}
