package load

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"brokerd/protocol"
)

// conn is a connection that has said hello. One goroutine reads from it at a time, and one writes.
type conn struct {
	net.Conn
	in           []byte
	read, filled int       // in[read:filled] came and was not parsed yet
	arrived      time.Time // when the newest bytes of in came
	stop         func() bool
}

const (
	dialTimeout  = 5 * time.Second
	helloTimeout = 10 * time.Second
	maxFrame     = 64 << 20 // bytes; no broker sends more in one frame
)

// dial connects to a broker, identifies, shows the token if there is one, and returns a connection that closes when ctx ends. buffer is the
// size of what is read at once, in bytes; it grows for larger messages.
func dial(ctx context.Context, b Broker, hello protocol.IdentifyRequest, buffer int) (*conn, error) {
	address := b.TCP
	network := "tcp"
	if strings.Contains(address, "/") {
		network = "unix"
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	socket, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, explain(err)
	}
	c := &conn{Conn: socket, in: make([]byte, buffer)}
	c.stop = context.AfterFunc(ctx, func() { socket.Close() })
	if err := c.identify(hello); err != nil {
		c.Close()
		return nil, fmt.Errorf("greeting %s: %w", address, err)
	}
	if err := c.authorize(b.Token); err != nil {
		c.Close()
		return nil, fmt.Errorf("showing the token to %s: %w", address, err)
	}
	return c, nil
}

// explain says what to do about too many open files.
func explain(err error) error {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return fmt.Errorf("%w: raise the limit, as with ulimit -n 20000", err)
	}
	return err
}

// Close closes the socket and lets go of the context.
func (c *conn) Close() error {
	c.stop()
	return c.Conn.Close()
}

func (c *conn) identify(hello protocol.IdentifyRequest) error {
	hello.UserAgent = "brokerd-bench"
	hello.ClientID = "bench"
	if host, err := os.Hostname(); err == nil {
		hello.Hostname = host
	}
	body, err := json.Marshal(hello)
	if err != nil {
		return err
	}
	c.SetDeadline(time.Now().Add(helloTimeout))
	defer c.SetDeadline(time.Time{})
	if _, err := c.Write(appendBody([]byte(protocol.Magic), "IDENTIFY", body)); err != nil {
		return err
	}
	return c.awaitOK()
}

// authorize sends AUTH, unless there is no token.
func (c *conn) authorize(token string) error {
	if token == "" {
		return nil
	}
	c.SetDeadline(time.Now().Add(helloTimeout))
	defer c.SetDeadline(time.Time{})
	if _, err := c.Write(appendBody(nil, "AUTH", []byte(token))); err != nil {
		return err
	}
	switch t, payload, err := c.next(); {
	case err != nil:
		return err
	case t == protocol.FrameError:
		return refusal(payload)
	}
	return nil // who it is taken for
}

// appendBody appends a command with a body.
func appendBody(to []byte, command string, body []byte) []byte {
	to = append(append(to, command...), '\n')
	return append(binary.BigEndian.AppendUint32(to, uint32(len(body))), body...)
}

// command sends a line and waits for its OK.
func (c *conn) command(line string) error {
	if _, err := c.Write([]byte(line + "\n")); err != nil {
		return err
	}
	c.SetReadDeadline(time.Now().Add(helloTimeout))
	defer c.SetReadDeadline(time.Time{})
	if err := c.awaitOK(); err != nil {
		return fmt.Errorf("%s: %w", line, err)
	}
	return nil
}

// refusal is an error frame.
type refusal string

// Error returns what the frame says.
func (r refusal) Error() string { return "the broker answered " + string(r) }

// awaitOK reads up to the next OK, answering heartbeats. An error frame is a refusal, after which the connection may still
// be good.
func (c *conn) awaitOK() error {
	for {
		t, payload, err := c.next()
		switch {
		case err != nil:
			return err
		case t == protocol.FrameError:
			return refusal(payload)
		case t == protocol.FrameResponse && string(payload) == protocol.Heartbeat:
			if _, err := c.Write(nop); err != nil {
				return err
			}
		case t == protocol.FrameResponse && string(payload) == protocol.OK:
			return nil
		default:
			return fmt.Errorf("wanted OK, got a frame of type %d: %.100q", t, payload)
		}
	}
}

var nop = []byte("NOP\n")

// next returns the next frame; the payload is valid until the next call.
func (c *conn) next() (protocol.FrameType, []byte, error) {
	for {
		t, payload, ok, err := c.buffered()
		if ok || err != nil {
			return t, payload, err
		}
		if err := c.fill(); err != nil {
			return 0, nil, err
		}
	}
}

// buffered returns the next frame if all of it came already.
func (c *conn) buffered() (t protocol.FrameType, payload []byte, ok bool, err error) {
	t, payload, n, err := protocol.ParseFrame(c.in[c.read:c.filled], maxFrame)
	if err != nil {
		if errors.Is(err, protocol.ErrShortFrame) {
			err = nil
		}
		return 0, nil, false, err
	}
	c.read += n
	return t, payload, true, nil
}

// fill reads once, and notes when that was.
func (c *conn) fill() error {
	c.filled = copy(c.in, c.in[c.read:c.filled])
	c.read = 0
	if c.filled == len(c.in) {
		c.in = append(c.in, make([]byte, len(c.in))...)
	}
	n, err := c.Read(c.in[c.filled:])
	c.filled += n
	if n > 0 {
		c.arrived = time.Now()
		return nil
	}
	return err
}
