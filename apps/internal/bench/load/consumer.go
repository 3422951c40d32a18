package load

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"brokerd/protocol"
)

// consumer is one connection that consumes a channel and finishes all it gets. Its figures are read after run has returned.
type consumer struct {
	*conn
	run  *run
	seen *seen // of the channel
	out  []byte

	latency     Histogram
	got         int64
	unique      int64 // of what the run was not told yet, messages that came for the first time
	duplicated  int64 // and those that did not
	redelivered int64
	foreign     int64
}

// consumerBuffer is how many bytes a consumer reads at once.
const consumerBuffer = 64 << 10

// consumerHello is what consumers say of themselves: all defaults, and how long the broker may hold output back.
func consumerHello(buffering time.Duration) protocol.IdentifyRequest {
	hello := protocol.IdentifyRequest{}
	switch {
	case buffering < 0:
		hello.OutputBufferTimeout, hello.OutputBufferSize = -1, -1
	case buffering > 0: // with the buffer that clients ask for beside it
		hello.OutputBufferTimeout, hello.OutputBufferSize = int(buffering.Milliseconds()), 16<<10
	}
	return hello
}

// start asks for messages.
func (c *consumer) start(rdy int) error {
	_, err := c.Write([]byte("RDY " + strconv.Itoa(rdy) + "\n"))
	return err
}

// consume finishes messages until the broker confirms CLS, or the connection ends.
func (c *consumer) consume() error {
	defer c.tell()
	for {
		t, payload, ok, err := c.buffered()
		switch {
		case err != nil:
			return err
		case !ok:
			if err := c.refill(); err != nil {
				return err
			}
		case t == protocol.FrameMessage:
			c.message(payload)
		case t == protocol.FrameError:
			c.run.fail(string(payload))
		case string(payload) == protocol.Heartbeat:
			c.out = append(c.out, nop...)
		case string(payload) == protocol.CloseWait:
			return c.flush()
		default:
			return fmt.Errorf("a consumer got a response that it did not ask for: %.100q", payload)
		}
	}
}

// refill answers what was read, and reads more.
func (c *consumer) refill() error {
	if err := c.flush(); err != nil {
		return err
	}
	return c.fill()
}

func (c *consumer) flush() error {
	c.tell()
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.Write(c.out)
	c.out = c.out[:0]
	return err
}

// tell adds what came to what is known of the channel.
func (c *consumer) tell() {
	c.run.live.Done.Add(c.unique)
	c.seen.unique.Add(c.unique)
	c.seen.duplicated.Add(c.duplicated)
	c.unique, c.duplicated = 0, 0
}

// Offsets in the payload of a message frame.
const (
	attemptsAt = 8
	idAt       = attemptsAt + 2
	bodyAt     = protocol.MessageHeaderSize
)

// message counts a message and gathers its FIN.
func (c *consumer) message(payload []byte) {
	c.got++
	c.out = append(c.out, "FIN "...)
	c.out = append(c.out, payload[idAt:bodyAt]...)
	c.out = append(c.out, '\n')
	if binary.BigEndian.Uint16(payload[attemptsAt:]) > 1 {
		c.redelivered++
	}
	body := payload[bodyAt:]
	number, ours := c.run.number(body)
	if !ours {
		c.foreign++
		return
	}
	if !c.seen.add(number) {
		c.duplicated++
		return
	}
	c.unique++
	stamp := int64(binary.BigEndian.Uint64(body))
	c.latency.Add(time.Duration(c.arrived.UnixNano() - stamp))
}
