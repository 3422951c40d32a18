package interop

import (
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/cmd/cmdtest"
)

// stays is a stock consumer that is connected to one broker, and notes when it loses that connection.
type stays struct {
	*nsq.Consumer
	at    *cmdtest.Process
	limit int
	most  atomic.Int64 // messages that it was seen to have at once
	got   atomic.Int64

	mu    sync.Mutex
	lost  []string
	dying bool // its broker is being killed
}

// Output is go-nsq's, for its log.
func (s *stays) Output(_ int, line string) error {
	if strings.Contains(line, "IO error") || strings.Contains(line, "re-connecting") {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.dying {
			s.lost = append(s.lost, line)
		}
	}
	return nil
}

func (s *stays) setDying(dying bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dying = dying
}

// watch notes how many messages it has at once, until quit is closed.
func (s *stays) watch(quit <-chan struct{}) {
	for {
		st := s.Stats()
		s.most.Store(max(s.most.Load(), int64(st.MessagesReceived)-int64(st.MessagesFinished)-int64(st.MessagesRequeued)))
		select {
		case <-quit:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// stay connects a stock consumer to a broker. What it handles r is told of.
func (r *replicated) stay(t *testing.T, at *cmdtest.Process, limit int) *stays {
	t.Helper()
	cfg := cmdtest.ClientConfig()
	cfg.LookupdPollInterval, cfg.MaxInFlight, cfg.LookupdPollJitter = 200*time.Millisecond, limit, 0
	cfg.MaxBackoffDuration = 0
	consumer, err := nsq.NewConsumer("orders", "c", cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &stays{Consumer: consumer, at: at, limit: limit}
	consumer.SetLogger(s, nsq.LogLevelInfo)
	consumer.AddConcurrentHandlers(nsq.HandlerFunc(func(m *nsq.Message) error {
		s.got.Add(1)
		time.Sleep(time.Millisecond) // the work, so that some are in flight when the lead goes
		return r.HandleMessage(m)
	}), limit)
	if err := consumer.ConnectToNSQD(at.TCP); err != nil {
		t.Fatal(err)
	}
	r.done.Go(func() { s.watch(r.quit) })
	return s
}

// foreign is ten consumers of another library, connected to one broker.
type foreign struct {
	name      string
	at        *cmdtest.Process
	got, lost atomic.Int64 // messages, and connections
}

// follow has a script consume at a broker, and counts what it says that it has handled.
func (r *replicated) follow(t *testing.T, cmd *exec.Cmd, name string, at *cmdtest.Process) *foreign {
	t.Helper()
	cmd.Args = append(cmd.Args, at.TCP, "orders", "c")
	f := &foreign{name: name, at: at}
	startScript(t, cmd, func(line string) {
		if line == "lost" {
			f.lost.Add(1)
		}
		if body, ok := strings.CutPrefix(line, "end "); ok {
			f.got.Add(1)
			r.mu.Lock()
			defer r.mu.Unlock()
			r.finished[body]++
		}
	})
	return f
}

// TestStockConsumersStayWhileLeadersDie: go-nsq's consumers are connected to all three brokers, and ten of each other library to two of them, while
// whoever leads is killed again and again. Nothing that was acknowledged is lost, no consumer loses its connection but with its broker, and none of
// go-nsq's has more at once than its max_in_flight.
func TestStockConsumersStayWhileLeadersDie(t *testing.T) {
	m := foundMembers(t, patient)
	carryOut(t, m.brokers[0], "/topic/create?topic=orders&replicas=3")
	leader := m.awaitServed(t, "orders", nil)
	r := &replicated{m: m, client: http.Client{Timeout: 3 * time.Second}, quit: make(chan struct{}), acked: map[string]bool{}, sent: map[string]bool{}, finished: map[string]int{}}
	var all []*stays
	for i, b := range m.brokers {
		all = append(all, r.stay(t, b, 2+3*i))
	}
	var others []*foreign
	for i, library := range libraries { // at those that do not lead yet
		t.Run(library.name, func(sub *testing.T) {
			at := m.brokers[(slices.Index(m.brokers, leader)+1+i)%3]
			others = append(others, r.follow(t, library.script(sub, "order/reader"), library.name, at))
		})
	}
	for _, prefix := range []string{"a ", "b ", "c ", "d "} {
		r.done.Go(func() { r.publish(prefix) })
	}
	const rounds = 3
	for round := range rounds {
		r.awaitAll(t, all, nil, others)
		lost := map[*foreign]int64{}
		for _, f := range others {
			lost[f] = f.lost.Load()
		}
		for _, s := range all {
			s.setDying(s.at == leader)
		}
		began := time.Now()
		if round == rounds-1 { // in good order
			leader.Signal(t, syscall.SIGTERM)
		} else {
			leader.Kill(t)
		}
		next := m.awaitServed(t, "orders", leader)
		r.awaitAll(t, all, leader, others)
		t.Logf("round %d: %s has ended; every consumer of the others has got messages after %s", round, leader.Label, time.Since(began).Round(time.Millisecond))
		for _, f := range others {
			if n := f.lost.Load() - lost[f]; f.at != leader && n > 0 || f.at == leader && n == 0 {
				t.Errorf("round %d: the consumers of %s have lost %d connections", round, f.name, n)
			}
		}
		if !leader.Ended() {
			leader.Wait(t, time.Minute)
		}
		leader.Start(t)
		m.awaitWhole(t, m.brokers)
		cmdtest.Eventually(t, "its consumer is back", time.Minute, func() bool {
			for _, s := range all {
				if s.at == leader && s.Stats().Connections != 1 {
					return false
				}
			}
			return true
		})
		leader = next
	}
	r.awaitAll(t, all, nil, others)
	close(r.quit)
	r.done.Wait()
	cmdtest.Eventually(t, "all that was acknowledged is finished", time.Minute, func() bool { _, missing := r.count(); return missing == 0 })
	for _, s := range all {
		if len(s.lost) > 0 {
			t.Errorf("the consumer at %s has lost its connection: %q", s.at.Label, s.lost)
		}
		if n := s.most.Load(); n > int64(s.limit) {
			t.Errorf("the consumer at %s had %d messages at once, and asked for %d", s.at.Label, n, s.limit)
		}
		s.Stop()
		<-s.StopChan
	}
	acked, _ := r.count()
	again := 0
	for _, n := range r.finished {
		again += n - 1
	}
	t.Logf("%d acknowledged, %d refused or unknown, %d delivered again, none lost", acked, r.refused, again)
	if len(r.strange) > 0 {
		t.Errorf("never sent: %q", r.strange)
	}
	for _, b := range m.brokers {
		b.Stop(t)
	}
}

// awaitAll waits until each consumer has got messages from now on, but those of a broker.
func (r *replicated) awaitAll(t *testing.T, all []*stays, but *cmdtest.Process, others []*foreign) {
	t.Helper()
	type mark struct {
		what string
		n    *atomic.Int64
		was  int64
	}
	var marks []mark
	for _, s := range all {
		if s.at != but {
			marks = append(marks, mark{"the consumer at " + s.at.Label, &s.got, s.got.Load()})
		}
	}
	for _, f := range others {
		if f.at != but {
			marks = append(marks, mark{"a consumer of " + f.name, &f.got, f.got.Load()})
		}
	}
	for _, m := range marks {
		cmdtest.Eventually(t, fmt.Sprint(m.what, " gets messages"), time.Minute, func() bool { return m.n.Load() >= m.was+10 })
	}
}
