package journal

import (
	"encoding/binary"
	"fmt"
)

// What is in the log for people only: what time it was, and whose doing it was. No state is made of it, and a build that does not know it
// loses nothing.

// Return is how a message came back from a consumer that did not finish it. The values are on disk.
type Return uint8

// The returns.
const (
	Requeued     Return = 1 // the consumer has said REQ
	TimedOut     Return = 2 // it has said nothing in time
	Disconnected Return = 3 // its connection has ended
)

// AppendTime appends the payload of a Time record: when it is written, Unix nanoseconds.
func AppendTime(dst []byte, at int64) []byte { return binary.BigEndian.AppendUint64(dst, uint64(at)) }

// ParseTime returns what a Time record says.
func ParseTime(b []byte) (at int64, err error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("%w: time of %d bytes", ErrRecord, len(b))
	}
	return int64(binary.BigEndian.Uint64(b)), nil
}

// AppendBy appends the payload of a By record: the next record of the channel is a consumer's doing.
func AppendBy(dst []byte, topic, channel uint32, consumer uint64) []byte {
	dst = binary.BigEndian.AppendUint32(dst, topic)
	dst = binary.BigEndian.AppendUint32(dst, channel)
	return binary.BigEndian.AppendUint64(dst, consumer)
}

// AppendConsumer appends the payload of a Consumer record: what a consumer of a channel is called.
func AppendConsumer(dst []byte, topic, channel uint32, consumer uint64, name string) []byte {
	return append(AppendBy(dst, topic, channel, consumer), name...)
}

// BeginBack starts a Back record: messages that came back from a consumer.
func (r *Runs) BeginBack(topic, channel uint32, consumer uint64, why Return) {
	r.Begin(topic, channel)
	r.buf = binary.BigEndian.AppendUint64(r.buf, consumer)
	r.buf = append(r.buf, byte(why))
	r.head = len(r.buf)
}

// traced takes in whose doing something of a channel was; b is what is behind the head.
func (h *History) traced(at Offset, kind Kind, channel uint32, b []byte) {
	if len(b) < 8 {
		return
	}
	consumer := binary.BigEndian.Uint64(b)
	switch b = b[8:]; kind {
	case KindConsumer:
		if h.consumers == nil {
			h.consumers = map[uint64]string{}
		}
		h.consumers[consumer] = string(b)
	case KindBy:
		if h.by == nil {
			h.by = map[uint32]uint64{}
		}
		h.by[channel] = consumer
	case KindBack:
		if len(b) >= 1 && h.among(b[1:]) {
			h.add(at, Event{Kind: CameBack, Channel: channel, Return: Return(b[0]), Consumer: h.nameOf(consumer)})
		}
	}
}

// nameOf returns what a consumer is called, or its number where the log does not say it any more.
func (h *History) nameOf(consumer uint64) string {
	if name := h.consumers[consumer]; name != "" {
		return name
	}
	return fmt.Sprintf("connection %d", consumer)
}

// whose returns whose doing the record of a channel is that is taken in now, empty when nothing says so.
func (h *History) whose(channel uint32) string {
	consumer, ok := h.by[channel]
	if !ok {
		return ""
	}
	delete(h.by, channel)
	return h.nameOf(consumer)
}

// lagging is by how much a time may be behind before what has happened since is dated anew, in nanoseconds.
const lagging = 1_000_000_000

// tick takes in what time it was. It is written soon after something was: what has happened since the last one did so about now.
func (h *History) tick(now int64) {
	for i := len(h.Events) - 1; i >= 0 && i >= h.ticked; i-- {
		if e := &h.Events[i]; e.Kind != Published && now-e.Time > lagging {
			e.Time = now
		}
	}
	h.ticked = len(h.Events)
	h.now = max(h.now, now)
	if h.Since == 0 {
		h.Since = now
	}
}
