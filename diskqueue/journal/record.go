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

// The kinds of the log. docs/FORMATS.md has the register: 15 is the engine's, 16 to 31 are given away already.
const (
	KindPublish   Kind = 1
	KindDelivered Kind = 2
	KindFinished  Kind = 3
	KindDeferred  Kind = 4
	KindChange    Kind = 5
	KindVoid      Kind = 6
	KindDiscarded Kind = 7
	KindMoved     Kind = 8
	KindAside     Kind = 24
	KindTime      Kind = 25
	KindBy        Kind = 26
	KindBack      Kind = 27
	KindConsumer  Kind = 28
)

// ErrRecord is a record that cannot be: it passed its checksum, so that it was written so.
var ErrRecord = errors.New("invalid journal record")

// Publish is the head of a Publish record.
type Publish struct {
	Topic uint32
	Only  uint32   // the channel that gets it, or All or Own
	Due   int64    // Unix nanoseconds, 0 when it is not deferred
	First Position // of the first message; the others count on from it
	Count int      // messages, 1 or more

	// Keys are the deduplication keys of the messages, for each one, no key where it has none; nil: none has any. With them Since is the
	// position of the first message whose key is remembered: those of older ones are forgotten.
	Keys  []Key
	Since Position

	Sums []uint32 // of the messages' keys that order them, for each one, 0 where it has none; nil: none has any

	From Origin // whose publish it was, and which; its zero value: that is not said

	Expires    int64  // Unix nanoseconds, from when on the messages are of no use any more; 0: never
	Properties []byte // what messages have beside their bodies, see AppendColumn; empty: nothing
}

// Last returns the position of the last message.
func (p *Publish) Last() Position { return p.First + Position(p.Count) - 1 }

// Who gets a publish, other than one channel.
const (
	All uint32 = 0              // every channel that the topic has then
	Own uint32 = math.MaxUint32 // the topic's own backlog: it is paused, has no channels, or is still learning them
)

// The flags of a Publish, each with what follows the head when it is set, in this order. docs/FORMATS.md has those that are given away.
const (
	flagDue        = 1 << 0 // due i64
	flagOrigin     = 1 << 1 // origin, number and low, u64 each
	flagSums       = 1 << 2 // sum u32 for each message
	flagDedup      = 1 << 3 // since u64, 16 bytes for each message
	flagExpiry     = 1 << 4 // expires i64
	flagProperties = 1 << 5 // size u32, and so many bytes: see AppendColumn
	knownFlags     = flagDue | flagOrigin | flagSums | flagDedup | flagExpiry | flagProperties
)

// publishSize is the size in bytes of the head without what flags bring.
const publishSize = 4 + 4 + 2 + 8 + 4

// AppendPublish appends the head; the frames follow it.
func AppendPublish(dst []byte, p Publish) []byte {
	flags := uint16(0)
	if p.Due != 0 {
		flags |= flagDue
	}
	if p.From != (Origin{}) {
		flags |= flagOrigin
	}
	if p.Sums != nil {
		flags |= flagSums
	}
	if p.Keys != nil {
		flags |= flagDedup
	}
	if p.Expires != 0 {
		flags |= flagExpiry
	}
	if len(p.Properties) > 0 {
		flags |= flagProperties
	}
	dst = binary.BigEndian.AppendUint32(dst, p.Topic)
	dst = binary.BigEndian.AppendUint32(dst, p.Only)
	dst = binary.BigEndian.AppendUint16(dst, flags)
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.First))
	dst = binary.BigEndian.AppendUint32(dst, uint32(p.Count))
	if p.Due != 0 {
		dst = binary.BigEndian.AppendUint64(dst, uint64(p.Due))
	}
	if p.From != (Origin{}) {
		dst = appendOrigin(dst, p.From)
	}
	if p.Sums != nil {
		dst = AppendSums(dst, p.Sums)
	}
	if p.Keys != nil {
		dst = binary.BigEndian.AppendUint64(dst, uint64(p.Since))
		for i := range p.Keys {
			dst = append(dst, p.Keys[i][:]...)
		}
	}
	if p.Expires != 0 {
		dst = binary.BigEndian.AppendUint64(dst, uint64(p.Expires))
	}
	if len(p.Properties) > 0 {
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(p.Properties)))
		dst = append(dst, p.Properties...)
	}
	return dst
}

