package journal

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"brokerd/protocol"
)

// Kind is what a record says. The values are on disk.
type Kind byte

// The kinds of the log.
const (
	KindPublish   Kind = 1
	KindDelivered Kind = 2
	KindFinished  Kind = 3
	KindDeferred  Kind = 4
	KindChange    Kind = 5
)

// ErrRecord is a record that cannot be: it passed its checksum, so that it was written so.
var ErrRecord = errors.New("invalid journal record")

// Publish is the head of a Publish record.
type Publish struct {
	Topic uint32
	Only  uint32 // the channel that gets it, or All or Own
	Due   int64  // Unix nanoseconds, 0 when it is not deferred
	First protocol.MessageID
	Last  protocol.MessageID
	Seq   uint64 // sequence number of the first message in the topic; the others count on from it
	Count int
}

// Who gets a publish, other than one channel.
const (
	All uint32 = 0              // every channel that the topic has then
	Own uint32 = math.MaxUint32 // the topic's own backlog: it is paused, has no channels, or is still learning them
)

// publishSize is the size of that head in bytes.
const publishSize = 4 + 4 + 8 + 8 + 8 + 8 + 4

// AppendPublish appends the head; the frames follow it.
func AppendPublish(dst []byte, p Publish) []byte {
	dst = binary.BigEndian.AppendUint32(dst, p.Topic)
	dst = binary.BigEndian.AppendUint32(dst, p.Only)
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.Due))
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.First))
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.Last))
	dst = binary.BigEndian.AppendUint64(dst, p.Seq)
	return binary.BigEndian.AppendUint32(dst, uint32(p.Count))
}

// ParsePublish returns the head and the frames, a view of the record. It checks that the frames are whole and as many as the
// head says, with ids that grow from First to Last.
func ParsePublish(b []byte) (p Publish, frames []byte, err error) {
	if len(b) < publishSize {
		return p, nil, fmt.Errorf("%w: publish of %d bytes", ErrRecord, len(b))
	}
	p = Publish{
		Topic: binary.BigEndian.Uint32(b), Only: binary.BigEndian.Uint32(b[4:]), Due: int64(binary.BigEndian.Uint64(b[8:])),
		First: protocol.MessageID(binary.BigEndian.Uint64(b[16:])), Last: protocol.MessageID(binary.BigEndian.Uint64(b[24:])),
		Seq: binary.BigEndian.Uint64(b[32:]), Count: int(binary.BigEndian.Uint32(b[40:])),
	}
	frames = b[publishSize:]
	return p, frames, checkFrames(p, frames)
}

func checkFrames(p Publish, frames []byte) error {
	before, n := p.First-1, 0
	for rest := frames; len(rest) > 0; n++ {
		t, _, size, err := protocol.ParseFrame(rest, len(rest))
		if err != nil || t != protocol.FrameMessage {
			return fmt.Errorf("%w: publish with a broken frame", ErrRecord)
		}
		id, ok := protocol.MessageFrame(rest[:size]).ID()
		if !ok || id <= before || id > p.Last {
			return fmt.Errorf("%w: publish with id %s outside %s to %s", ErrRecord, id, before+1, p.Last)
		}
		before, rest = id, rest[size:]
	}
	if n != p.Count || before != p.Last {
		return fmt.Errorf("%w: publish of %d messages holds %d", ErrRecord, p.Count, n)
	}
	return nil
}

// Runs collects the ids of a Delivered or Finished record. Begin or BeginDelivered makes it ready; its memory is reused.
type Runs struct {
	buf   []byte
	head  int                // bytes before the runs
	first protocol.MessageID // of the run that is not written yet
	n     uint64             // its length
	end   protocol.MessageID // of the run before it
}

// Begin starts a Finished record for a channel.
func (r *Runs) Begin(topic, channel uint32) {
	r.buf = binary.BigEndian.AppendUint32(r.buf[:0], topic)
	r.buf = binary.BigEndian.AppendUint32(r.buf, channel)
	r.n, r.end, r.head = 0, 0, len(r.buf)
}

// BeginDelivered starts a Delivered record for a channel whose backlog had been left up to the message after, as the record
// before it says: else that one was lost.
func (r *Runs) BeginDelivered(topic, channel uint32, after protocol.MessageID) {
	r.Begin(topic, channel)
	r.buf = binary.BigEndian.AppendUint64(r.buf, uint64(after))
	r.head = len(r.buf)
}

// Add appends an id.
func (r *Runs) Add(id protocol.MessageID) {
	if r.n > 0 && id == r.first+protocol.MessageID(r.n) {
		r.n++
		return
	}
	r.flush()
	r.first, r.n = id, 1
}

