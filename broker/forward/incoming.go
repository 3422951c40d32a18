package forward

import (
	"errors"
	"sync"
	"time"

	"brokerd/broker/peer"
	"brokerd/broker/policy"
	"brokerd/broker/topic"
)

// sender is whose publishes of which group arrive here.
type sender struct {
	folder string
	group  uint32
}

// incoming is publishes of another node, of one group, for topics that this node leads, or that node believes so.
type incoming struct {
	f    *Forwarder
	from sender

	mu        sync.Mutex // guards what follows
	origin    uint64
	epoch     uint64
	next      uint32 // seq
	broken    bool   // the epoch is over
	queue     []request
	bytes     int // in it
	appends   bool
	begun     []arrived
	finishing bool
	kept      []arrived // to be answered before their commits
	keeping   bool

	failed place // of the newest whose commit is not known; owned by finish
	short  uint  // tries since there was room; owned by append
}

// arrived is a publish that was begun, or what else is to be answered.
type arrived struct {
	place
	code  code
	data  []byte
	begun topic.Begun // with codeTaken and codeReceipt: to be waited for
	waits bool
	acks  topic.Acks
}

// mostQueued is how many bytes of publishes of one node and group may wait to be appended; it sends less.
const mostQueued = 4 * window

// arrived takes a publish of another node.
func (f *Forwarder) arrived(folder string, number uint32, payload []byte) {
	r, err := parseRequest(payload)
	if err != nil {
		f.o.Log.Warn("a publish of another broker cannot be read", "folder", folder, "error", err)
		return // that node notices that there is no answer
	}
	f.mu.Lock()
	at := sender{folder, number}
	in := f.incoming[at]
	if in == nil {
		in = &incoming{f: f, from: at}
		f.incoming[at] = in
	}
	f.mu.Unlock()
	in.take(r)
}

// take puts a publish into the queue, unless one before it is missing.
func (in *incoming) take(r request) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if r.origin != in.origin || r.epoch > in.epoch {
		in.origin, in.epoch, in.next, in.broken = r.origin, r.epoch, 0, false
		in.queue, in.bytes = nil, 0
	}
	switch {
	case r.epoch < in.epoch || in.broken:
		return
	case r.seq != in.next || in.bytes > mostQueued:
		in.breakLocked(r.place, "")
		return
	}
	in.next++
	in.queue = append(in.queue, r)
	in.bytes += len(r.frames)
	if !in.appends {
		in.appends = in.f.spawn(in.append)
	}
}

// breakLocked ends the epoch, and has the sender told so behind all that is answered before. lead is who leads, if that is known.
func (in *incoming) breakLocked(at place, lead string) {
	if in.broken || at.epoch != in.epoch || at.origin != in.origin {
		return
	}
	in.broken = true
	in.queue, in.bytes = nil, 0
	in.answerLocked(arrived{place: at, code: codeAgain, data: []byte(lead)})
}

// answerLocked has something answered.
func (in *incoming) answerLocked(a arrived) {
	in.begun = append(in.begun, a)
	if !in.finishing {
		in.finishing = in.f.spawn(in.finish)
	}
}

// append appends what is in the queue, in order, until there is nothing.
func (in *incoming) append() {
	for {
		in.mu.Lock()
		if len(in.queue) == 0 {
			in.queue, in.appends = nil, false
			in.mu.Unlock()
			return
		}
		r := in.queue[0]
		in.queue[0] = request{}
		in.queue = in.queue[1:]
		in.bytes -= len(r.frames)
		in.mu.Unlock()
		a := in.begin(&r)
		in.mu.Lock()
		switch {
		case a.code == codeAgain:
			in.breakLocked(a.place, string(a.data))
		case a.waits && a.acks < policy.AcksAll:
			in.keepLocked(a)
			fallthrough
		default:
			in.answerLocked(a)
		}
		in.mu.Unlock()
	}
}

// begin appends a publish, if this node leads.
func (in *incoming) begin(r *request) arrived {
	f := in.f
	led := f.leading(in.from.group)
	if led == nil {
		return arrived{place: r.place, code: codeAgain, data: []byte(f.o.Cluster.Leader(in.from.group))}
	}
	if r.seq == 0 {
		return arrived{place: r.place, code: codeReady}
	}
	t := led.Topic(r.topic)
	if t == nil {
		return absent(led, r)
	}
	acks := policy.AcksAll
	if !r.early && !r.receipt {
		ok := false
		if acks, ok = t.Policy().Asked(r.acks); !ok {
			return arrived{place: r.place, code: codeRefused, data: appendRefusal(nil, topic.ErrAcks)}
		}
	}
	b, err := topic.BatchOf(r.frames, r.count)
	if err != nil {
		return arrived{place: r.place, code: codeRefused, data: appendRefusal(nil, err)}
	}
	b.Due, b.From, b.InOrder = r.due, r.from(), r.early && r.acks == policy.AcksNone
	begun, err := t.Begin(&b, r.delay)
	if err == nil {
		f.counts.arrived.Add(1)
		in.short = 0
	}
	switch {
	case err == nil && r.receipt:
		return arrived{place: r.place, code: codeReceipt, begun: begun, waits: true, acks: acks}
	case err == nil:
		return arrived{place: r.place, code: codeTaken, begun: begun, waits: true, acks: acks}
	case errors.Is(err, topic.ErrOver):
		return arrived{place: r.place, code: codeTaken}
	case errors.Is(err, topic.ErrExiting) && f.leading(in.from.group) == led:
		return absent(led, r)
	case errors.Is(err, topic.ErrNotLeader), errors.Is(err, topic.ErrTwice), errors.Is(err, topic.ErrExiting):
		return arrived{place: r.place, code: codeAgain}
	case r.early && errors.Is(err, topic.ErrNoRoom): // nobody can be told any more: it waits, and keeps its place
		_ = f.pause(roomPace << min(in.short, 4))
		in.short++
		return arrived{place: r.place, code: codeAgain}
	}
	return arrived{place: r.place, code: codeRefused, data: appendRefusal(nil, err)}
}