// ParsePublish returns the head and the frames, a view of the record. It checks that the frames are whole and as many as the
// head says.
func ParsePublish(b []byte) (p Publish, frames []byte, err error) {
	if len(b) < publishSize {
		return p, nil, fmt.Errorf("%w: publish of %d bytes", ErrRecord, len(b))
	}
	p = Publish{Topic: binary.BigEndian.Uint32(b), Only: binary.BigEndian.Uint32(b[4:]), First: Position(binary.BigEndian.Uint64(b[10:])),
		Count: int(binary.BigEndian.Uint32(b[18:]))}
	flags := binary.BigEndian.Uint16(b[8:])
	frames = b[publishSize:]
	if flags&^knownFlags != 0 {
		return p, nil, fmt.Errorf("%w: publish with flags %#x, which a newer version has written", ErrRecord, flags)
	}
	if flags&flagDue != 0 {
		if len(frames) < 8 {
			return p, nil, fmt.Errorf("%w: publish of %d bytes without its due time", ErrRecord, len(b))
		}
		p.Due, frames = int64(binary.BigEndian.Uint64(frames)), frames[8:]
	}
	if flags&flagOrigin != 0 {
		if p.From, frames, err = parseOrigin(frames); err != nil {
			return p, nil, err
		}
	}
	if flags&flagSums != 0 {
		if frames, err = p.parseSums(frames); err != nil {
			return p, nil, err
		}
	}
	if flags&flagDedup != 0 {
		if frames, err = p.parseKeys(frames); err != nil {
			return p, nil, err
		}
	}
	if flags&flagExpiry != 0 {
		if len(frames) < 8 {
			return p, nil, fmt.Errorf("%w: publish of %d bytes without the end of its time to live", ErrRecord, len(b))
		}
		p.Expires, frames = int64(binary.BigEndian.Uint64(frames)), frames[8:]
	}
	if flags&flagProperties != 0 {
		if p.Properties, frames, err = parseColumn(frames); err != nil {
			return p, nil, err
		}
	}
	if err = checkFrames(&p, frames); err == nil {
		err = EachOfColumn(p.Properties, Range{p.First, p.Last()}, func(Beside) {})
	}
	return p, frames, err
}

// parseKeys reads the deduplication keys of a Publish and returns what is behind them.
func (p *Publish) parseKeys(b []byte) (rest []byte, err error) {
	if len(b) < 8 || p.Count > (len(b)-8)/KeySize {
		return nil, fmt.Errorf("%w: publish of %d messages without their deduplication keys", ErrRecord, p.Count)
	}
	p.Since, b = Position(binary.BigEndian.Uint64(b)), b[8:]
	p.Keys = make([]Key, p.Count)
	for i := range p.Keys {
		copy(p.Keys[i][:], b[i*KeySize:])
	}
	return b[p.Count*KeySize:], nil
}

// parseColumn returns a column of a Publish and what is behind it.
func parseColumn(b []byte) (column, rest []byte, err error) {
	if len(b) >= 4 {
		if n := uint64(binary.BigEndian.Uint32(b)); n > 0 && n <= uint64(len(b)-4) {
			return b[4 : 4+n : 4+n], b[4+n:], nil
		}
	}
	return nil, nil, fmt.Errorf("%w: publish without its properties", ErrRecord)
}

func checkFrames(p *Publish, frames []byte) error {
	n := 0
	for rest := frames; len(rest) > 0; n++ {
		t, _, size, err := protocol.ParseFrame(rest, len(rest))
		if err != nil || t != protocol.FrameMessage {
			return fmt.Errorf("%w: publish with a broken frame", ErrRecord)
		}
		if _, ok := protocol.MessageFrame(rest[:size]).ID(); !ok {
			return fmt.Errorf("%w: publish with a broken id", ErrRecord)
		}
		rest = rest[size:]
	}
	if n == 0 || n != p.Count {
		return fmt.Errorf("%w: publish of %d messages holds %d", ErrRecord, p.Count, n)
	}
	if p.First == 0 || p.Last() < p.First {
		return fmt.Errorf("%w: publish of %d messages from position %d on", ErrRecord, p.Count, p.First)
	}
	return nil
}

// Runs collects the positions of a record. One of the Begin methods makes it ready; its memory is reused.
type Runs struct {
	buf   []byte
	head  int      // bytes before the runs
	first Position // of the run that is not written yet
	n     uint64   // its length
	end   Position // of the run before it
}

// Begin starts a Finished record for a channel.
func (r *Runs) Begin(topic, channel uint32) {
	r.buf = binary.BigEndian.AppendUint32(r.buf[:0], topic)
	r.buf = binary.BigEndian.AppendUint32(r.buf, channel)
	r.n, r.end, r.head = 0, 0, len(r.buf)
}

// BeginDelivered starts a Delivered record for a channel whose backlog had been left up to the message after, as the record
// before it says: else that one was lost.
func (r *Runs) BeginDelivered(topic, channel uint32, after Position) {
	r.Begin(topic, channel)
	r.buf = binary.BigEndian.AppendUint64(r.buf, uint64(after))
	r.head = len(r.buf)
}

// BeginDiscarded starts a Discarded record for a channel.
func (r *Runs) BeginDiscarded(topic, channel uint32, why Reason) {
	r.Begin(topic, channel)
	r.buf = append(r.buf, byte(why))
	r.head = len(r.buf)
}

// BeginVoid starts a Void record for a topic.
func (r *Runs) BeginVoid(topic uint32) {
	r.buf = binary.BigEndian.AppendUint32(r.buf[:0], topic)
	r.n, r.end, r.head = 0, 0, len(r.buf)
}

