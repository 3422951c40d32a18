package broker

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/histories"
	"brokerd/broker/replica"
	"brokerd/broker/shard"
	"brokerd/broker/simnet"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/prototest"
)

// The simulator of brokers: three to five whole brokers that are one cluster, in virtual time, on disks and a network in memory, under four clients, while
// a seed kills them, takes their power, cuts their network and fails their disks. What clients did and saw is judged as a history.
//
// Goroutines are not ordered by the seed: a run that fails is understood from what it prints, and not repeated bit for bit.
//
// A broker whose process is paused neither hears nor says anything, its log is not written, and its groups have no ticks, while its clock goes on: see
// simpause_test.go. What else it does by time it does meanwhile, where a process that stood would do it late, and all at once: so of what such timers
// bring about nothing is known from here but what leaves the broker or reaches its log, and nothing of the order in which goroutines go on that
// were computing. Tests with processes pause all of it.

var (
	simSeeds  = flag.Int("broker-seeds", 1, "how many runs of the simulator of brokers there are")
	simSeed   = flag.Uint64("broker-seed", 1, "the first of their seeds")
	simDisks  = flag.Bool("broker-disks", false, "disks fail as well: a replica of the map that has met that stands still until its broker starts again, so that a run may not get well")
	simRounds = flag.Int("broker-rounds", 2, "how many times each does something to brokers")
	simCount  = flag.Int("broker-count", 0, "how many brokers there are; 0: 3, 4 or 5, by the seed")
)

const (
	simTopic   = "orders"
	simChannel = "work"
	simKept    = "kept"
	simOutside = "127.0.0.9" // host of clients
)

// sim is one run.
type sim struct {
	t       *testing.T
	rng     *rand.Rand // of the one goroutine that plans
	n       *simnet.Net
	brokers []*simBroker
	sizes   sizes
	h       *histories.History
	began   time.Time
	quit    chan struct{}
	work    sync.WaitGroup
	wild    *wild // nil: there are no wild clients
}

// simBroker is one broker: a disk that stays, and a server that may be there.
type simBroker struct {
	s     *sim
	host  string
	opts  Options
	log   *lastLines
	disk  *vfs.Mem
	fault *vfs.Faulty

	late   atomic.Int64                              // how long syncs of its log take
	sent   atomic.Pointer[func(simnet.Sent)]         // is told what it sends; nil: nobody is
	wrote  atomic.Pointer[func(op vfs.Op, n string)] // is told what is done to its disk, before that
	starts atomic.Bool                               // it is being started
	reach  [3]atomic.Int64                           // see simReach

	mu     sync.Mutex
	server *Server // nil: it does not run
}

// lastLines keeps the end of a log, without what wild clients ask for.
type lastLines struct {
	whole atomic.Int64 // how often this broker was sent all that there is of a group
	mu    sync.Mutex
	lines [][]byte
}

func (l *lastLines) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("level=INFO msg=http ")) || bytes.Contains(b, []byte("level=INFO msg=act ")) {
		return len(b), nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if bytes.Contains(b, []byte(" was sent whole, as older")) {
		l.whole.Add(1)
	}
	l.lines = append(l.lines, bytes.Clone(b))
	l.lines = l.lines[max(0, len(l.lines)-80):]
	return len(b), nil
}

func (l *lastLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(bytes.Join(l.lines, nil))
}

func newSim(t *testing.T, seed uint64) *sim { return newSimOf(t, seed, 3) }

