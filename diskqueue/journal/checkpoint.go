package journal

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

// checkpointMagic begins a checkpoint; its last digit is the version of the format.
const checkpointMagic = "BRKDCKP2"

// The kinds of a checkpoint's records. The values are on disk.
const (
	kindTopic   Kind = 64
	kindChannel Kind = 65
	kindWaiting Kind = 66
	kindOut     Kind = 67
	kindEnd     Kind = 68
	kindNodes   Kind = 69
	kindHead    Kind = 70
	kindDedup   Kind = 73
	kindExpiry  Kind = 74

	kindUnshared Kind = 71
	kindArchive  Kind = 72
	kindOrigin   Kind = 75
)

// ErrCheckpoint is a file that is not a whole checkpoint.
var ErrCheckpoint = errors.New("not a whole checkpoint")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Writer encodes a checkpoint record by record: the Head, then each Topic, behind it its Channels, behind each its Out, and at
// last Finish, which returns the first error of all.
type Writer struct {
	dst   io.Writer
	buf   []byte // of the record that is being written, empty when none is
	n     uint64 // records
	bytes int64
	outs  int // messages in the record

	expiries int // in the record
	keys     int // the same
	err      error
}

// NewWriter returns a writer that has written the magic.
func NewWriter(dst io.Writer) *Writer {
	w := &Writer{dst: dst}
	w.write([]byte(checkpointMagic))
	return w
}

func (w *Writer) write(b []byte) {
	if w.err == nil {
		_, w.err = w.dst.Write(b)
		w.bytes += int64(len(b))
	}
}

// recordHead is the size of length, checksum and kind.
const recordHead = 9

// maxOuts is how many messages one Out record holds, and outSize the bytes of each; of Nodes and Waiting a record holds as many.
const (
	maxOuts  = 4096
	outSize  = 18
	nodeSize = 24
	waitSize = 16
)

// head is what a checkpoint says of the whole node.
type head struct {
	NextID uint32 `json:"next_id"`
	From   Offset `json:"from"`
	Time   int64  `json:"time,omitempty"`
}

// Head says which number the next topic or channel gets, where the log was when the checkpoint was begun, and what time it was, in Unix
// nanoseconds, 0 when that is not known.
func (w *Writer) Head(nextID uint32, from Offset, now int64) {
	w.json(kindHead, head{nextID, from, now})
}

func (w *Writer) begin(k Kind) {
	w.end()
	w.buf = append(w.buf, make([]byte, recordHead)...)
	w.buf[recordHead-1] = byte(k)
}

func (w *Writer) end() {
	if len(w.buf) == 0 {
		return
	}
	binary.BigEndian.PutUint32(w.buf, uint32(len(w.buf)-8))
	binary.BigEndian.PutUint32(w.buf[4:], crc32.Checksum(w.buf[8:], castagnoli))
	w.write(w.buf)
	w.n++
	w.buf, w.outs, w.expiries, w.keys = w.buf[:0], 0, 0, 0
}

func (w *Writer) json(k Kind, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("journal: a state that cannot be encoded: %v", err)) // only Options could be, and they were parsed
	}
	w.begin(k)
	w.buf = append(w.buf, b...)
}

// Topic adds a topic with its Nodes and Files, without its channels.
func (w *Writer) Topic(t *Topic) {
	w.json(kindTopic, t)
	for some := range slices.Chunk(t.Nodes, maxOuts) {
		w.begin(kindNodes)
		for _, n := range some {
			w.buf = binary.BigEndian.AppendUint64(w.buf, uint64(n.First))
			for _, v := range [...]uint32{n.Count, n.File, n.Offset, n.Length} {
				w.buf = binary.BigEndian.AppendUint32(w.buf, v)
			}
		}
	}
	w.files(t.Files)
	w.unshared(t.Unshared)
}

// Channel adds a channel of the last topic with what waits there; Out adds the rest of it.
func (w *Writer) Channel(c *Channel) {
	w.json(kindChannel, c)
	for some := range slices.Chunk(c.Waiting, maxOuts) {
		w.begin(kindWaiting)
		for _, r := range some {
			w.buf = binary.BigEndian.AppendUint64(w.buf, uint64(r.First))
			w.buf = binary.BigEndian.AppendUint64(w.buf, uint64(r.Last))
		}
	}
}

// Out adds a message of the last channel.
func (w *Writer) Out(pos Position, o Out) {
	if w.outs == 0 || w.outs == maxOuts {
		w.begin(kindOut)
	}
	w.outs++
	w.buf = binary.BigEndian.AppendUint64(w.buf, uint64(pos))
	w.buf = binary.BigEndian.AppendUint64(w.buf, uint64(o.Due))
	w.buf = binary.BigEndian.AppendUint16(w.buf, o.Attempts)
}

// Finish ends the checkpoint and returns its size.
func (w *Writer) Finish() (bytes int64, err error) {
	w.begin(kindEnd)
	w.buf = binary.BigEndian.AppendUint64(w.buf, w.n)
	w.end()
	return w.bytes, w.err
}

