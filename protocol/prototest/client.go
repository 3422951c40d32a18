package prototest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// Magic opens a connection.
const Magic = "  V2"

// The frame types on the wire.
const (
	Response = 0
	Error    = 1
	Message  = 2
)

// maxFrame bounds the frames that a client takes, in bytes.
const maxFrame = 64 << 20

// Frame is what a broker says.
type Frame struct {
	Type    int32
	Payload []byte
}

// String describes the frame for a test's failure.
func (f Frame) String() string {
	kind := map[int32]string{Response: "response", Error: "error", Message: "message"}[f.Type]
	if f.Type == Message && len(f.Payload) >= 26 {
		m := f.Message()
		return fmt.Sprintf("message %s, attempt %d, %.80q", m.ID, m.Attempts, m.Body)
	}
	return fmt.Sprintf("%s %.200q", kind, f.Payload)
}

// Delivered is a message frame taken apart.
type Delivered struct {
	Timestamp int64 // nanoseconds since the Unix epoch
	Attempts  uint16
	ID        string
	Body      []byte
}

// Message takes a message frame apart; its payload must have 26 bytes or more, as those of Client.Read have.
func (f Frame) Message() Delivered {
	return Delivered{
		Timestamp: int64(binary.BigEndian.Uint64(f.Payload)), Attempts: binary.BigEndian.Uint16(f.Payload[8:]),
		ID: string(f.Payload[10:26]), Body: f.Payload[26:],
	}
}

// Client is one raw connection. Its methods fail the test, but for those that return an error; these may be called by any
// goroutine, one at a time for each direction.
type Client struct {
	Conn    net.Conn      // the socket, or TLS over it
	Timeout time.Duration // for each read and write

	t testing.TB
	r io.Reader
	w flusher
}

// defaultTimeout bounds each read and write of a Client. It tells one that hangs, on a machine with other work too.
const defaultTimeout = 2 * time.Minute

// flusher is what commands are written through.
type flusher interface {
	io.Writer
	Flush() error
}

type direct struct{ io.Writer }

func (direct) Flush() error { return nil }

// NewClient returns a client of the connection, which the test's end closes. Nothing is sent.
func NewClient(t testing.TB, conn net.Conn) *Client {
	c := &Client{Conn: conn, Timeout: defaultTimeout, t: t, r: conn, w: direct{conn}}
	t.Cleanup(func() { c.Conn.Close() })
	return c
}

// Dial connects to a broker and sends the magic.
func Dial(t testing.TB, network, address string) *Client {
	t.Helper()
	conn, err := net.DialTimeout(network, address, defaultTimeout)
	if err != nil {
		t.Fatal(err)
	}
	c := NewClient(t, conn)
	c.Send(Magic)
	return c
}

// Body returns b behind its length, as bodies stand on the wire.
func Body[T string | []byte](b T) string { return I32(len(b)) + string(b) }

// I32 returns n as four bytes, big-endian.
func I32(n int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(int32(n)))) }

// Mpub returns an MPUB command with its body.
func Mpub(topic string, bodies ...string) string {
	body := I32(len(bodies))
	for _, b := range bodies {
		body += Body(b)
	}
	return "MPUB " + topic + "\n" + Body(body)
}

// Pub returns a PUB command with its body.
func Pub(topic, body string) string { return "PUB " + topic + "\n" + Body(body) }

// Send writes the bytes in one piece.
func (c *Client) Send(text string) {
	c.t.Helper()
	if err := c.Write(text); err != nil {
		c.t.Fatalf("sending %.80q: %v", text, err)
	}
}

// Write is Send that returns its error.
func (c *Client) Write(text string) error {
	if err := c.Conn.SetWriteDeadline(time.Now().Add(c.Timeout)); err != nil {
		return err
	}
	if _, err := io.WriteString(c.w, text); err != nil {
		return err
	}
	return c.w.Flush()
}

// CloseWrite ends the client's half of the connection.
func (c *Client) CloseWrite() {
	c.t.Helper()
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		c.t.Fatalf("a %T cannot be closed by half", c.Conn)
	}
	if err := half.CloseWrite(); err != nil {
		c.t.Fatal(err)
	}
}

