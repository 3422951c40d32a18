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

	"brokerd/protocol"
)

// checkpointMagic begins a checkpoint; its last digit is the version of the format.
const checkpointMagic = "BRKDCKP1"

// The kinds of a checkpoint's records. The values are on disk.
const (
	kindTopic   Kind = 64
	kindChannel Kind = 65
	kindWaiting Kind = 66
	kindOut     Kind = 67
	kindEnd     Kind = 68
	kindNodes   Kind = 69
	kindHead    Kind = 70
)

// ErrCheckpoint is a file that is not a whole checkpoint.
var ErrCheckpoint = errors.New("not a whole checkpoint")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Writer encodes a checkpoint: the Head, then each Topic, behind it its Channels, behind each its Out, and at last Finish.
type Writer struct {
	buf   []byte
	n     uint64
	start int // of the record that is being written
	outs  int // messages in it
}

// NewWriter returns a writer that has written nothing.
func NewWriter() *Writer { return &Writer{buf: []byte(checkpointMagic), start: -1} }

// recordHead is the size of length, checksum and kind.
const recordHead = 9

// maxOuts is how many messages one Out record holds, and outSize the bytes of each.
const (
	maxOuts = 4096
	outSize = 18
)

// spareRoom is for the records around a channel's messages, in bytes.
const spareRoom = 4 << 10

// head is what a checkpoint says of the whole node.
type head struct {
	NextID uint32   `json:"next_id"`
	From   Position `json:"from"`
}

// Head says which number the next topic or channel gets, and where the log was when the checkpoint was begun.
func (w *Writer) Head(nextID uint32, from Position) { w.json(kindHead, head{nextID, from}) }

func (w *Writer) begin(k Kind) {
	w.end()
	w.start = len(w.buf)
	w.buf = append(w.buf, make([]byte, recordHead)...)
	w.buf[len(w.buf)-1] = byte(k)
}

func (w *Writer) end() {
	if w.start < 0 {
		return
	}
	r := w.buf[w.start:]
	binary.BigEndian.PutUint32(r, uint32(len(r)-8))
	binary.BigEndian.PutUint32(r[4:], crc32.Checksum(r[8:], castagnoli))
	w.n++
	w.start, w.outs = -1, 0
}

func (w *Writer) json(k Kind, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("journal: a state that cannot be encoded: %v", err)) // only Options could be, and they were parsed
	}
	w.begin(k)
	w.buf = append(w.buf, b...)
}

// Topic adds a topic with its Nodes, without its channels.
func (w *Writer) Topic(t *Topic) {
	w.json(kindTopic, t)
	if len(t.Nodes) == 0 {
		return
	}
	w.begin(kindNodes)
	for _, n := range t.Nodes {
		w.buf = binary.BigEndian.AppendUint64(w.buf, n.Seq)
		w.buf = binary.BigEndian.AppendUint32(w.buf, n.Count)
		w.buf = binary.BigEndian.AppendUint64(w.buf, uint64(n.First))
		w.buf = binary.BigEndian.AppendUint64(w.buf, uint64(n.Last))
	}
}

// Channel adds a channel of the last topic with what waits there; Out adds the rest of it.
func (w *Writer) Channel(c *Channel) {
	w.json(kindChannel, c)
	// Room for all, and for what follows: ten million messages are copied otherwise, which takes their memory twice.
	w.buf = slices.Grow(w.buf, c.Outs*outSize+c.Outs/maxOuts*recordHead+len(c.Waiting)*16+spareRoom)
	if len(c.Waiting) == 0 {
		return
	}
	w.begin(kindWaiting)
	for _, r := range c.Waiting {
		w.buf = binary.BigEndian.AppendUint64(w.buf, uint64(r.First))
		w.buf = binary.BigEndian.AppendUint64(w.buf, uint64(r.Last))
	}
}

// Out adds a message of the last channel.
func (w *Writer) Out(id protocol.MessageID, o Out) {
	if w.outs == 0 || w.outs == maxOuts {
		w.begin(kindOut)
	}
	w.outs++
	w.buf = binary.BigEndian.AppendUint64(w.buf, uint64(id))
	w.buf = binary.BigEndian.AppendUint64(w.buf, uint64(o.Due))
	w.buf = binary.BigEndian.AppendUint16(w.buf, o.Attempts)
}

// Finish ends the checkpoint and returns it.
func (w *Writer) Finish() []byte {
	w.begin(kindEnd)
	w.buf = binary.BigEndian.AppendUint64(w.buf, w.n)
	w.end()
	return w.buf
}

// Write encodes a whole state that is settled.
func Write(s *State) []byte {
	w := NewWriter()
	w.Head(s.NextID, s.From)
	for _, id := range sortedKeys(s.Topics) {
		t := s.Topics[id]
		w.Topic(t)
		for _, c := range t.Channels {
			c.Outs = c.Out.Len()
			w.Channel(c)
			c.Out.Each(w.Out)
		}
	}
	return w.Finish()
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
		r.state.NextID, r.state.From = max(r.state.NextID, h.NextID), h.From
		return nil
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
		c.Out.list.grow(int(min(int64(max(c.Outs, 0)), r.left/outSize)))
		r.channel = c
		r.topic.Channels = append(r.topic.Channels, c)
		r.state.NextID = max(r.state.NextID, c.ID+1)
		return nil
	case kind == kindNodes && r.topic != nil && len(b)%28 == 0:
		for ; len(b) > 0; b = b[28:] {
			n := Node{Seq: binary.BigEndian.Uint64(b), Count: binary.BigEndian.Uint32(b[8:]), First: id(b[12:]), Last: id(b[20:])}
			r.topic.Nodes = append(r.topic.Nodes, n)
		}
		return nil
	case kind == kindWaiting && r.channel != nil && len(b)%16 == 0:
		for ; len(b) > 0; b = b[16:] {
			r.channel.Waiting = append(r.channel.Waiting, Range{id(b), id(b[8:])})
		}
		return nil
	case kind == kindOut && r.channel != nil && len(b)%outSize == 0:
		for ; len(b) > 0; b = b[outSize:] {
			due := max(int64(binary.BigEndian.Uint64(b[8:])), removed+1)
			r.channel.Out.list.push(id(b), Out{Due: due, Attempts: binary.BigEndian.Uint16(b[16:])})
		}
		return nil
	}
	return fmt.Errorf("%w: kind %d of %d bytes", ErrRecord, kind, len(b))
}

func id(b []byte) protocol.MessageID { return protocol.MessageID(binary.BigEndian.Uint64(b)) }