func newSimOf(t *testing.T, seed uint64, count int) *sim {
	s := &sim{t: t, rng: rand.New(rand.NewPCG(seed, 0xb40)), n: simnet.New(seed), h: histories.New(), began: time.Now(), quit: make(chan struct{})}
	if seed%2 == 1 {
		s.sizes.room = 200 // nearly all goes to the disk
	}
	s.n.Observe(s.observe)
	var hosts, peers []string
	for i := range count {
		hosts = append(hosts, fmt.Sprint("127.0.0.", 1+i))
		peers = append(peers, hosts[i]+":4170")
	}
	for _, host := range hosts {
		o := DefaultOptions()
		o.TCPAddress, o.HTTPAddress, o.HTTPSAddress, o.BroadcastAddress, o.DataPath = host+":4150", host+":4151", "", host, t.TempDir()
		o.ClusterName, o.ClusterListen, o.ClusterPeers = "prod", host+":4170", peers
		o.ShutdownTimeout, o.LogFileSize = time.Second, 64<<10
		disk := vfs.NewMem()
		if err := disk.MkdirAll(o.DataPath); err != nil {
			t.Fatal(err)
		}
		s.brokers = append(s.brokers, &simBroker{s: s, host: host, opts: o, log: &lastLines{}, disk: disk})
	}
	return s
}

// shrink has all be small: the log is let go of, and who was away for a while is sent all that there is.
func (s *sim) shrink() {
	s.sizes = sizes{room: 200, segment: 4 << 10, checkpoint: 12 << 10, behind: 1, piece: 2 << 10}
	for _, b := range s.brokers {
		b.opts.LogFileSize = 8 << 10
	}
}

// vary has brokers be started with settings of their own, as while these are being changed on one after the other.
func (s *sim) vary() {
	for _, b := range s.brokers {
		b.opts.ClusterElection = []time.Duration{b.opts.ClusterElection, b.opts.ClusterElection, 500 * time.Millisecond, 2 * time.Second}[s.rng.IntN(4)]
		b.opts.ClusterWait = []time.Duration{b.opts.ClusterWait, b.opts.ClusterWait, time.Second, 200 * time.Millisecond}[s.rng.IntN(4)]
		b.opts.ClusterFast = []string{"on", "on", "on", "off"}[s.rng.IntN(4)]
	}
}

// start starts a broker on what its disk has, unless it runs, or somebody is about to.
func (b *simBroker) start() {
	if b.now() != nil || b.starts.Swap(true) {
		return
	}
	defer b.starts.Store(false)
	b.s.n.Begin(b.host)
	b.fault = vfs.NewFaulty(b.disk)
	b.fault.Observe(b.touches)
	server, err := New(b.opts, slog.New(slog.NewTextHandler(b.log, nil)), new(slog.LevelVar))
	if err == nil {
		server.around = world{listen: b.s.n.Listen, dial: b.s.n.DialFrom(b.host), files: b.fault, stand: func() { b.s.n.Stand(b.host) }, sizes: b.s.sizes}
		err = server.Start(b.s.t.Context())
	}
	if err != nil {
		b.s.t.Fatalf("%s does not start: %v\n%s", b.host, err, b.log)
	}
	b.mu.Lock()
	b.server = server
	b.mu.Unlock()
}

// now returns the server, nil when it does not run.
func (b *simBroker) now() *Server {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.server
}

// kill ends the process at once, or the machine: nothing leaves it any more, and its disk is what it was at that moment, or what a power cut leaves.
func (b *simBroker) kill(power bool) {
	b.mu.Lock()
	server := b.server
	b.server = nil
	b.mu.Unlock()
	if server == nil {
		return
	}
	b.sent.Store(nil)
	b.wrote.Store(nil)
	b.tally(server)
	b.s.n.End(b.host, power)
	if power {
		b.disk = b.disk.CrashClone(b.s.rng)
	} else {
		b.disk = b.disk.KillClone()
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	_ = server.Shutdown(over) // into a network and a disk that are not there any more
}

// stop ends it as an operator does.
func (b *simBroker) stop() error {
	b.mu.Lock()
	server := b.server
	b.server = nil
	b.mu.Unlock()
	if server == nil {
		return nil
	}
	b.goOn() // one that stands does not hear that it is to stop
	b.tally(server)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return server.Shutdown(ctx)
}

// eventually waits for something in virtual time.
func (s *sim) eventually(what string, within time.Duration, holds func() bool) {
	s.t.Helper()
	for began := time.Now(); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > within {
			s.t.Errorf("within %v not: %s\n%s", within, what, s.h.Faults())
			for _, b := range s.brokers {
				s.t.Logf("%s:\n%s", b.host, b.log)
			}
			s.abort()
		}
	}
}

