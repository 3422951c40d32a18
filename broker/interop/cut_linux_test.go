package interop

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
	"brokerd/protocol/prototest"
)

// TestEveryAcknowledgementOutlivesAPowerCut cuts the power of a broker at level fsync under producers that publish as fast as they
// can. All that was acknowledged counts, whenever it was read.
func TestEveryAcknowledgementOutlivesAPowerCut(t *testing.T) {
	t.Parallel()
	v := newVolume(t, "ext4", 256)
	b := newBroker(t, "brokerd", "brokerd", filepath.Join(v.dir, "data"), "--durability=fsync")
	acked, late := 0, 0
	n := max(1, rounds(t)/2)
	for round := range n {
		b.Start(t)
		if round == 0 {
			b.Create(t, topic, channel)
		}
		p := publishFast(t, b, fmt.Sprint(round))
		<-time.After(time.Duration(50+rand.IntN(200)) * time.Millisecond) // a random moment is what is tested
		cut := time.Now()
		v.powerCut(t, b)
		p.all.Wait()
		b.Start(t)
		got := drainOf(t, b, topic, channel)
		var lost []string
		for body, at := range p.acked {
			if at.After(cut) {
				late++
			}
			if !got[body] {
				lost = append(lost, fmt.Sprintf("%q, %v", body, at.Sub(cut)))
			}
		}
		acked += len(p.acked)
		if len(lost) > 0 {
			t.Errorf("round %d: lost are, with when their acknowledgement was read behind the cut: %s", round, strings.Join(lost, "; "))
		}
		b.Stop(t)
	}
	t.Logf("%d cuts: %d messages were acknowledged, of which %d read that when the cut had begun", n, acked, late)
}

// fastPublishers publish over raw connections until these break.
type fastPublishers struct {
	all sync.WaitGroup

	mu    sync.Mutex
	acked map[string]time.Time
}

// publishFast starts publishers whose bodies begin with a label.
func publishFast(t *testing.T, b *cmdtest.Process, label string) *fastPublishers {
	t.Helper()
	p := &fastPublishers{acked: map[string]time.Time{}}
	for i := range 16 {
		c := prototest.Dial(t, "tcp", b.TCP)
		p.all.Go(func() {
			for n := 0; ; n++ {
				body := fmt.Sprintf("%s %d %d", label, i, n)
				if errors.Join(c.Write(prototest.Pub(topic, body)), expect(c, "OK")) != nil {
					return
				}
				p.mu.Lock()
				p.acked[body] = time.Now()
				p.mu.Unlock()
			}
		})
	}
	return p
}