func (r *Runs) flush() {
	if r.n == 0 {
		return
	}
	r.buf = binary.AppendVarint(r.buf, int64(r.first-r.end))
	r.buf = binary.AppendUvarint(r.buf, r.n)
	r.end = r.first + protocol.MessageID(r.n)
	r.n = 0
}

// Record returns the payload, which lives until the next Begin, or nil when no id was added.
func (r *Runs) Record() []byte {
	r.flush()
	if len(r.buf) == r.head {
		return nil
	}
	return r.buf
}

// parseHead reads topic and channel.
func parseHead(b []byte) (topic, channel uint32, rest []byte, err error) {
	if len(b) < 8 {
		return 0, 0, nil, fmt.Errorf("%w: %d bytes", ErrRecord, len(b))
	}
	return binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), b[8:], nil
}

// maxRuns bounds the ids of one record, so that one that makes no sense cannot keep recovery busy.
const maxRuns = 1 << 20

// eachRun calls f with every run.
func eachRun(b []byte, f func(first protocol.MessageID, n uint64)) error {
	var end protocol.MessageID
	for left := uint64(maxRuns); len(b) > 0; {
		d, k := binary.Varint(b)
		if k <= 0 {
			return fmt.Errorf("%w: run", ErrRecord)
		}
		n, m := binary.Uvarint(b[k:])
		if m <= 0 || n == 0 || n > left {
			return fmt.Errorf("%w: run of length %d", ErrRecord, n)
		}
		left -= n
		first := end + protocol.MessageID(d)
		f(first, n)
		end = first + protocol.MessageID(n)
		b = b[k+m:]
	}
	return nil
}

// Deferrals collects a Deferred record. Begin makes it ready; its memory is reused.
type Deferrals struct {
	buf []byte
	id  protocol.MessageID
	due int64
}

// Begin starts a record for a channel.
func (d *Deferrals) Begin(topic, channel uint32) {
	d.buf = binary.BigEndian.AppendUint32(d.buf[:0], topic)
	d.buf = binary.BigEndian.AppendUint32(d.buf, channel)
	d.id, d.due = 0, 0
}

// Add appends a message that is due at a time, Unix nanoseconds.
func (d *Deferrals) Add(id protocol.MessageID, due int64) {
	d.buf = binary.AppendVarint(d.buf, int64(id-d.id))
	d.buf = binary.AppendVarint(d.buf, due-d.due)
	d.id, d.due = id, due
}

// Record returns the payload, which lives until the next Begin, or nil when nothing was added.
func (d *Deferrals) Record() []byte {
	if len(d.buf) == 8 {
		return nil
	}
	return d.buf
}

func eachDeferral(b []byte, f func(id protocol.MessageID, due int64)) error {
	var id protocol.MessageID
	var due int64
	for len(b) > 0 {
		d, k := binary.Varint(b)
		if k <= 0 {
			return fmt.Errorf("%w: deferral", ErrRecord)
		}
		t, m := binary.Varint(b[k:])
		if m <= 0 {
			return fmt.Errorf("%w: deferral", ErrRecord)
		}
		id += protocol.MessageID(d)
		due += t
		f(id, due)
		b = b[k+m:]
	}
	return nil
}

// Op is what a Change does. The values are on disk.
type Op string

// The changes. Channel 0 is the topic's own backlog.
const (
	OpCreateTopic   Op = "create-topic"
	OpDeleteTopic   Op = "delete-topic"
	OpCreateChannel Op = "create-channel"
	OpDeleteChannel Op = "delete-channel"
	OpPause         Op = "pause"   // topic, or channel when not 0, to Paused
	OpEmpty         Op = "empty"   // what the channel has, all of it
	OpInherit       Op = "inherit" // the topic's own backlog moves to all its channels
	OpOptions       Op = "options" // of the topic, replaced whole
	OpSkip          Op = "skip"    // the topic's next message has number Seq: lower ones may be on disk; Options as of then
)

// Change is a change of topics and channels.
type Change struct {
	Op      Op              `json:"op"`
	Topic   uint32          `json:"topic"`
	Channel uint32          `json:"channel,omitempty"`
	Name    string          `json:"name,omitempty"`
	Paused  bool            `json:"paused,omitempty"`
	Seq     uint64          `json:"seq,omitempty"`
	Options json.RawMessage `json:"options,omitempty"`
}

// AppendChange appends the payload of a Change record.
func AppendChange(dst []byte, c Change) []byte {
	b, err := json.Marshal(c)
	if err != nil {
		panic(fmt.Sprintf("journal: a change that cannot be encoded: %v", err)) // only Options could be, and they were parsed
	}
	return append(dst, b...)
}