// abort ends all that runs, so that the bubble can end, and the test.
func (s *sim) abort() {
	select {
	case <-s.quit: // only what is left is being looked at
	default:
		close(s.quit)
	}
	for _, b := range s.brokers {
		b.goOn()
		b.kill(false)
	}
	s.work.Wait()
	s.t.FailNow()
}

// well reports whether all are members that have links to each other, and know who leads each group with topics.
func (s *sim) well() bool {
	for _, b := range s.brokers {
		server := b.now()
		if server == nil {
			return false
		}
		v := server.member.View(s.t.Context())
		if v.State != "member" || len(v.Nodes) != len(s.brokers) || server.member.Well(s.t.Context()) != nil {
			return false
		}
		for _, n := range v.Nodes {
			if !n.Self && !n.Linked {
				return false
			}
		}
	}
	return true
}

// leader returns the broker that leads the topic, as the one says that knows of the newest term; any, when nobody does.
func (s *sim) leader() *simBroker {
	found, newest := s.brokers[s.rng.IntN(len(s.brokers))], uint64(0)
	for _, b := range s.brokers {
		server := b.now()
		if server == nil {
			continue
		}
		v := server.member.View(s.t.Context())
		for _, g := range v.Groups {
			for _, in := range g.Topics {
				if in.Name != simTopic || g.Leader == "" || g.Term < newest {
					continue
				}
				for _, n := range v.Nodes {
					for _, o := range s.brokers {
						if n.Folder == g.Leader && simnet.HostOf(n.Address) == o.host {
							found, newest = o, g.Term
						}
					}
				}
			}
		}
	}
	return found
}

// dial connects a client to a broker.
func (s *sim) dial(at int) (*prototest.Client, error) {
	c, err := s.n.Dial(s.t.Context(), simOutside, s.brokers[at%len(s.brokers)].host+":4150")
	if err != nil {
		return nil, err
	}
	client := prototest.NewClient(s.t, c)
	client.Timeout = 8 * time.Second
	return client, client.Write(prototest.Magic)
}

// rest waits, and reports whether the work goes on.
func (s *sim) rest(d time.Duration) bool {
	select {
	case <-s.quit:
		return false
	case <-time.After(d):
		return true
	}
}

// publish is a client that publishes, at another broker after each error.
func (s *sim) publish(number int, rng *rand.Rand) {
	var c *prototest.Client
	at := number
	for n := 0; s.rest(time.Duration(10+rng.IntN(60)) * time.Millisecond); n++ {
		if c == nil {
			var err error
			if c, err = s.dial(at); err != nil {
				c = nil
				at++
				continue
			}
		}
		var bodies []string
		for i := range 1 + rng.IntN(3) {
			bodies = append(bodies, fmt.Sprintf("%d of %d, %d", i, number, n))
		}
		p := s.h.Publish(number, bodies...)
		acks := []string{"", "", "", " acks=all", " acks=1", " acks=0"}[rng.IntN(6)]
		err := c.Write(prototest.Mpub(simTopic+acks, bodies...))
		var f prototest.Frame
		if err == nil {
			f, err = c.Read()
		}
		ok := err == nil && f.Type == prototest.Response && string(f.Payload) == "OK"
		p.Answered(ok && acks != " acks=0" && acks != " acks=1") // else it is there once, or not at all
		if !ok {
			c.Conn.Close()
			c = nil
			at++
		}
	}
	if c != nil {
		c.Conn.Close()
	}
}

