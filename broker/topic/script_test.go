package topic

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

var rewrite = flag.Bool("rewrite", false, "write what the scripts of testdata print now into them")

// TestScripts runs the scripts of testdata at every level: memory, disk and fsync. A script is lines of commands, each followed by what it
// prints, indented. What the levels disk and fsync have to print otherwise stands in a file of its own, NAME.disk.txt, beside that of the
// script; one without such a NAME.txt is for these levels only. Scripts of peek are run with a replicated topic as well. All happens in a bubble with a clock of its own; after every command the
// books are checked. Messages are named m1, m2 and so on in the order in which their topic was given them. See the methods of script for
// the commands.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		name, logged := strings.CutSuffix(strings.TrimSuffix(file, ".txt"), ".disk")
		if logged && slices.Contains(files, name+".txt") {
			continue // what the log has to print otherwise
		}
		for _, level := range []Level{Memory, Disk, Fsync} {
			if level == Memory && logged {
				continue
			}
			t.Run(filepath.Base(name)+"/"+level.String(), func(t *testing.T) { testScript(t, name, level, logged, false) })
		}
		if strings.HasPrefix(filepath.Base(name), "peek") {
			t.Run(filepath.Base(name)+"/replicated", func(t *testing.T) { testScript(t, name, Fsync, logged, true) })
		}
	}
}

