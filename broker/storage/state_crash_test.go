package storage

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/diskqueue/journal"
	"brokerd/diskqueue/manifest"
	"brokerd/diskqueue/vfs"
	"brokerd/diskqueue/wal"
	"brokerd/protocol"
)

// piece names one thing that a broker keeps: a topic, a channel of it, a message that waits there, or, with no topic, the vote of a group of replicas.
type piece struct {
	topic, channel string // channel of a message: empty for the topic's own
	id             protocol.MessageID
	what           byte // t, c, m, v
}

// view is all that a broker keeps: what is said of each piece.
type view map[piece]string

// moment is what a broker kept behind one operation.
type moment struct {
	said
	view view
}

// statesWorld is a broker that does one thing after the other with all kinds of topics. Since all of that stands in one log, a crash leaves what the broker
// kept behind one of them, or what is between two.
type statesWorld struct {
	*node
	ballots  *ballots // nil: there are no groups
	names    []string // of topics
	channels []string
	big      bool // some bodies are longer than a file
	has      map[piece]string
	maybe    map[string]bool // bodies of publishes that failed
	fleeting map[piece]bool  // messages, without their channels, that only ephemeral channels have: a crash may leave them to the topic
	pubs     map[piece]pub
	past     []moment
	messages int
}

// pub is a publish that was answered.
type pub struct {
	index int // of the moment behind it
	at    said
	fsync bool
}

// nastyNames are valid names of topics and channels.
var nastyNames = []string{".", "..", "a", "A", strings.Repeat("x", 64), strings.Repeat("x", 63) + "y", strings.Repeat("X", 64), "-", "_", "1", "0",
	"segments", "a.dlq", "...", "a#ephemeral", strings.Repeat("e", 54) + "#ephemeral"}

func newStatesWorld(seed uint64) *statesWorld {
	w := &statesWorld{node: &node{seed: seed, rng: rand.New(rand.NewPCG(seed, 9)), fs: vfs.NewMem(), unlimited: true, ageless: map[string]bool{},
		early: map[string]topic.Position{}}, maybe: map[string]bool{}}
	w.names = shuffled(w.rng, nastyNames)[:1+w.rng.IntN(6)]
	if w.rng.IntN(8) == 0 {
		for i := range 150 {
			w.names = append(w.names, fmt.Sprint("many.", i))
		}
	}
	w.channels = shuffled(w.rng, nastyNames)[:1+w.rng.IntN(4)]
	w.big = w.rng.IntN(4) == 0
	w.fs.SetStyle(vfs.Style{TornRenames: w.rng.IntN(3) == 0, LostRenames: w.rng.IntN(3) == 0, Stale: w.rng.IntN(3) == 0})
	w.lackSome()
	if w.rng.IntN(2) == 0 {
		w.ballots = &ballots{}
		w.node.groups, w.keeps = w.ballots.replay, w.ballots.begin
	}
	return w
}