// subscribe has a client consume a channel at one broker after the other until quit, and gives it each message; while nothing comes for a second
// it goes to the next.
func (s *sim) subscribe(channel string, credit, at int, quit <-chan struct{}, handle func(prototest.Delivered)) {
	s.subscribeTo(simTopic, channel, credit, at, quit, handle)
}

func (s *sim) subscribeTo(topic, channel string, credit, at int, quit <-chan struct{}, handle func(prototest.Delivered)) {
	for ; ; at++ {
		select {
		case <-quit:
			return
		case <-time.After(50 * time.Millisecond):
		}
		c, err := s.dial(at)
		if err != nil {
			continue
		}
		c.Timeout = time.Second
		err = c.Write("IDENTIFY\n" + prototest.Body(`{"heartbeat_interval":60000,"msg_timeout":3000}`) + "SUB " + topic + " " + channel + "\n" + fmt.Sprintf("RDY %d\n", credit))
		for err == nil {
			var f prototest.Frame
			f, err = c.Read()
			if err != nil || f.Type == prototest.Error {
				break
			}
			if f.Type != prototest.Message {
				continue
			}
			m := f.Message()
			handle(m)
			err = c.Write("FIN " + m.ID + "\n")
			select {
			case <-quit:
				time.Sleep(200 * time.Millisecond) // else its broker may find that it has gone before it reads the FIN
				err = context.Canceled
			default:
			}
		}
		c.Conn.Close()
	}
}

// peek is a client that looks at the whole topic, at any broker, and goes on where it has ended: it is shown all that was acknowledged before.
func (s *sim) peek(rng *rand.Rand) {
	cursor, last := "", ""
	for s.rest(time.Duration(50+rng.IntN(300)) * time.Millisecond) {
		l := s.h.Look(8)
		status, m := s.look(rng.IntN(len(s.brokers)), "/channel/messages?consistent=true&limit=1000&channel="+simKept+"&topic="+simTopic+cursor)
		if status != http.StatusOK {
			continue
		}
		for _, one := range m.Messages {
			last = *one.Body
		}
		cursor = "&cursor=" + m.Next
		if m.End {
			l.Saw(last)
		}
	}
}

// look asks a broker for messages, and returns what it answers, 0 for nothing.
func (s *sim) look(at int, query string) (status int, m httpapi.Messages) {
	status, text := s.ask(at, "GET", query, "")
	if status == http.StatusOK {
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			s.t.Errorf("%s: %v: %s", query, err, text)
		}
	}
	return status, m
}

// ask makes a request of a broker, and returns what it answers, 0 for nothing.
func (s *sim) ask(at int, method, query, body string) (status int, text string) {
	dial := func(ctx context.Context, _, address string) (net.Conn, error) {
		return s.n.Dial(ctx, simOutside, address)
	}
	c := http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: 30 * time.Second}
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.brokers[at%len(s.brokers)].host+":4151"+query, strings.NewReader(body))
	if err != nil {
		s.t.Error(err)
		return 0, ""
	}
	r, err := c.Do(req)
	if err != nil {
		return 0, ""
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, ""
	}
	return r.StatusCode, string(b)
}

// consume is the client that works.
func (s *sim) consume() {
	s.subscribe(simChannel, 5, 0, s.quit, func(m prototest.Delivered) {
		s.h.Delivered(9, string(m.Body), m.Attempts)
		time.Sleep(time.Millisecond)
		s.h.Finished(string(m.Body))
	})
}