func testScript(t *testing.T, name string, level Level, logged, replicated bool) {
	file, own := name+".txt", name+".disk.txt"
	if _, err := os.Stat(own); logged || err == nil && level > Memory {
		file = own
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var got string
	synctest.Test(t, func(t *testing.T) { got = runScript(t, string(text), dir, level, replicated) })
	if *rewrite && !replicated {
		if level > Memory && got != string(text) {
			file = own
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if got != string(text) {
		t.Errorf("%s: what is printed differs; run the test with -rewrite and read the diff\n%s", file, firstDifference(string(text), got))
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d\nwant %s\ngot  %s", i+1, w[i], g[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

const indent = "    "

func runScript(t *testing.T, text, dir string, level Level, replicated bool) string {
	s := &script{t: t, cfg: config(), subs: map[string]*Subscription{}, ids: map[string]protocol.MessageID{}, counts: map[string]int{}}
	if s.cfg.Queues = folder(dir); level > Memory {
		s.log = &keptLog{}
		s.cfg.Journal, s.cfg.Segments, s.cfg.Level = s.log, keptSegments{vfs.NewMem()}, func(string) Level { return level }
	}
	if replicated {
		s.log = nil
		s.lead()
	}
	var out strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, indent) {
			continue
		}
		out.WriteString(line)
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		s.out.Reset()
		if err := s.run(words); err != nil {
			fmt.Fprintf(&s.out, "error: %v\n", err)
		}
		synctest.Wait()
		if s.r != nil {
			checkBooks(t, s.r)
		}
		for printed := range strings.Lines(s.out.String()) {
			out.WriteString(indent + printed)
		}
	}
	s.stop()
	return out.String()
}

// script is one run.
type script struct {
	t      *testing.T
	cfg    Config
	log    *keptLog  // nil at level memory
	led    *ledModel // nil: topics are not replicated
	r      *Registry // nil before the first command that needs it
	subs   map[string]*Subscription
	ids    map[string]protocol.MessageID // by topic/name
	counts map[string]int
	out    bytes.Buffer
}

func (s *script) printf(format string, args ...any) { fmt.Fprintf(&s.out, format, args...) }

func (s *script) run(words []string) error {
	name, args := words[0], words[1:]
	if name == "config" {
		return s.config(args)
	}
	if s.r == nil {
		s.r = NewRegistry(s.cfg)
		s.r.Start()
	}
	commands := map[string]func([]string) error{
		"publish": s.publish, "publish-deferred": s.publishDeferred, "create": s.create, "subscribe": s.subscribe, "rdy": s.rdy,
		"take": s.take, "drain": s.drain, "fin": s.fin, "req": s.req, "touch": s.touch, "advance": s.advance, "pause": s.pause,
		"unpause": s.unpause, "empty": s.empty, "delete": s.delete, "close": s.close, "stats": s.stats, "woken": s.woken,
		"topics": s.topics, "restart": s.restart, "policy": s.policy, "sums": s.sums, "dead": s.dead, "redrive": s.redrive,
		"redriven": s.redriven, "disk": s.disk, "rounds": s.rounds, "peek": s.peek,
	}
	f := commands[name]
	if f == nil {
		f = s.scheduleCommand(name)
	}
	if f == nil {
		f = s.optionsCommand(name)
	}
	if f == nil {
		s.t.Fatalf("unknown command %s", name)
	}
	return f(args)
}

// config sets what the registry is made with: name=value.
func (s *script) config(args []string) error {
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "mem-queue-size":
			s.cfg.MemQueueSize = s.number(value)
		case "max-consumers":
			s.cfg.MaxConsumers = s.number(value)
		case "max-msg-timeout":
			s.cfg.MaxMsgTimeout = s.duration(value)
		case "max-req-timeout":
			s.cfg.MaxReqTimeout = s.duration(value)
		case "topology":
			s.cfg.TopologyAware = value == "yes"
		case "learn": // delay:channels
			delay, list, _ := strings.Cut(value, ":")
			d := s.duration(delay)
			s.cfg.Learn = func(ctx context.Context, _ string) []string {
				select {
				case <-time.After(d):
				case <-ctx.Done():
				}
				return strings.Split(list, ",")
			}
		default:
			s.t.Fatalf("unknown setting %s", key)
		}
	}
	return nil
}

func (s *script) number(word string) int {
	n, err := strconv.Atoi(word)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *script) duration(word string) time.Duration {
	d, err := time.ParseDuration(word)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func (s *script) topic(name string) *Topic {
	topic, err := s.made(name)
	if err != nil {
		s.t.Fatal(err)
	}
	return topic
}

// made returns a topic, which is made when it is not there.
func (s *script) made(name string) (*Topic, error) {
	if s.led != nil && s.r.Lookup(name) == nil {
		s.led.topic = createLed(s.t, s.led.l, 7, name) // there is one in a script
	}
	return s.r.Topic(name)
}

func (s *script) batch(name string, n int) *Batch {
	var b Batch
	for range n {
		s.counts[name]++
		b.Add(fmt.Appendf(nil, "m%d", s.counts[name]))
	}
	return &b
}

// publish TOPIC COUNT
func (s *script) publish(args []string) error {
	return s.topic(args[0]).Publish(s.batch(args[0], s.number(args[1])))
}

// publish-deferred TOPIC COUNT DELAY
func (s *script) publishDeferred(args []string) error {
	return s.topic(args[0]).PublishDeferred(s.batch(args[0], s.number(args[1])), s.duration(args[2]))
}

// create TOPIC[/CHANNEL]
func (s *script) create(args []string) error {
	name, channel, ok := strings.Cut(args[0], "/")
	topic, err := s.made(name)
	if ok && err == nil {
		_, err = topic.Channel(channel)
	}
	return err
}

// subscribe TOPIC CHANNEL as NAME [timeout DURATION] [standard] [sample PERCENT] [zone|region]
func (s *script) subscribe(args []string) error {
	o := SubscribeOptions{Owner: newStub(), Name: args[3], MsgTimeout: time.Minute, Locality: Elsewhere}
	for rest := args[4:]; len(rest) > 0; rest = rest[1:] {
		switch rest[0] {
		case "zone":
			o.Locality = ZoneLocal
		case "region":
			o.Locality = RegionLocal
		case "timeout":
			o.MsgTimeout, rest = s.duration(rest[1]), rest[1:]
		case "standard":
			o.Standard = true
		case "sample":
			o.SampleRate, rest = s.number(rest[1]), rest[1:]
		}
	}
	sub, err := s.topic(args[0]).Subscribe(args[1], o)
	if err == nil {
		s.subs[args[3]] = sub
	}
	return err
}

// rdy CONSUMER COUNT
func (s *script) rdy(args []string) error {
	s.subs[args[0]].SetReady(s.number(args[1]))
	return nil
}

// take CONSUMER: one Take
func (s *script) take(args []string) error {
	s.takeOnce(args[0])
	return nil
}

// drain CONSUMER: takes until nothing is left
func (s *script) drain(args []string) error {
	for s.takeOnce(args[0]) > 0 {
	}
	return nil
}

func (s *script) takeOnce(name string) int {
	sub := s.subs[name]
	var d Delivery
	n := sub.Take(&d)
	if n == 0 {
		s.printf("nothing\n")
		return 0
	}
	var list []string
	for _, run := range d.Runs {
		for frames := run.Frames; len(frames) > 0; {
			f := first(frames)
			frames = frames[len(f):]
			attempts := f.Attempts()
			if run.Attempts > 0 {
				attempts = run.Attempts
			}
			body := string(f.Body())
			s.ids[sub.Channel().Topic().Name()+"/"+body], _ = f.ID()
			if attempts > 1 {
				body += fmt.Sprintf(" (attempt %d)", attempts)
			}
			list = append(list, body)
		}
	}
	if len(list) != n {
		s.t.Errorf("Take reported %d messages and gave %d", n, len(list))
	}
	s.printf("%s\n", strings.Join(list, ", "))
	return n
}

func (s *script) answer(verb Verb, consumer string, delay time.Duration, messages []string) error {
	sub := s.subs[consumer]
	var answers []Answer
	for _, m := range messages {
		answers = append(answers, Answer{ID: s.ids[sub.Channel().Topic().Name()+"/"+m], Verb: verb, Delay: delay})
	}
	sub.Apply(answers, nil)
	var errs []error
	for _, a := range answers {
		errs = append(errs, a.Err)
	}
	return errors.Join(errs...)
}

// fin CONSUMER MESSAGE...
func (s *script) fin(args []string) error { return s.answer(Finish, args[0], 0, args[1:]) }

// req CONSUMER DELAY MESSAGE...
func (s *script) req(args []string) error {
	return s.answer(Requeue, args[0], s.duration(args[1]), args[2:])
}

// touch CONSUMER MESSAGE...
func (s *script) touch(args []string) error { return s.answer(Touch, args[0], 0, args[1:]) }

// advance DURATION: the clock goes on, and everything that falls due happens
func (s *script) advance(args []string) error {
	time.Sleep(s.duration(args[0])) // the bubble's clock
	return nil
}

// pausable is a topic or a channel.
type pausable interface {
	SetPaused(bool) error
	Empty() error
}

func (s *script) at(path string) pausable {
	name, channel, ok := strings.Cut(path, "/")
	topic := s.r.Lookup(name)
	if topic == nil {
		s.t.Fatalf("no topic %s", name)
	}
	if !ok {
		return topic
	}
	if c := topic.LookupChannel(channel); c != nil {
		return c
	}
	s.t.Fatalf("no channel %s", path)
	return nil
}

// pause TOPIC[/CHANNEL]
func (s *script) pause(args []string) error { s.at(args[0]).SetPaused(true); return nil }

// unpause TOPIC[/CHANNEL]
func (s *script) unpause(args []string) error { s.at(args[0]).SetPaused(false); return nil }

// empty TOPIC[/CHANNEL]
func (s *script) empty(args []string) error { return s.at(args[0]).Empty() }

// delete TOPIC[/CHANNEL]
func (s *script) delete(args []string) error {
	name, channel, ok := strings.Cut(args[0], "/")
	if !ok {
		return s.r.DeleteTopic(name)
	}
	return s.topic(name).DeleteChannel(channel)
}

// close CONSUMER
func (s *script) close(args []string) error {
	defer delete(s.subs, args[0])
	return s.subs[args[0]].Close()
}

// stats TOPIC
func (s *script) stats(args []string) error {
	topic := s.r.Lookup(args[0])
	if topic == nil {
		return ErrTopicNotFound
	}
	st := topic.Stats()
	s.printf("%s: %s, %d messages of %d bytes%s\n", st.Name, depth(st.Depth, st.BackendDepth), st.MessageCount, st.MessageBytes, paused(st.Paused))
	for _, c := range st.Channels {
		s.printf("%s/%s: %s, %d in flight, %d deferred, %d consumers, %d messages%s", st.Name, c.Name, depth(c.Depth, c.BackendDepth),
			c.InFlight, c.Deferred, c.Consumers, c.MessageCount, paused(c.Paused))
		for _, n := range []struct {
			what  string
			count uint64
		}{{"requeued", c.RequeueCount}, {"timed out", c.TimeoutCount}, {"returned", c.DisconnectRequeueCount},
			{"zone", c.ZoneLocal}, {"region", c.RegionLocal}, {"waiting for their dead letter topic", uint64(c.Buried)}} {
			if n.count > 0 {
				s.printf(", %d %s", n.count, n.what)
			}
		}
		s.printf("\n")
	}
	return nil
}

func depth(n, disk int64) string {
	if disk == 0 {
		return fmt.Sprintf("depth %d", n)
	}
	return fmt.Sprintf("depth %d (%d on disk)", n, disk)
}

func paused(yes bool) string {
	if yes {
		return ", paused"
	}
	return ""
}

// woken: the consumers that were woken since the last time, and those whose connection was closed
func (s *script) woken([]string) error {
	var names []string
	for name, sub := range s.subs {
		if woken(sub) {
			names = append(names, name)
		}
		select {
		case <-sub.Owner().(*stub).closed:
			names = append(names, name+" (closed)")
		default:
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		names = []string{"nobody"}
	}
	s.printf("%s\n", strings.Join(names, ", "))
	return nil
}

// topics: all topics and their channels
func (s *script) topics([]string) error {
	for _, topic := range s.r.Topics() {
		s.printf("%s", topic.Name())
		for _, c := range topic.Channels() {
			s.printf(" %s", c.Name())
		}
		s.printf("\n")
	}
	return nil
}

// restart: a clean stop and a start on the same folder
func (s *script) restart([]string) error {
	meta := s.r.Metadata()
	s.stop()
	s.r = NewRegistry(s.cfg)
	if s.log != nil {
		v := NewRecovery(journal.NewState())
		for i, r := range s.log.records {
			if err := v.Apply(journal.Offset{Offset: int64(i)}, r.kind, r.data); err != nil {
				return err
			}
		}
		if err := s.r.Recover(v); err != nil {
			return err
		}
	}
	err := s.r.Restore(meta)
	s.r.Start()
	return err
}

func (s *script) stop() {
	for name, sub := range s.subs {
		if err := sub.Close(); err != nil {
			s.t.Error(err)
		}
		delete(s.subs, name)
	}
	if s.led != nil {
		s.led.l.Drop()
	}
	if s.r != nil {
		if err := s.r.Close(); err != nil {
			s.t.Error(err)
		}
	}
}