func shuffled(rng *rand.Rand, list []string) []string {
	list = slices.Clone(list)
	rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// ballots keeps group 0, which is the last vote that it has written down.
type ballots struct {
	keeper
	mu   sync.Mutex
	last uint64
}

func (b *ballots) replay(e wal.Entry) error {
	v, err := journal.ParseVote(e.Data)
	b.last = max(b.last, v.Term)
	return err
}

// begin goes on with what the checkpoint of the group says, and what was read of the log before.
func (b *ballots) begin(k *Engine) error {
	b.k, b.log = k, k.GroupLog()
	k.KeepGroups(b)
	return b.read(k)
}

func (b *ballots) read(k *Engine) error {
	groups, _ := k.Kept()
	if len(groups) == 0 {
		return nil
	}
	content, err := k.ReadGroup(0, groups[0].File)
	if err == nil {
		b.last = max(b.last, binary.BigEndian.Uint64(content))
	}
	return err
}

func (b *ballots) Checkpoint() (func(*manifest.Manifest), func(), error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	file, err := b.k.WriteGroup(0, binary.BigEndian.AppendUint64(nil, b.last))
	if err != nil {
		return nil, nil, err
	}
	from := b.k.wal.End()
	return func(m *manifest.Manifest) { m.Groups = []manifest.Group{{Number: 0, From: from, File: file}} }, nil, nil
}

func (b *ballots) vote(level wal.Level) error {
	b.mu.Lock()
	b.last++
	at, err := b.log.Append(byte(journal.KindVote), journal.AppendVote(nil, journal.Vote{Term: b.last}))
	b.mu.Unlock()
	if err == nil {
		err = b.log.Commit(at, level)
	}
	return err
}

// did notes what the broker keeps behind an operation that began at lo, and how safe that is.
func (w *statesWorld) did(lo int64, err error, level topic.Level, format string, args ...any) said {
	at := w.end(lo)
	w.note(format+": %v", append(args, err)...)
	if err == nil && !w.faults && !w.crash.done() {
		if level >= topic.Disk {
			w.written.Store(at.hi)
		}
		if level == topic.Fsync {
			w.synced.Store(at.hi)
		}
	}
	w.past = append(w.past, moment{at, w.look()})
	return at
}

// look is what the broker keeps now.
func (w *statesWorld) look() view {
	v := viewOf(w.r)
	maps.Copy(v, w.has)
	if w.ballots != nil {
		w.ballots.mu.Lock()
		v[piece{what: 'v'}] = fmt.Sprint(w.ballots.last)
		w.ballots.mu.Unlock()
	}
	return v
}

// viewOf is what a registry keeps in the log but for messages.
func viewOf(r *topic.Registry) view {
	v := view{}
	for _, t := range r.Metadata().Topics {
		if t.Number == 0 {
			continue
		}
		v[piece{topic: t.Name, what: 't'}] = fmt.Sprintf("paused %v, %s", t.Paused, t.Options)
		for _, c := range t.Channels {
			v[piece{topic: t.Name, channel: c.Name, what: 'c'}] = fmt.Sprintf("paused %v, %s", c.Paused, c.Options)
		}
	}
	return v
}

func contentOf(body []byte) string {
	return fmt.Sprintf("%d bytes, %08x", len(body), crc32.ChecksumIEEE(body))
}

// pick returns a topic, which it makes at times.
func (w *statesWorld) pick(make bool) *topic.Topic {
	name := w.names[w.rng.IntN(len(w.names))]
	if t := w.r.Lookup(name); t != nil || !make {
		return t
	}
	lo := w.begin()
	t, err := w.r.Topic(name)
	if err != nil && !w.faults && !w.crash.done() {
		w.fail("making a topic: %v", err)
	}
	w.did(lo, err, topic.Memory, "topic %.9q", name)
	return t
}

func (w *statesWorld) pickChannel(t *topic.Topic) *topic.Channel {
	if t == nil || len(t.Channels()) == 0 {
		return nil
	}
	return t.Channels()[w.rng.IntN(len(t.Channels()))]
}

// targets are the channels whose messages are kept that a publish goes to; the empty name is the topic's own.
func targets(t *topic.Topic) (names []string) {
	if t.Paused() || len(t.Channels()) == 0 {
		return []string{""}
	}
	for _, c := range t.Channels() {
		if !c.Ephemeral() {
			names = append(names, c.Name())
		}
	}
	return names
}

func (w *statesWorld) publish() {
	t := w.pick(true)
	if t == nil || t.Durability() == topic.Memory && !t.Ephemeral() {
		return
	}
	var b topic.Batch
	var bodies [][]byte
	for range 1 + w.rng.IntN(6) {
		w.messages++
		body := []byte(fmt.Sprint(w.messages, "-", strings.Repeat("x", w.rng.IntN(300))))
		switch k := w.rng.IntN(12); {
		case k == 0:
			body = nil
		case k == 1 && w.big:
			body = append(body, make([]byte, w.rng.IntN(80<<10))...)
		}
		mark := b.Mark()
		b.Add(body)
		b.Order(mark, keyOf(w.messages))
		bodies = append(bodies, body)
	}
	delay := time.Duration(0)
	if w.rng.IntN(4) == 0 {
		delay = time.Duration(1+w.rng.IntN(20)) * time.Second
	}
	level := topic.Disk
	if w.rng.IntN(8) == 0 {
		level = topic.Fsync
	}
	level = max(level, t.Durability())
	to := targets(t)
	if t.Ephemeral() {
		to, level = nil, topic.Memory
	}
	lo := w.begin()
	err := t.PublishAs(&b, delay, level)
	r := b.Receipt()
	pieces := map[piece]string{}
	for i, body := range bodies {
		for _, c := range to {
			pieces[piece{t.Name(), c, r.ID + protocol.MessageID(i), 'm'}] = contentOf(body)
		}
		if len(to) == 0 {
			w.fleeting[piece{t.Name(), "", r.ID + protocol.MessageID(i), 'm'}] = true
		}
		if err != nil && !t.Ephemeral() {
			w.maybe[contentOf(body)] = true
		}
	}
	if err == nil {
		maps.Copy(w.has, pieces)
	} else if !w.faults && !w.crash.done() {
		w.fail("publishing to %q: %v", t.Name(), err)
	}
	at := w.did(lo, err, level, "publish %d at %x to %.9q %.9q after %v, level %v", len(bodies), uint64(r.ID), t.Name(), to, delay, level)
	if err == nil {
		for p := range pieces {
			w.pubs[p] = pub{len(w.past) - 1, at, level == topic.Fsync}
		}
	}
}

// moves gives the channels of a topic what it had itself, as soon as nothing is in the way.
func (w *statesWorld) moves(t *topic.Topic) {
	to := targets(t)
	if slices.Contains(to, "") {
		return
	}
	for p, content := range maps.Clone(w.has) {
		if p.topic != t.Name() || p.channel != "" {
			continue
		}
		delete(w.has, p)
		if len(to) == 0 {
			w.fleeting[p] = true
		}
		for _, c := range to {
			moved := piece{p.topic, c, p.id, 'm'}
			w.has[moved] = content
			if was, is := w.pubs[p]; is {
				w.pubs[moved] = was
			}
		}
	}
}

// forgetAll says that a topic, or one of its channels, has no messages any more.
func (w *statesWorld) forgetAll(name string, of func(channel string) bool) {
	maps.DeleteFunc(w.has, func(p piece, _ string) bool { return p.topic == name && of(p.channel) })
}

func (w *statesWorld) makeChannel() {
	t := w.pick(true)
	if t == nil {
		return
	}
	lo := w.begin()
	name := w.channels[w.rng.IntN(len(w.channels))]
	_, err := t.Channel(name)
	w.moves(t)
	w.did(lo, err, topic.Memory, "channel %.9q/%.9q", t.Name(), name)
}

// consume takes some messages, which the broker must have, and finishes some of them.
func (w *statesWorld) consume(all bool) {
	t := w.pick(false)
	if c := w.pickChannel(t); c != nil {
		w.consumeFrom(c, all)
	}
}

func (w *statesWorld) consumeFrom(c *topic.Channel, all bool) (count int) {
	t := c.Topic()
	lo := w.begin()
	s, err := t.Subscribe(c.Name(), subscribeAll)
	if err != nil {
		w.fail("subscribing: %v", err)
	}
	s.SetReady(1 + w.rng.IntN(30))
	var d topic.Delivery
	s.Take(&d)
	var answers []topic.Answer
	each(&d, func(f protocol.MessageFrame) {
		p := piece{t.Name(), c.Name(), f.MustID(), 'm'}
		if content, is := w.has[p]; !t.Ephemeral() && !c.Ephemeral() && (!is || content != contentOf(f.Body())) {
			w.fail("%.9q/%.9q got %x, %s, and has %q", t.Name(), c.Name(), uint64(p.id), contentOf(f.Body()), content)
		}
		count++
		switch k := w.rng.IntN(4); {
		case all || k < 2:
			answers = append(answers, topic.Answer{ID: p.id, Verb: topic.Finish})
			delete(w.has, p)
		case k == 2:
			answers = append(answers, topic.Answer{ID: p.id, Verb: topic.Requeue, Delay: time.Duration(w.rng.IntN(2)) * 10 * time.Second})
		}
	})
	s.Apply(answers, nil)
	_ = s.Close()
	synctest.Wait() // an ephemeral channel goes with its consumer
	w.did(lo, nil, topic.Memory, "consume %.9q/%.9q: %d, answered %d", t.Name(), c.Name(), count, len(answers))
	return count
}

// change deletes, empties or pauses something.
func (w *statesWorld) change() {
	t := w.pick(false)
	if t == nil {
		return
	}
	c := w.pickChannel(t)
	lo := w.begin()
	var err error
	what := ""
	switch k := w.rng.IntN(10); {
	case k == 0:
		what, err = "delete", w.r.DeleteTopic(t.Name())
		w.forgetAll(t.Name(), func(string) bool { return true })
	case k == 1:
		what, err = "empty", t.Empty()
		w.forgetAll(t.Name(), func(c string) bool { return c == "" })
	case k < 6:
		what, err = "pause or not", t.SetPaused(!t.Paused())
		w.moves(t)
	case c == nil:
		return
	case k == 6:
		what, err = fmt.Sprintf("delete %.9q", c.Name()), t.DeleteChannel(c.Name())
		w.forgetAll(t.Name(), func(name string) bool { return name == c.Name() })
	case k == 7:
		what, err = fmt.Sprintf("empty %.9q", c.Name()), c.Empty()
		w.forgetAll(t.Name(), func(name string) bool { return name == c.Name() })
	default:
		what, err = fmt.Sprintf("pause %.9q or not", c.Name()), c.SetPaused(!c.Paused())
	}
	if err != nil && !w.faults && !w.crash.done() {
		w.fail("%s of %q: %v", what, t.Name(), err)
	}
	w.did(lo, err, topic.Memory, "%s of %.9q", what, t.Name())
}

// statesOptions are what options are set to that take no message away within the time of a run; those that begin with / are of channels.
var statesOptions = map[string][]string{
	"ordered": {"true", "false"}, "ordered_ahead": {"1", "4", "null"}, "retain_time": {`"1s"`, `"20s"`, `"24h"`, "null"}, "retain_bytes": {"4000", "null"},
	"ttl": {`"300d"`, "null"}, "dedup_window": {`"1h"`, "null"}, "dedup_max": {"3", "null"}, "trace": {"true", "false"}, "max_depth": {"1000000", "null"},
	"dead_letter": {`"elsewhere"`, `"discard"`, "null"}, "backoff": {`"fixed:3s"`, `""`}, "max_attempts": {"60000", "null"}, "msg_timeout": {`"1m"`, "null"},
	"durability": {`"disk"`, `"fsync"`, `"memory"`},
	"/ttl":       {`"300d"`, "null"}, "/max_in_flight": {"100", "null"}, "/max_attempts": {"50000", "null"}, "/backoff_requeue": {"true", "false"},
	"/dead_letter": {`"discard"`, "null"},
}

func (w *statesWorld) option() {
	t := w.pick(true)
	if t == nil {
		return
	}
	name := slices.Sorted(maps.Keys(statesOptions))[w.rng.IntN(len(statesOptions))]
	value := statesOptions[name][w.rng.IntN(len(statesOptions[name]))]
	lo := w.begin()
	set := t.SetOptions
	if of, is := strings.CutPrefix(name, "/"); is {
		c := w.pickChannel(t)
		if c == nil {
			return
		}
		name, set = of, c.SetOptions
	}
	before := viewOf(w.r)
	err := set(map[string]json.RawMessage{name: json.RawMessage(value)})
	level := topic.Fsync
	if now := w.r.Lookup(t.Name()); now == nil || now.Durability() == topic.Memory || maps.Equal(before, viewOf(w.r)) {
		level = topic.Memory // nothing was written
	}
	w.did(lo, err, level, "set %s = %s of %.9q", name, value, t.Name())
}

func (w *statesWorld) step() {
	switch k := w.rng.IntN(32); {
	case k < 11:
		w.publish()
	case k < 16:
		w.consume(w.rng.IntN(3) == 0)
	case k < 19:
		w.makeChannel()
	case k < 23 && !w.faults: // else what is half done is not known
		w.change()
	case k < 26 && !w.faults:
		w.option()
	case k < 28 && w.ballots != nil:
		lo := w.begin()
		level := []wal.Level{wal.Written, wal.Synced}[w.rng.IntN(2)]
		err := w.ballots.vote(level)
		w.did(lo, err, map[wal.Level]topic.Level{wal.Written: topic.Disk, wal.Synced: topic.Fsync}[level], "vote")
	case k == 28:
		lo := w.begin()
		pause := time.Duration(w.rng.IntN(6000)) * time.Millisecond
		time.Sleep(pause)
		synctest.Wait()
		w.did(lo, nil, topic.Memory, "%v later", pause)
		if pause >= 3*time.Second {
			w.safe(lo, true)
		}
	case k == 29 && w.faults:
		w.setFaults()
	default:
		time.Sleep(time.Duration(w.rng.IntN(300)) * time.Millisecond)
		synctest.Wait()
	}
}

// birth starts the node on what is there.
func (w *statesWorld) birth() {
	if w.ballots != nil {
		w.ballots.last = 0
	}
	w.has, w.pubs = map[piece]string{}, map[piece]pub{}
	w.start()
}

// inherit takes what a crash has left for what there is.
func (w *statesWorld) inherit(found view) {
	for p, content := range found {
		if p.what == 'm' {
			w.has[p] = content
		}
	}
	w.past, w.fleeting = []moment{{said{}, w.look()}}, map[piece]bool{}
}

func (w *statesWorld) life() {
	for range 10 + w.rng.IntN(120) {
		if w.crash.done() {
			break
		}
		w.step()
	}
	w.endLife(w.rng.IntN(3) == 0)
	w.fs = w.crash.clone
	w.openFolders()
}

// found is what is there, looked at in a copy.
func (w *statesWorld) found() view {
	again := w.another(w.fs.KillClone())
	again.sizes, again.groups = w.sizes, w.node.groups
	if w.ballots != nil {
		w.ballots.last = 0
	}
	if _, err := again.open(); err != nil {
		w.note("crash at %d, all is safe up to %d, power cut %v", w.crash.at, w.crash.safe, w.crash.power != nil)
		w.fail("opening a copy: %v", err)
	}
	v := viewOf(again.r)
	if w.ballots != nil {
		if err := w.ballots.read(again.k); err != nil {
			w.fail("reading the group: %v", err)
		}
		v[piece{what: 'v'}] = fmt.Sprint(w.ballots.last)
	}
	for _, t := range again.r.Topics() {
		lost, err := t.Unload(func(channel string, m protocol.MessageFrame, _ uint16) error {
			p := piece{t.Name(), channel, m.MustID(), 'm'}
			if v[p] != "" {
				w.fail("%x is there twice", uint64(p.id))
			}
			v[p] = contentOf(m.Body())
			return nil
		})
		if err != nil || lost > 0 && !w.faults {
			w.fail("reading what there is: %d messages are lost, %v", lost, err)
		}
	}
	if err := errors.Join(again.r.Close(), again.k.Abandon()); err != nil {
		w.fail("closing a copy: %v", err)
	}
	return v
}

// check fails when a crash has left what no moment explains.
func (w *statesWorld) check(found view) {
	c := &w.crash
	w.note("crash at %d, all is safe up to %d, power cut %v", c.at, c.safe, c.power != nil)
	lower, upper := 0, 0
	for i, m := range w.past {
		if m.hi <= c.safe {
			lower = i
		}
		if m.lo <= c.at {
			upper = i
		}
	}
	if w.faults || c.power != nil {
		w.checkLoosely(found, lower, upper)
		return
	}
	best, why := -1, ""
	for k := lower; k <= upper; k++ {
		wrong, some := 0, ""
		next := w.past[min(k+1, upper)].view
		for p := range union(found, w.past[k].view, next) {
			if is := found[p]; is != w.past[k].view[p] && is != next[p] && !w.fleeting[piece{p.topic, "", p.id, p.what}] {
				wrong++
				some = fmt.Sprintf("of %c %.9q/%.9q %x there is %q, and was %q, then %q", p.what, p.topic, p.channel, uint64(p.id), is, w.past[k].view[p], next[p])
			}
		}
		if wrong == 0 {
			return
		}
		if best < 0 || wrong < best {
			best, why = wrong, fmt.Sprintf("nearest is what was at %v: %d are wrong, such as: %s", w.past[k].said, wrong, some)
		}
	}
	w.fail("what a crash has left is what was there at no time from %v to %v; %s", w.past[lower].said, w.past[upper].said, why)
}

func union(views ...view) map[piece]bool {
	all := map[piece]bool{}
	for _, v := range views {
		for p := range v {
			all[p] = true
		}
	}
	return all
}

// checkLoosely is check for a power cut, which may leave a later record without an earlier one as long as neither was synced, and for a disk that has
// failed, where the log may have lost what nobody waited for. Each piece was so at some time, behind its publish if that was answered; and no message
// is gone that was there all the time, on whatever channel.
func (w *statesWorld) checkLoosely(found view, lower, upper int) {
	c := &w.crash
	all, there := union(found), map[piece]int{}
	if w.faults {
		lower = 0
	}
	for _, m := range w.past[lower : upper+1] {
		maps.Copy(all, union(m.view))
		some := map[piece]bool{}
		for p := range m.view {
			some[piece{p.topic, "", p.id, p.what}] = p.what == 'm'
		}
		for p, is := range some {
			if is {
				there[p]++
			}
		}
	}
	for p := range found {
		delete(there, piece{p.topic, "", p.id, p.what})
	}
	for p, times := range there {
		if times == upper+1-lower && !w.fleeting[p] {
			w.fail("%.9q: %x is on no channel, and was there from %v to %v", p.topic, uint64(p.id), w.past[lower].said, w.past[upper].said)
		}
	}
	for p := range all {
		from := lower
		if pub, is := w.pubs[p]; is && pub.at.hi <= c.at && (c.power == nil || pub.fsync) {
			from = max(from, pub.index)
		}
		is := found[p]
		if p.what == 'm' && (is != "" && w.maybe[is] || w.fleeting[piece{p.topic, "", p.id, p.what}]) {
			continue
		}
		if !slices.ContainsFunc(w.past[from:upper+1], func(m moment) bool { return m.view[p] == is }) {
			w.fail("of %c %.9q/%.9q %x there is %q, which was so at no time from %v on, and was %q in the end", p.what, p.topic, p.channel, uint64(p.id), is,
				w.past[from].said, w.past[upper].view[p])
		}
	}
}

// drain has all come that there is.
func (w *statesWorld) drain() {
	for _, t := range w.r.Topics() {
		_ = t.SetPaused(false)
		if len(t.Channels()) == 0 {
			if _, err := t.Channel("c"); err != nil {
				w.fail("making a channel: %v", err)
			}
		}
		w.moves(t)
	}
	for round := range 40 {
		some := 0
		for _, t := range w.r.Topics() {
			for _, c := range t.Channels() {
				_ = c.SetPaused(false)
				for n := w.consumeFrom(c, true); n > 0; n = w.consumeFrom(c, true) {
					some += n
				}
			}
		}
		time.Sleep(5 * time.Second)
		if some == 0 && round > 4 {
			break
		}
	}
	for p := range w.has {
		w.fail("%.9q/%.9q: %x never came, nor %d others", p.topic, p.channel, uint64(p.id), len(w.has)-1)
	}
}

// stateSpans are within which time clocks differ: nothing is deferred, and nothing of use, for as long.
var stateSpans = []time.Duration{time.Minute, time.Hour, 72 * time.Hour}

func statesRun(t *testing.T, seed uint64) {
	w := newStatesWorld(seed)
	if err := w.fs.MkdirAll("data"); err != nil {
		t.Fatal(err)
	}
	faulty := w.rng.IntN(4) == 0
	found := view{}
	life := func() {
		w.vary(faulty)
		w.birth()
		w.inherit(found)
		w.life()
		found = w.found()
		w.check(found)
	}
	last := func() {
		w.vary(false)
		w.crash = crash{left: -1}
		w.birth()
		w.inherit(found)
		w.drain()
		if err := w.stop(); err != nil {
			w.fail("closing: %v", err)
		}
	}
	lives := 1 + w.rng.IntN(4)
	if w.spans = stateSpans; seed%3 == 1 {
		w.clocks = true
		for range lives {
			w.bubble(t, 0, life)
		}
		w.bubble(t, 73*time.Hour, last) // all is due then
		return
	}
	w.bubble(t, 0, func() {
		for range lives {
			life()
		}
		last()
	})
}

// TestStateThroughCrashes: topics and channels of all kinds of names, with options, made, deleted, emptied and paused, messages of all sizes, and a group of
// replicas in the same folder: a crash leaves what there was behind one of the operations, or part of the next one, and no earlier than what was answered.
func TestStateThroughCrashes(t *testing.T) {
	if *crashSeed != 0 {
		statesRun(t, *crashSeed)
		return
	}
	for seed := range uint64(someCrashes()) {
		seed += *crashFrom
		ok := t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { statesRun(t, seed) })
		if !ok {
			t.FailNow()
		}
	}
}