func sortedKeys[K ~uint32 | ~uint64, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// ReadCheckpoint decodes a checkpoint of size bytes. Anything but a whole one is ErrCheckpoint; other errors are those of src.
func ReadCheckpoint(src io.Reader, size int64) (*State, error) {
	in := bufio.NewReaderSize(src, 256<<10)
	magic := make([]byte, len(checkpointMagic))
	switch _, err := io.ReadFull(in, magic); {
	case ended(err) || err == nil && string(magic) != checkpointMagic:
		return nil, fmt.Errorf("%w: it does not begin with %s", ErrCheckpoint, checkpointMagic)
	case err != nil:
		return nil, err
	}
	r := reader{state: NewState(), left: size - int64(len(magic))}
	for n := uint64(0); ; n++ {
		at := size - r.left
		kind, payload, err := r.next(in)
		if ended(err) || errors.Is(err, ErrRecord) {
			return nil, fmt.Errorf("%w: damage at byte %d of %d", ErrCheckpoint, at, size)
		}
		if err != nil {
			return nil, err
		}
		if kind == kindEnd {
			if len(payload) != 8 || binary.BigEndian.Uint64(payload) != n || r.left > 0 {
				return nil, fmt.Errorf("%w: it ends after %d records and should not", ErrCheckpoint, n)
			}
			return r.finish()
		}
		if err := r.record(kind, payload); err != nil {
			return nil, fmt.Errorf("%w: record %d: %w", ErrCheckpoint, n, err)
		}
	}
}

func ended(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }

// reader builds a state from records.
type reader struct {
	state   *State
	topic   *Topic
	channel *Channel
	left    int64  // bytes
	buf     []byte // of the last record
}

// next reads a record, whose payload is good until the next call. What is no record is ErrRecord.
func (r *reader) next(in io.Reader) (Kind, []byte, error) {
	var h [8]byte
	if _, err := io.ReadFull(in, h[:]); err != nil {
		return 0, nil, err
	}
	n := int64(binary.BigEndian.Uint32(h[:]))
	if r.left -= 8 + n; n < 1 || r.left < 0 {
		return 0, nil, ErrRecord
	}
	r.buf = slices.Grow(r.buf[:0], int(n))[:n]
	if _, err := io.ReadFull(in, r.buf); err != nil {
		return 0, nil, err
	}
	if crc32.Checksum(r.buf, castagnoli) != binary.BigEndian.Uint32(h[4:]) {
		return 0, nil, ErrRecord
	}
	return Kind(r.buf[0]), r.buf[1:], nil
}

// finish puts the messages that are out in order.
func (r *reader) finish() (*State, error) {
	for _, t := range r.state.Topics {
		if len(t.Channels) == 0 || t.Channels[0].ID != 0 {
			return nil, fmt.Errorf("%w: topic %q has no backlog", ErrCheckpoint, t.Name)
		}
		t.Keys.enter()
		for _, c := range t.Channels {
			c.Out.order()
		}
	}
	return r.state, nil
}

func (r *reader) record(kind Kind, b []byte) error {
	switch {
	case kind == kindHead && r.topic == nil:
		var h head
		if err := json.Unmarshal(b, &h); err != nil {
			return err
		}
		r.state.NextID, r.state.From, r.state.listed = max(r.state.NextID, h.NextID), h.From, h.NextID
		r.state.Time = h.Time
		return nil
	case kind == kindOrigin && r.topic == nil && len(b) >= 16 && len(b)%waitSize == 0:
		return r.origin(b)
	case kind == kindTopic:
		t := &Topic{}
		if err := json.Unmarshal(b, t); err != nil {
			return err
		}
		r.topic, r.channel = t, nil
		r.state.Topics[t.ID] = t
		r.state.NextID = max(r.state.NextID, t.ID+1)
		return nil
	case kind == kindChannel && r.topic != nil:
		c := newChannel(0, "")
		if err := json.Unmarshal(b, c); err != nil {
			return err
		}
		r.channel = c
		r.topic.Channels = append(r.topic.Channels, c)
		r.state.NextID = max(r.state.NextID, c.ID+1)
		return nil
	case kind == kindNodes && r.topic != nil && len(b)%nodeSize == 0:
		for ; len(b) > 0; b = b[nodeSize:] {
			r.topic.Nodes = append(r.topic.Nodes, Node{First: position(b), Count: binary.BigEndian.Uint32(b[8:]),
				File: binary.BigEndian.Uint32(b[12:]), Offset: binary.BigEndian.Uint32(b[16:]), Length: binary.BigEndian.Uint32(b[20:])})
		}
		return nil
	case kind == kindExpiry && r.topic != nil && r.channel == nil && len(b)%expirySize == 0:
		r.topic.readExpiry(b)
		return nil
	case kind == kindDedup && r.topic != nil && r.channel == nil && len(b)%keyBytes == 0:
		return r.topic.readKeys(b)
	case kind == kindWaiting && r.channel != nil && len(b)%waitSize == 0:
		r.channel.Waiting = readRanges(r.channel.Waiting, b)
		return nil
	case kind == kindUnshared && r.topic != nil && r.channel == nil && len(b)%waitSize == 0:
		r.topic.Unshared = readRanges(r.topic.Unshared, b)
		return nil
	case kind == kindArchive && r.topic != nil && r.channel == nil && len(b)%fileSize == 0:
		r.topic.readFiles(b)
		return nil
	case kind == kindOut && r.channel != nil && len(b)%outSize == 0:
		for ; len(b) > 0; b = b[outSize:] {
			due := max(int64(binary.BigEndian.Uint64(b[8:])), removed+1)
			r.channel.Out.list.push(position(b), Out{Due: due, Attempts: binary.BigEndian.Uint16(b[16:])})
		}
		return nil
	}
	return fmt.Errorf("%w: kind %d of %d bytes", ErrRecord, kind, len(b))
}

func position(b []byte) Position { return Position(binary.BigEndian.Uint64(b)) }