// ReadAny returns the next frame.
func (c *Client) ReadAny() (Frame, error) {
	if err := c.Conn.SetReadDeadline(time.Now().Add(c.Timeout)); err != nil {
		return Frame{}, err
	}
	var head [8]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return Frame{}, err
	}
	f := Frame{Type: int32(binary.BigEndian.Uint32(head[4:]))}
	size := int32(binary.BigEndian.Uint32(head[:]))
	switch {
	case size < 4 || size > maxFrame:
		return f, fmt.Errorf("frame of size %d", size)
	case f.Type < Response || f.Type > Message:
		return f, fmt.Errorf("frame of type %d", f.Type)
	case f.Type == Message && size < 4+26:
		return f, fmt.Errorf("message frame of size %d", size)
	}
	f.Payload = make([]byte, size-4)
	_, err := io.ReadFull(c.r, f.Payload)
	return f, err
}

// Read returns the next frame that is no heartbeat.
func (c *Client) Read() (Frame, error) {
	for {
		f, err := c.ReadAny()
		if err != nil || f.Type != Response || string(f.Payload) != "_heartbeat_" {
			return f, err
		}
	}
}

// Next is Read that fails the test.
func (c *Client) Next() Frame {
	c.t.Helper()
	f, err := c.Read()
	if err != nil {
		c.t.Fatalf("waiting for a frame: %v", err)
	}
	return f
}

// Expect demands that the next frame is a response.
func (c *Client) Expect(payload string) {
	c.t.Helper()
	c.expect(Response, payload)
}

// ExpectError demands that the next frame is an error.
func (c *Client) ExpectError(payload string) {
	c.t.Helper()
	c.expect(Error, payload)
}

func (c *Client) expect(kind int32, payload string) {
	c.t.Helper()
	if f := c.Next(); f.Type != kind || string(f.Payload) != payload {
		c.t.Fatalf("got %v, want %v", f, Frame{kind, []byte(payload)})
	}
}

// ExpectMessage demands that the next frame is a message with this body, and returns it.
func (c *Client) ExpectMessage(body string, attempts uint16) Delivered {
	c.t.Helper()
	f := c.Next()
	if f.Type != Message {
		c.t.Fatalf("got %v, want a message", f)
	}
	m := f.Message()
	if string(m.Body) != body || m.Attempts != attempts {
		c.t.Fatalf("got %v, want attempt %d, %.80q", f, attempts, body)
	}
	return m
}

// ExpectClosed demands that no frame comes any more, and that the broker closes the connection.
func (c *Client) ExpectClosed() {
	c.t.Helper()
	f, err := c.Read()
	var timeout net.Error
	if err == nil {
		c.t.Fatalf("got %v on a connection that should be closed", f)
	}
	if errors.As(err, &timeout) && timeout.Timeout() {
		c.t.Fatalf("the connection was not closed within %v", c.Timeout)
	}
}

// expectRaw demands that the next bytes are these.
func (c *Client) expectRaw(want string) {
	c.t.Helper()
	got := make([]byte, len(want))
	_ = c.Conn.SetReadDeadline(time.Now().Add(c.Timeout))
	n, err := io.ReadFull(c.r, got)
	if !bytes.Equal(got[:n], []byte(want)) {
		c.t.Fatalf("got bytes %q, %v, want %q", got[:n], err, want)
	}
}

// expectJSON demands that a length and as many bytes of JSON come next: a lookup's reply to IDENTIFY.
func (c *Client) expectJSON() {
	c.t.Helper()
	_ = c.Conn.SetReadDeadline(time.Now().Add(c.Timeout))
	var head [4]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		c.t.Fatalf("waiting for a reply: %v", err)
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > maxFrame {
		c.t.Fatalf("reply of size %d", size)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(c.r, text); err != nil || !json.Valid(text) {
		c.t.Fatalf("got %.200q, %v, want JSON", text, err)
	}
}