// list takes all from the channel that nobody has taken anything from.
func (s *sim) list() (list []string) {
	quit := make(chan struct{})
	var mu sync.Mutex
	var reader sync.WaitGroup
	end := sync.OnceFunc(func() {
		close(quit)
		reader.Wait()
	})
	defer end()
	seen := map[string]string{} // ids by body
	reader.Go(func() {
		s.subscribe(simKept, 1, 0, quit, func(m prototest.Delivered) {
			mu.Lock()
			defer mu.Unlock()
			switch body := string(m.Body); seen[body] {
			case "":
				seen[body] = m.ID
				list = append(list, body)
			case m.ID:
			default:
				s.t.Errorf("%q is in the topic twice, as %s and %s", body, seen[body], m.ID)
			}
			if m.Attempts > 1 {
				s.t.Errorf("%q came %d times, and nothing was done to brokers", m.Body, m.Attempts)
			}
		})
	})
	last, since := -1, time.Now()
	s.eventually("the channel is read", 5*time.Minute, func() bool {
		mu.Lock()
		defer mu.Unlock()
		if len(list) != last {
			last, since = len(list), time.Now()
		}
		return len(list) > 0 && time.Since(since) > 10*time.Second
	})
	end()
	return list
}

// prepare founds the cluster, and makes the topic with its channels.
func (s *sim) prepare() {
	for _, b := range s.brokers {
		b.start()
	}
	s.eventually("the three are one cluster", time.Minute, s.well)
	s.eventually("the topic is made", time.Minute, func() bool {
		return s.brokers[0].now().member.CreateTopic(s.t.Context(), simTopic, false) == nil
	})
	for _, channel := range []string{simChannel, simKept} {
		made := false
		s.eventually("channel "+channel+" is made", time.Minute, func() bool {
			for at := range s.brokers {
				c, err := s.dial(at)
				if err != nil {
					continue
				}
				if err = c.Write("SUB " + simTopic + " " + channel + "\n"); err == nil {
					f, err := c.Read()
					made = made || err == nil && f.Type == prototest.Response
				}
				c.Conn.Close()
			}
			return made
		})
	}
}

// run is a run: a few faults, one or two at a time, each of which is over before the next.
func (s *sim) run(rounds int) {
	s.prepare()
	for number := range 2 {
		rng := rand.New(rand.NewPCG(s.rng.Uint64(), 1))
		s.work.Go(func() { s.publish(number, rng) })
	}
	s.work.Go(s.consume)
	rng := rand.New(rand.NewPCG(s.rng.Uint64(), 3))
	s.work.Go(func() { s.peek(rng) })
	if s.wild != nil {
		s.wild.begin()
		for range 2 {
			rng := rand.New(rand.NewPCG(s.rng.Uint64(), 2))
			s.work.Go(func() { s.wild.run(rng) })
		}
		s.work.Go(s.wild.take)
	}
	for range rounds {
		time.Sleep(time.Duration(200+s.rng.IntN(1500)) * time.Millisecond)
		var undo []func()
		var begun []*histories.Fault
		for range 1 + s.rng.IntN(2) {
			kinds := len(simFaults)
			if !*simDisks {
				kinds -= simDiskFaults
			}
			f := simFaults[s.rng.IntN(kinds)]
			begun = append(begun, s.h.Begin("%s", f.name))
			undo = append(undo, f.do(s))
			time.Sleep(time.Duration(s.rng.IntN(3000)) * time.Millisecond)
		}
		for _, f := range slices.Backward(undo) { // each puts back what it found
			f()
		}
		s.eventually("all is well again", 2*time.Minute, s.well)
		before := s.h.Acknowledged()
		s.eventually("publishes are acknowledged again", time.Minute, func() bool { return s.h.Acknowledged() > before+5 })
		time.Sleep(2 * time.Second)
		for _, f := range begun {
			f.End()
		}
		s.t.Logf("%v: acknowledged %d, open %d", time.Since(s.began), s.h.Acknowledged(), s.h.Open())
	}
	s.judge()
}

