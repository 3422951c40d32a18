package interop

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"brokerd/cmd/cmdtest"
	"brokerd/protocol/prototest"
)

// How long the file system is frozen, how long the same is measured before, and what is allowed.
const (
	frozenFor  = 10 * time.Second
	warmFor    = 2 * time.Second
	beforeFor  = 4 * time.Second
	probeEvery = 20 * time.Millisecond
	frozenP99  = 20 * time.Millisecond
	frozenMost = time.Second // on any machine, as long as it can do better before
)

// probe is something that must not wait for the log's disk, and how long it took each time.
type probe struct {
	name string
	do   func() error

	mu    sync.Mutex
	took  []time.Duration
	wrong error
}

// run repeats the probe until quit is closed.
func (p *probe) run(quit <-chan struct{}) {
	pace := time.NewTicker(probeEvery)
	defer pace.Stop()
	for {
		select {
		case <-quit:
			return
		case <-pace.C:
		}
		began := time.Now()
		err := p.do()
		took := time.Since(began)
		p.mu.Lock()
		for ; took > 0; took -= probeEvery { // whoever had asked while it took so long would have waited as well
			p.took = append(p.took, took)
		}
		if p.wrong == nil {
			p.wrong = err
		}
		p.mu.Unlock()
	}
}

// figures returns the median, the 99th percentile and the longest since the last call, and the first error of all.
func (p *probe) figures() (median, p99, longest time.Duration, n int, wrong error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	took := p.took
	p.took = nil
	if len(took) == 0 {
		return 0, 0, 0, 0, p.wrong
	}
	slices.Sort(took)
	return took[len(took)/2], took[(len(took)*99+99)/100-1], took[len(took)-1], len(took), p.wrong
}

// httpProbe asks a broker for something over a connection of its own that is kept.
func httpProbe(t *testing.T, b *cmdtest.Process, method, path string) *probe {
	client := &http.Client{Transport: &http.Transport{}, Timeout: 2 * frozenFor}
	t.Cleanup(client.CloseIdleConnections)
	return &probe{name: method + " " + path, do: func() error {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+b.HTTP+path, strings.NewReader("message"))
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}}
}

// dialProbe opens a raw connection to a broker that waits longer than a freeze.
func dialProbe(t *testing.T, b *cmdtest.Process) *prototest.Client {
	c := prototest.Dial(t, "tcp", b.TCP)
	c.Timeout = 2 * frozenFor
	return c
}

// expect reads the next frame and holds that it says that.
func expect(c *prototest.Client, want string) error {
	f, err := c.Read()
	if err == nil && f.Type != prototest.Message && string(f.Payload) != want {
		err = fmt.Errorf("told %v instead of %s", f, want)
	}
	return err
}

// probes are what a broker must go on with: whatever topics at level memory need, and every route that needs no disk.
func probes(t *testing.T, b *cmdtest.Process) []*probe {
	t.Helper()
	publisher, traveller, consumer, deferrer := dialProbe(t, b), dialProbe(t, b), dialProbe(t, b), dialProbe(t, b)
	consumer.Send("SUB memory.travels c\nRDY 100\n")
	consumer.Expect("OK")
	fresh := 0
	list := []*probe{
		{name: "PUB to memory", do: func() error {
			return errors.Join(publisher.Write(prototest.Pub("memory.published", "x")), expect(publisher, "OK"))
		}},
		{name: "DPUB to memory", do: func() error {
			return errors.Join(deferrer.Write("DPUB memory.published 1000\n"+prototest.Body("x")), expect(deferrer, "OK"))
		}},
		{name: "PUB to memory, until it is consumed", do: func() error {
			if err := errors.Join(traveller.Write(prototest.Pub("memory.travels", "x")), expect(traveller, "OK")); err != nil {
				return err
			}
			f, err := consumer.Read()
			if err == nil && f.Type == prototest.Message {
				err = consumer.Write("FIN " + f.Message().ID + "\n")
			}
			return err
		}},
		{name: "SUB to a new topic at memory", do: func() error {
			c := prototest.Dial(t, "tcp", b.TCP)
			defer c.Conn.Close()
			c.Timeout = 2 * frozenFor
			fresh++
			return errors.Join(c.Write(fmt.Sprintf("SUB memory.new%d#ephemeral c#ephemeral\n", fresh)), expect(c, "OK"))
		}},
	}
	for _, path := range []string{"/ping", "/info", "/stats", "/stats?format=json", "/stats?format=json&topic=disk", "/config/nsqlookupd_tcp_addresses",
		"/metrics", "/storage", "/debug/pprof/cmdline"} {
		list = append(list, httpProbe(t, b, http.MethodGet, path))
	}
	return append(list, httpProbe(t, b, http.MethodPost, "/pub?topic=memory.posted"), httpProbe(t, b, http.MethodPost, "/mpub?topic=memory.posted"))
}

// durableLoad publishes some 2,500 messages a second to a topic at level disk and consumes them. It ends with stop, which returns what
// was acknowledged and is not consumed.
type durableLoad struct {
	acked, got atomic.Int64
	quit       chan struct{}
	all        sync.WaitGroup
}