// Add appends a position.
func (r *Runs) Add(pos Position) {
	if r.n > 0 && pos == r.first+Position(r.n) {
		r.n++
		return
	}
	r.flush()
	r.first, r.n = pos, 1
}

// AddRange appends all positions of a range.
func (r *Runs) AddRange(add Range) {
	if r.n > 0 && add.First == r.first+Position(r.n) {
		r.n += uint64(add.Len())
		return
	}
	r.flush()
	r.first, r.n = add.First, uint64(add.Len())
}

func (r *Runs) flush() {
	if r.n == 0 {
		return
	}
	r.buf = binary.AppendVarint(r.buf, int64(r.first-r.end))
	r.buf = binary.AppendUvarint(r.buf, r.n)
	r.end = r.first + Position(r.n)
	r.n = 0
}

// Record returns the payload, which lives until the next Begin, or nil when nothing was added.
func (r *Runs) Record() []byte {
	r.flush()
	if len(r.buf) == r.head {
		return nil
	}
	return r.buf
}

// Runs returns the runs without what is before them, as a Moved record has them; they live until the next Begin.
func (r *Runs) Runs() []byte {
	r.flush()
	return r.buf[r.head:]
}

// parseHead reads topic and channel.
func parseHead(b []byte) (topic, channel uint32, rest []byte, err error) {
	if len(b) < 8 {
		return 0, 0, nil, fmt.Errorf("%w: %d bytes", ErrRecord, len(b))
	}
	return binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), b[8:], nil
}

// maxRuns bounds the positions of one record that are looked at one by one, so that one that makes no sense cannot keep recovery busy.
const maxRuns = 1 << 20

// eachRun calls f with every run of at most limit positions in all.
func eachRun(b []byte, limit uint64, f func(Range)) error {
	var end Position
	for left := limit; len(b) > 0; {
		d, k := binary.Varint(b)
		if k <= 0 {
			return fmt.Errorf("%w: run", ErrRecord)
		}
		n, m := binary.Uvarint(b[k:])
		if m <= 0 || n == 0 || n > left {
			return fmt.Errorf("%w: run of length %d", ErrRecord, n)
		}
		left -= n
		first := end + Position(d)
		if first == 0 || first+Position(n) < first {
			return fmt.Errorf("%w: run of %d from position %d on", ErrRecord, n, first)
		}
		f(Range{first, first + Position(n) - 1})
		end = first + Position(n)
		b = b[k+m:]
	}
	return nil
}

// Deferrals collects a Deferred record. Begin makes it ready; its memory is reused.
type Deferrals struct {
	buf []byte
	pos Position
	due int64
}

// Begin starts a record for a channel.
func (d *Deferrals) Begin(topic, channel uint32) {
	d.buf = binary.BigEndian.AppendUint32(d.buf[:0], topic)
	d.buf = binary.BigEndian.AppendUint32(d.buf, channel)
	d.pos, d.due = 0, 0
}

// Add appends a message that is due at a time, Unix nanoseconds.
func (d *Deferrals) Add(pos Position, due int64) {
	d.buf = binary.AppendVarint(d.buf, int64(pos-d.pos))
	d.buf = binary.AppendVarint(d.buf, due-d.due)
	d.pos, d.due = pos, due
}

// Record returns the payload, which lives until the next Begin, or nil when nothing was added.
func (d *Deferrals) Record() []byte {
	if len(d.buf) == 8 {
		return nil
	}
	return d.buf
}

func eachDeferral(b []byte, f func(pos Position, due int64)) error {
	var pos Position
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
		pos += Position(d)
		due += t
		f(pos, due)
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
	OpOptions       Op = "options" // of the topic, or channel when not 0, replaced whole
	OpFloor         Op = "floor"   // the topic keeps messages from position Next on that are finished; 0: none
	OpRewind        Op = "rewind"  // the messages in Runs, from position Next on, wait on the channel once more
	OpSkip          Op = "skip"    // the topic's next message has position Next: lower ones may be on disk; Options as of then
)

// Change is a change of topics and channels.
type Change struct {
	Op      Op              `json:"op"`
	Topic   uint32          `json:"topic"`
	Channel uint32          `json:"channel,omitempty"`
	Name    string          `json:"name,omitempty"`
	Paused  bool            `json:"paused,omitempty"`
	Next    Position        `json:"next,omitempty"`
	Options json.RawMessage `json:"options,omitempty"`
	Runs    []byte          `json:"runs,omitempty"` // of a rewind, and of a channel that is made at a place: positions, as a Runs has them behind its head
}

// AppendChange appends the payload of a Change record.
func AppendChange(dst []byte, c Change) []byte {
	b, err := json.Marshal(c)
	if err != nil {
		panic(fmt.Sprintf("journal: a change that cannot be encoded: %v", err)) // only Options could be, and they were parsed
	}
	return append(dst, b...)
}