// judge waits until all is finished and holds the history to what is promised.
func (s *sim) judge() {
	last, since := -1, time.Now()
	s.eventually("all is finished, or nothing comes any more", 10*time.Minute, func() bool {
		n := s.h.Open()
		if n != last {
			last, since = n, time.Now()
		}
		return n < 5 || time.Since(since) > time.Minute // publishers go on
	})
	close(s.quit)
	s.work.Wait()
	s.finish()
	s.h.List(s.list())
	s.same()
	for _, b := range s.brokers {
		if err := b.stop(); err != nil {
			s.t.Errorf("%s: %v", b.host, err)
		}
	}
	err := s.h.Check(histories.Rules{Forget: time.Second})
	if err != nil {
		s.t.Error(err)
	}
	s.t.Logf("%+v\n%s\n%s", s.h.Sum(), s.h.Faults(), s.reached())
	if s.t.Failed() {
		for _, b := range s.brokers {
			s.t.Logf("%s:\n%s", b.host, b.log)
		}
	}
}

// same holds the replicas of each group to each other: at the same record all have the same, and when all is finished that is no message.
func (s *sim) same() {
	all := map[string][]string{} // by a topic of a group, of each of its replicas
	s.eventually("all replicas are as far, and hold nothing", time.Minute, func() bool {
		clear(all)
		for _, b := range s.brokers {
			for _, in := range b.now().member.Shards() {
				var content []byte
				var at replica.Point
				err := in.Send(func(of replica.Point, part []byte) error {
					content, at = append(content, part...), of
					return nil
				})
				if err != nil {
					return false
				}
				state, messages := contentOf(s.t, content)
				list := in.(*shard.Shard).List()
				if messages > 0 || len(list) == 0 {
					return false
				}
				name := list[0].Name
				all[name] = append(all[name], fmt.Sprintf("entry %d, record %d, %d messages\n%s", at.Index, at.Record, messages, state))
			}
		}
		for _, of := range all {
			if len(of) != 3 || head(of[0]) != head(of[1]) || head(of[0]) != head(of[2]) {
				return false
			}
		}
		return len(all) > 0
	})
	for _, of := range all {
		if of[0] != of[1] || of[0] != of[2] {
			s.t.Errorf("replicas of one group have\n%q", of)
		}
	}
}

func head(text string) string { return text[:strings.IndexByte(text, '\n')] }

// contentOf returns the state in all that a replica has, see topic.Whole, and how many messages there are.
func contentOf(t *testing.T, b []byte) (state string, messages int) {
	const before = 20
	size := binary.BigEndian.Uint64(b[12:])
	state, b = string(b[:before+size]), b[before+size:]
	for len(b) > 0 {
		n := binary.BigEndian.Uint32(b)
		p, _, err := journal.ParsePublish(b[4 : 4+n])
		if err != nil {
			t.Error(err)
		}
		messages += p.Count
		b = b[4+n:]
	}
	return state, messages
}

// finish consumes what is left.
func (s *sim) finish() {
	s.quit = make(chan struct{})
	s.work.Go(s.consume)
	if s.wild != nil {
		s.work.Go(s.wild.take)
		s.wild.end()
	}
	last, since := -1, time.Now()
	s.eventually("the rest is finished, or nothing comes any more", 10*time.Minute, func() bool {
		n := s.h.Open()
		if n != last {
			last, since = n, time.Now()
		}
		return n == 0 && time.Since(since) > 2*time.Second || time.Since(since) > time.Minute
	})
	close(s.quit)
	s.work.Wait()
}

// TestSimulatorOfBrokers: whole brokers in virtual time, under three clients and faults that a seed chooses: what clients did and saw is what a
// list can have done that publishes append to.
func TestSimulatorOfBrokers(t *testing.T) {
	for seed := *simSeed; seed < *simSeed+uint64(*simSeeds); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSimOf(t, seed, cmp.Or(*simCount, 3+int(seed%3)))
				s.vary()
				if seed%2 == 1 {
					s.shrink()
				}
				if !*simTame {
					s.wild = newWild(s)
				}
				s.run(*simRounds)
			})
		})
	}
}