func loadDisk(t *testing.T, b *cmdtest.Process) *durableLoad {
	t.Helper()
	l := &durableLoad{quit: make(chan struct{})}
	consumer := dialProbe(t, b)
	consumer.Send("SUB disk c\nRDY 2000\n")
	consumer.Expect("OK")
	l.all.Go(func() {
		for {
			f, err := consumer.Read()
			if err != nil {
				return
			}
			if f.Type == prototest.Message {
				l.got.Add(1)
				if consumer.Write("FIN "+f.Message().ID+"\n") != nil {
					return
				}
			}
		}
	})
	var publishers sync.WaitGroup
	for range 5 {
		p := dialProbe(t, b)
		publishers.Go(func() {
			pace := time.NewTicker(2 * time.Millisecond)
			defer pace.Stop()
			for {
				select {
				case <-l.quit:
					return
				case <-pace.C:
				}
				if errors.Join(p.Write(prototest.Pub("disk", filler)), expect(p, "OK")) != nil {
					return
				}
				l.acked.Add(1)
			}
		})
	}
	l.all.Go(func() {
		publishers.Wait()
		for end := time.Now().Add(20 * time.Second); l.got.Load() < l.acked.Load() && time.Now().Before(end); {
			<-time.After(10 * time.Millisecond) // between two looks
		}
		consumer.Conn.Close()
	})
	return l
}

// stop ends the load once all is consumed that was acknowledged.
func (l *durableLoad) stop() (acked, got int64) {
	close(l.quit)
	l.all.Wait()
	return l.acked.Load(), l.got.Load()
}

// TestAFrozenDiskHoldsUpNothingElse freezes the file system of a broker's log for 10 s while 2,500 messages a second go through a
// topic at level disk. What needs no disk must go on: each probe with a 99th percentile under 20 ms. Then all goes on, and nothing
// that was acknowledged is lost.
//
// It measures by the clock, so that it says most on a machine that has nothing else to do. What was measured just before the freeze is
// told beside. A machine that is too busy then is held to one second, which no probe may be held up for.
func TestAFrozenDiskHoldsUpNothingElse(t *testing.T) {
	if os.Getenv("BROKERD_CRASH_FREEZE") == "" {
		t.Skip("NOT RUN: it measures for 20 s and wants the machine for itself: make crash runs it")
	}
	v := newVolume(t, "ext4", 512)
	b := newBroker(t, "brokerd", "brokerd", filepath.Join(v.dir, "data"), "--durability=disk", "--topic-durability=memory.*=memory",
		"--mem-queue-size=1000000")
	b.Start(t)
	load, list := loadDisk(t, b), probes(t, b)
	quit := make(chan struct{})
	var running sync.WaitGroup
	for _, p := range list {
		running.Go(func() { p.run(quit) })
	}
	<-time.After(warmFor)
	for _, p := range list {
		p.figures()
	}
	<-time.After(beforeFor)
	var table strings.Builder
	rows := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(rows, "before: p50\tp99\tlongest\tfrozen: n\tp50\tp99\tlongest\t  \t")
	before, most := make([]string, len(list)), frozenMost
	busy, held := false, false
	for i, p := range list {
		median, p99, longest, _, _ := p.figures()
		before[i] = fmt.Sprintf("%s\t%s\t%s", ms(median), ms(p99), ms(longest))
		busy = busy || p99 > frozenP99/2
		most = max(most, 2*longest)
	}
	if err := v.freeze(); err != nil {
		t.Skipf("NOT RUN: this file system cannot be frozen: %v", err)
	}
	thawed := false
	thaw := func() {
		if !thawed {
			thawed = true
			if err := v.thaw(); err != nil {
				t.Error(err)
			}
		}
	}
	defer thaw() // or nothing could end
	<-time.After(frozenFor)
	for path, want := range map[string]int{"/ping": http.StatusInternalServerError, "/ready": http.StatusServiceUnavailable} {
		if got := ask(t, b, http.MethodGet, path, ""); got.status != want || !strings.Contains(got.body, "the disk has not answered for ") {
			t.Errorf("while the disk is frozen %s answers %v", path, got)
		}
	}
	thaw()
	<-time.After(time.Second) // what hung is counted with it
	slow := 0
	for i, p := range list {
		median, p99, longest, n, wrong := p.figures()
		fmt.Fprintf(rows, "%s\t%d\t%s\t%s\t%s\t  %s\t\n", before[i], n, ms(median), ms(p99), ms(longest), p.name)
		if p99 > frozenP99 {
			slow++
		}
		held = held || longest > most
		if wrong != nil {
			t.Errorf("%s: %v", p.name, wrong)
		}
	}
	close(quit)
	running.Wait()
	if got := ask(t, b, http.MethodGet, "/ping", ""); got.status != http.StatusOK {
		t.Errorf("the disk answers, and /ping says %v", got)
	}
	acked, got := load.stop()
	rows.Flush()
	t.Logf("milliseconds; %d messages acknowledged at level disk\n%s", acked, &table)
	switch {
	case held:
		t.Errorf("something was held up for longer than %v while the disk was frozen", most)
	case slow > 0 && busy:
		t.Logf("NOT JUDGED by %v: the machine was too busy before the freeze already; nothing was held up for %v", frozenP99, most)
	case slow > 0:
		t.Errorf("%d of %d were slower than %v at the 99th percentile while the disk was frozen", slow, len(list), frozenP99)
	}
	if acked < 10000 || got < acked {
		t.Errorf("%d messages were acknowledged at level disk, %d were consumed", acked, got)
	}
	b.Stop(t)
}

// ms writes a duration in milliseconds.
func ms(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000) }
