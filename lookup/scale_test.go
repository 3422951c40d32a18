package lookup

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"brokerd/protocol/httpapi"
	"brokerd/protocol/lookupwire"
)

// fleet is many brokers of a simulation, each with its connection.
type fleet struct {
	conns []net.Conn
	wg    sync.WaitGroup
	stop  chan struct{}
	pings chan int // one count for each broker that ended
}

// launch connects the brokers; each registers its topics, all in one write, and waits for the answers.
func launch(t testing.TB, addr string, brokers int, topics func(broker int) []string) *fleet {
	t.Helper()
	f := &fleet{conns: make([]net.Conn, brokers), stop: make(chan struct{}), pings: make(chan int, brokers)}
	errs := make(chan error, brokers)
	for i := range brokers {
		f.wg.Go(func() { errs <- f.join(i, addr, topics(i)) })
	}
	f.wg.Wait()
	for range brokers {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func (f *fleet) join(i int, addr string, topics []string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	f.conns[i] = conn
	out := lookupwire.AppendIdentify([]byte(lookupwire.Magic), info(fmt.Sprintf("broker-%04d.example.com", i)))
	for _, topic := range topics {
		out = lookupwire.AppendRegister(out, topic, "archive")
		out = lookupwire.AppendRegister(out, topic, "metrics")
	}
	if _, err := conn.Write(out); err != nil {
		return err
	}
	in := bufio.NewReader(conn)
	for range 1 + 2*len(topics) {
		reply, err := lookupwire.ReadReply(in, nil, 1<<10)
		if err != nil {
			return err
		}
		if refusal := lookupwire.ReplyError(reply); refusal != nil {
			return refusal
		}
	}
	return nil
}

// ping has each broker ping at the interval, spread over it, until land.
func (f *fleet) ping(every time.Duration) {
	for i, conn := range f.conns {
		f.wg.Go(func() {
			n, line, reply := 0, lookupwire.AppendPing(nil), make([]byte, 6)
			defer func() { f.pings <- n }()
			next := time.NewTimer(every * time.Duration(i) / time.Duration(len(f.conns)))
			defer next.Stop()
			for {
				select {
				case <-f.stop:
					return
				case <-next.C:
				}
				next.Reset(every)
				if _, err := conn.Write(line); err != nil {
					return
				}
				if _, err := io.ReadFull(conn, reply); err != nil {
					return
				}
				n++
			}
		})
	}
}

// land ends the pings, disconnects, and returns how many pings were answered.
func (f *fleet) land() (pings int) {
	close(f.stop)
	f.wg.Wait()
	close(f.pings)
	for n := range f.pings {
		pings += n
	}
	for _, conn := range f.conns {
		conn.Close()
	}
	return pings
}

func distinctTopics(topics int) func(int) []string {
	return func(broker int) (names []string) {
		for i := range topics {
			names = append(names, fmt.Sprintf("topic-%04d-%03d", broker, i))
		}
		return names
	}
}

func sharedTopics(topics int) func(int) []string {
	one := distinctTopics(topics)(0)
	return func(int) []string { return one }
}

// The same simulation as BenchmarkScale, small, in one process, and looked at closely.
func TestManyBrokersAtOnce(t *testing.T) {
	s := start(t)
	distinct, shared := distinctTopics(20), sharedTopics(5)
	f := launch(t, s.TCPAddr().String(), 50, func(i int) []string { return append(distinct(i+1), shared(i)...) })
	f.ping(5 * time.Millisecond)
	var nodes httpapi.Nodes
	if s.get(t, "/nodes", &nodes); len(nodes.Producers) != 50 {
		t.Errorf("%d nodes", len(nodes.Producers))
	}
	for _, n := range nodes.Producers {
		if len(n.Topics) != 25 || !slices.IsSorted(n.Topics) {
			t.Errorf("%s has %v", n.BroadcastAddress, n.Topics)
		}
	}
	var topics httpapi.Topics
	if s.get(t, "/topics", &topics); len(topics.Topics) != 50*20+5 || !slices.IsSorted(topics.Topics) {
		t.Errorf("%d topics", len(topics.Topics))
	}
	if own, all := s.producers(t, "topic-0007-003"), s.producers(t, "topic-0000-003"); own != 1 || all != 50 {
		t.Errorf("%d producers of a topic of one, %d of a topic of all", own, all)
	}
	f.land()
	for s.producers(t, "topic-0000-003") > 0 { // until the lookup has noticed
	}
}

// BenchmarkScale holds the registrations of 1,000 brokers with 100 topics of two channels each in a lookup of its own process,
// has them ping ten times as often as NSQ's brokers do, and measures /lookup of one topic meanwhile, over a kept
// connection. An operation is one /lookup.
func BenchmarkScale(b *testing.B) {
	b.Run("distinct", func(b *testing.B) { benchmarkScale(b, distinctTopics(100), "topic-0500-050") })
	b.Run("shared", func(b *testing.B) { benchmarkScale(b, sharedTopics(100), "topic-0000-050") })
}

func benchmarkScale(b *testing.B, topics func(int) []string, topic string) {
	child := startChild(b)
	began := time.Now()
	f := launch(b, child.tcp, 1000, topics)
	joined := time.Since(began)
	joinedCPU := child.cpu(b)
	f.ping(1500 * time.Millisecond)
	client := &http.Client{}
	defer client.CloseIdleConnections()
	url := "http://" + child.http + "/lookup?topic=" + topic
	var times []time.Duration
	var size int
	began = time.Now()
	for b.Loop() {
		asked := time.Now()
		resp, err := client.Get(url)
		if err != nil {
			b.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			b.Fatal(resp.StatusCode, err)
		}
		resp.Body.Close()
		times = append(times, time.Since(asked))
		size = len(body)
	}
	b.StopTimer()
	asked := time.Since(began)
	cpu := child.cpu(b) - joinedCPU
	slices.Sort(times)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(times[len(times)/2]), "p50-ms")
	b.ReportMetric(ms(times[len(times)*99/100]), "p99-ms")
	b.ReportMetric(float64(size), "answer-B")
	b.ReportMetric(child.rss(b), "rss-MB")
	b.ReportMetric(joined.Seconds(), "join-s")
	b.ReportMetric(joinedCPU.Seconds(), "join-cpu-s")
	b.ReportMetric(100*cpu.Seconds()/asked.Seconds(), "cpu-%")
	measureIdle(b, child, f)
}

// measureIdle adds what the pings alone cost, and the slow questions that admins ask.
func measureIdle(b *testing.B, child *child, f *fleet) {
	before, began := child.cpu(b), time.Now()
	<-time.After(3 * time.Second) // what is measured is the CPU in this time
	b.ReportMetric(100*(child.cpu(b)-before).Seconds()/time.Since(began).Seconds(), "cpu-pings-%")
	for _, uri := range []string{"nodes", "topics"} {
		began := time.Now()
		resp, err := http.Get("http://" + child.http + "/" + uri)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		b.ReportMetric(float64(time.Since(began).Microseconds())/1000, uri+"-ms")
	}
	if pings := f.land(); pings < len(f.conns) {
		b.Errorf("%d pings answered", pings)
	}
}

const childVariable = "LOOKUP_TEST_CHILD"

// child is a lookup in a process of its own, so that its memory and CPU are its own.
type child struct {
	tcp, http string
	pid       int
}

func startChild(b *testing.B) *child {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childVariable+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			b.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			b.Error(err)
		}
	})
	c := &child{pid: cmd.Process.Pid}
	if _, err := fmt.Fscanln(out, &c.tcp, &c.http); err != nil {
		b.Fatal(err)
	}
	return c
}

// runChild is what TestMain does in the child.
func runChild() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s, err := New(func() Options {
		opts := DefaultOptions()
		opts.TCPAddress, opts.HTTPAddress = "127.0.0.1:0", "127.0.0.1:0"
		return opts
	}(), slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelInfo})))
	if err == nil {
		err = s.Start(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(s.TCPAddr(), s.HTTPAddr())
	<-ctx.Done()
	if err := s.Shutdown(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// cpu returns what the child has used so far.
func (c *child) cpu(b *testing.B) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.pid))
	if err != nil {
		b.Skip("no figures of another process here: ", err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	ticks := 0
	for _, field := range fields[11:13] { // user and system time
		n, err := strconv.Atoi(field)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// rss returns the child's resident memory in MB.
func (c *child) rss(b *testing.B) float64 {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", c.pid))
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	if err != nil {
		b.Fatal(err)
	}
	return float64(pages*os.Getpagesize()) / 1e6
}