// roomPace is how soon a publish that is answered is tried again for which there is no room, at first: twice as late each time, to 4 s, since all that is
// behind it is sent again as well.
const roomPace = 250 * time.Millisecond

// absent answers a publish to a topic that this node does not serve. One that is answered must not be passed by those behind it, if it is only not there
// yet: the epoch ends. One that may have to wait for long is refused, or it would keep those to all other topics of the group.
func absent(led *topic.Led, r *request) arrived {
	switch err := led.Barred(r.topic); {
	case !r.early:
		return arrived{place: r.place, code: codeNoTopic}
	case err != nil:
		return arrived{place: r.place, code: codeRefused, data: appendRefusal(nil, err)}
	}
	return arrived{place: r.place, code: codeAgain}
}

// keepLocked has a publish answered before its commit.
func (in *incoming) keepLocked(a arrived) {
	in.kept = append(in.kept, a)
	if !in.keeping {
		in.keeping = in.f.spawn(in.keep)
	}
}

// keep answers publishes before their commits, in order, until there is nothing. Of one that is not safe on this node finish tells.
func (in *incoming) keep() {
	out := answers{in: in}
	for {
		in.mu.Lock()
		list := in.kept
		in.kept = nil
		in.keeping = len(list) > 0
		in.mu.Unlock()
		if len(list) == 0 {
			return
		}
		for i := range list {
			if a := &list[i]; a.acks != policy.AcksOne || a.begun.AwaitOwn() == nil {
				out.add(&arrived{place: a.place, code: codeKept})
			}
		}
		out.flush()
	}
}

// finish waits for commits and answers, in order, until there is nothing. Behind one whose commit is not known nothing is answered in its epoch: an
// answer says that all before it were taken.
func (in *incoming) finish() {
	out := answers{in: in}
	for {
		in.mu.Lock()
		list := in.begun
		in.begun = nil
		in.finishing = len(list) > 0
		in.mu.Unlock()
		if len(list) == 0 {
			return
		}
		for i := range list {
			a := &list[i]
			if a.waits {
				if !a.begun.Safe() {
					out.flush()
				}
				if err := a.begun.Await(); err != nil {
					in.failed = a.place
					in.mu.Lock()
					in.breakLocked(a.place, "")
					in.mu.Unlock()
					continue
				}
				if a.code == codeReceipt {
					a.data = appendReceipt(nil, a.begun.Receipt())
				}
			}
			if a.code == codeAgain || a.origin != in.failed.origin || a.epoch != in.failed.epoch {
				out.add(a)
			}
		}
		out.flush()
	}
}

// answers are on their way to who sent the publishes.
type answers struct {
	in      *incoming
	place   place
	payload []byte
	taken   bool // all up to place, which does not stand in payload yet
}

// add adds one. That publishes are taken is said of the last one of several.
func (o *answers) add(a *arrived) {
	if a.origin != o.place.origin || a.epoch != o.place.epoch {
		o.flush()
	}
	if a.code != codeTaken {
		o.settle()
	}
	o.place, o.taken = a.place, a.code == codeTaken
	if !o.taken {
		o.put(answer{a.seq, a.code, a.data})
	}
}

func (o *answers) put(a answer) {
	if len(o.payload) == 0 {
		o.payload = appendPlace(o.payload, o.place)[:16]
	}
	o.payload = appendAnswer(o.payload, a)
	if len(o.payload) > mostAnswers {
		o.flush()
	}
}

// mostAnswers is how many bytes of answers are sent together, and one more.
const mostAnswers = 1 << 20

// settle writes down that all are taken up to a place.
func (o *answers) settle() {
	if o.taken {
		o.taken = false
		o.put(answer{seq: o.place.seq, code: codeTaken})
	}
}

// flush sends them. When there is no link any more who waits for them notices.
func (o *answers) flush() {
	o.settle()
	if len(o.payload) == 0 {
		return
	}
	f := o.in.f
	for errors.Is(f.o.Cluster.Send(o.in.from.folder, frameAnswers, o.in.from.group, o.payload), peer.ErrFull) {
		select {
		case <-time.After(retryEvery):
			continue
		case <-f.ctx.Done():
		}
		break
	}
	o.payload = o.payload[:0]
}
