package interop

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/cmd/cmdtest"
)

// acksOf is what stock producers of one topic were told: one at each broker, which publishes one message after the other and dials again when it must.
type acksOf struct {
	mu    sync.Mutex
	acked map[string][]string // by producer, in order
}

func (a *acksOf) produce(t *testing.T, address, topic, who string, quit <-chan struct{}) {
	dial := func() *nsq.Producer {
		p, err := nsq.NewProducer(address, cmdtest.ClientConfig())
		if err != nil {
			t.Error(err)
			return nil
		}
		p.SetLogger(nil, 0)
		return p
	}
	p := dial()
	defer func() { p.Stop() }()
	pace := time.NewTicker(10 * time.Millisecond)
	defer pace.Stop()
	for n := 1; ; n++ {
		select {
		case <-quit:
			return
		case <-pace.C:
		}
		body := fmt.Sprintf("%s %d", who, n)
		if p.Publish(topic, []byte(body)) != nil { // its broker was killed: a producer that dials again races with its own end
			p.Stop()
			p = dial()
			continue
		}
		a.mu.Lock()
		a.acked[who] = append(a.acked[who], body)
		a.mu.Unlock()
	}
}

func (a *acksOf) count(who string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.acked[who])
}

// postMessage posts a message and returns the status and the answer.
func postMessage(t *testing.T, b *cmdtest.Process, path, body string) (status int, text string) {
	t.Helper()
	r, err := http.Post("http://"+b.HTTP+path, "", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	answer, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(answer)
}

// TestAcksOfReplicatedTopicsUnderKills: stock producers publish to topics with each way of acks, at each broker, while leaders are killed. Of what was answered nothing is
// lost with acks all; with 1 and 0 only what a broker had answered that was killed may be. What comes comes once, in the order of each producer.
func TestAcksOfReplicatedTopicsUnderKills(t *testing.T) {
	t.Parallel()
	m := foundMembers(t)
	ways := []string{"0", "1", "all"}
	topics := map[string]*acksOf{}
	for i, acks := range ways {
		name := "acks-" + acks
		topics[name] = &acksOf{acked: map[string][]string{}}
		carryOut(t, m.brokers[i], "/topic/create?topic="+name+"&replicas=3")
		m.awaitServed(t, name, nil) // with its channel
		cmdtest.Eventually(t, "the option is set", time.Minute, func() bool {
			r, err := http.Post("http://"+m.brokers[(i+1)%3].HTTP+"/topic/config?topic="+name, "", strings.NewReader(fmt.Sprintf(`{"acks":%q}`, acks)))
			if err != nil {
				return false
			}
			defer r.Body.Close()
			return r.StatusCode == http.StatusOK
		})
	}
	quit := make(chan struct{})
	var producers sync.WaitGroup
	for name, of := range topics {
		for i, b := range m.brokers {
			producers.Go(func() { of.produce(t, b.TCP, name, fmt.Sprint("p", i), quit) })
		}
	}
	more := func(but int) {
		t.Helper()
		for name, of := range topics {
			for i := range m.brokers {
				who := fmt.Sprint("p", i)
				before := of.count(who)
				cmdtest.Eventually(t, name+" goes on at "+m.brokers[i].Label, time.Minute, func() bool { return i == but || of.count(who) > before+10 })
			}
		}
	}
	more(-1)
	killed := map[string]bool{}
	kills := []string{"acks-1", "acks-0", "acks-all"}
	if os.Getenv("BROKERD_CRASH_ROUNDS") == "" {
		kills = kills[:1]
	}
	for _, name := range kills {
		leader := m.awaitServed(t, name, nil)
		at := slices.Index(m.brokers, leader)
		killed[fmt.Sprint("p", at)] = true
		leader.Kill(t)
		more(at)
		leader.Start(t)
		m.awaitWhole(t, m.brokers)
		more(-1)
	}
	close(quit)
	producers.Wait()
	for name, of := range topics {
		all := map[string]bool{}
		leader := m.awaitServed(t, name, nil)
		last, tries := "", 0
		cmdtest.Eventually(t, "one more is taken, behind all others", time.Minute, func() bool {
			tries++
			last = fmt.Sprint("last ", tries)
			status, _ := postMessage(t, leader, "/pub?acks=all&topic="+name, last)
			return status == http.StatusOK
		})
		want := []string{last}
		for who, list := range of.acked {
			for _, body := range list {
				if all[body] = true; name == "acks-all" || !killed[who] {
					want = append(want, body)
				}
			}
		}
		got := gather(t, leader.TCP, name, want)
		next, seen := map[string]int{}, map[string]bool{}
		for _, body := range got {
			var who string
			var n int
			if _, err := fmt.Sscanf(body, "%s %d", &who, &n); err != nil || seen[body] {
				t.Fatalf("%s: %q came, %v, before: %v", name, body, err, seen[body])
			}
			if n <= next[who] {
				t.Errorf("%s: %q comes behind %d", name, body, next[who])
			}
			next[who], seen[body] = n, true
		}
		lost := 0
		for body := range all {
			if !seen[body] {
				lost++
			}
		}
		t.Logf("%s: %d acknowledged, %d of them lost with brokers that were killed", name, len(all), lost)
	}
	for _, b := range m.brokers {
		b.Stop(t)
	}
}
