package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
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
)

// ErrCheckpoint is a file that is not a whole checkpoint.
var ErrCheckpoint = errors.New("not a whole checkpoint")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Writer encodes a checkpoint: a Topic, behind it each of its Channels, behind that its Waiting and Out, and at last Finish.
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

// maxOuts is how many messages one Out record holds.
const maxOuts = 4096

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

// Write encodes a whole state.
func Write(s *State) []byte {
	w := NewWriter()
	for _, id := range sortedKeys(s.Topics) {
		t := s.Topics[id]
		w.Topic(t)
		for _, c := range t.Channels {
			w.Channel(c)
			for _, id := range sortedKeys(c.Out) {
				w.Out(id, c.Out[id])
			}
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

// ReadCheckpoint decodes a checkpoint. Anything but a whole one is ErrCheckpoint.
func ReadCheckpoint(b []byte) (*State, error) {
	rest, ok := bytes.CutPrefix(b, []byte(checkpointMagic))
	if !ok {
		return nil, fmt.Errorf("%w: it does not begin with %s", ErrCheckpoint, checkpointMagic)
	}
	r := reader{state: NewState()}
	for n := uint64(0); ; n++ {
		kind, payload, size := nextRecord(rest)
		if size == 0 {
			return nil, fmt.Errorf("%w: damage at byte %d of %d", ErrCheckpoint, len(b)-len(rest), len(b))
		}
		if kind == kindEnd {
			if len(payload) != 8 || binary.BigEndian.Uint64(payload) != n {
				return nil, fmt.Errorf("%w: it ends after %d records and should not", ErrCheckpoint, n)
			}
			return r.state, nil
		}
		if err := r.record(kind, payload); err != nil {
			return nil, fmt.Errorf("%w: record %d: %w", ErrCheckpoint, n, err)
		}
		rest = rest[size:]
	}
}

// nextRecord returns the record at the start of b; size is 0 when there is no valid one.
func nextRecord(b []byte) (kind Kind, payload []byte, size int) {
	if len(b) < recordHead {
		return 0, nil, 0
	}
	n := int64(binary.BigEndian.Uint32(b))
	if n < 1 || n > int64(len(b)-8) {
		return 0, nil, 0
	}
	r := b[8 : 8+n]
	if crc32.Checksum(r, castagnoli) != binary.BigEndian.Uint32(b[4:]) {
		return 0, nil, 0
	}
	return Kind(r[0]), r[1:], int(8 + n)
}

// reader builds a state from records.
type reader struct {
	state   *State
	topic   *Topic
	channel *Channel
}

func (r *reader) record(kind Kind, b []byte) error {
	switch {
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
	case kind == kindOut && r.channel != nil && len(b)%18 == 0:
		for ; len(b) > 0; b = b[18:] {
			r.channel.Out[id(b)] = Out{Due: int64(binary.BigEndian.Uint64(b[8:])), Attempts: binary.BigEndian.Uint16(b[16:])}
		}
		return nil
	}
	return fmt.Errorf("%w: kind %d of %d bytes", ErrRecord, kind, len(b))
}

func id(b []byte) protocol.MessageID { return protocol.MessageID(binary.BigEndian.Uint64(b)) }
