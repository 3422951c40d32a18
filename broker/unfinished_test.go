package broker_test

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/s2"

	"brokerd/broker"
	"brokerd/cmd/cmdtest"
	"brokerd/protocol/prototest"
)

// lacksOne is an MPUB of nearly size bytes whose messages have the given size, without its last byte.
func lacksOne(size, messageSize int) string {
	message := prototest.I32(messageSize) + strings.Repeat("\x00", messageSize)
	count := (size - 4) / len(message)
	body := prototest.I32(count) + strings.Repeat(message, count)
	whole := "MPUB t\n" + prototest.I32(len(body)) + body
	return whole[:len(whole)-1]
}

// squeezed returns text after IDENTIFY for a compression, and compressed by it.
func squeezed(t *testing.T, compression, text string) string {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	if compression == "deflate" {
		d, err := flate.NewWriter(&out, 6)
		if err != nil {
			t.Fatal(err)
		}
		w = d
	} else {
		w = s2.NewWriter(&out, s2.WriterSnappyCompat(), s2.WriterBlockSize(64<<10), s2.WriterConcurrency(1))
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if f, ok := w.(interface{ Flush() error }); ok {
		if err := f.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if s, ok := w.(*s2.Writer); ok {
		s.Reset(nil) // ends its goroutine
	}
	identify := `{"feature_negotiation":true,"heartbeat_interval":-1,"` + compression + `":true}`
	return prototest.Magic + "IDENTIFY\n" + prototest.Body(identify) + out.String()
}

// TestUnfinishedBodies: thirty connections that each withhold the last byte of a body of 1.25 MiB, where there is room for 4 MiB, make the broker
// grow by less than 20 MB, whatever they wrap it in. A hundred with 5 MiB, in make crash, as much room as it has by itself: less than 100 MB.
// Who behaves goes on.
func TestUnfinishedBodies(t *testing.T) {
	connections, longest, most := 30, 5<<18, int64(20_000_000) // they are twice as much
	if long {
		connections, longest, most = 100, 5<<20, 100_000_000
	}
	large := longest/5 - 100 // of a message
	plain := prototest.Magic + "IDENTIFY\n" + prototest.Body(`{"heartbeat_interval":-1}`)
	post := func(path, head, body string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\n" + head + "\r\n" + body
	}
	lines := strings.Repeat(strings.Repeat("x", 99)+"\n", longest/100)
	for name, words := range map[string]string{
		"large messages, deflate":          squeezed(t, "deflate", lacksOne(longest, large)),
		"large messages, snappy":           squeezed(t, "snappy", lacksOne(longest, large)),
		"small messages, deflate":          squeezed(t, "deflate", lacksOne(longest, 16)),
		"small messages, plain":            plain + lacksOne(longest, 16),
		"a body that no heartbeat watches": plain + lacksOne(longest, large),
		"AUTH":                             plain + "AUTH\n" + prototest.I32(longest) + strings.Repeat("x", longest-1),
		"HTTP, declared":                   post("/mpub?topic=t&binary=true", fmt.Sprintf("Content-Length: %d\r\n", longest), strings.Repeat("\x00\x00\x00\x01", longest/4)[:longest-1]),
		"HTTP, in chunks":                  post("/pub?topic=t", "Transfer-Encoding: chunked\r\n", fmt.Sprintf("%x\r\n", longest/5)+strings.Repeat("x", longest/5-1)),
		"HTTP, lines":                      post("/mpub?topic=t", "Transfer-Encoding: chunked\r\n", fmt.Sprintf("%x\r\n", longest)+lines[:len(lines)-1]),
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, func(o *broker.Options) {
				o.MemQueueSize, o.MaxBodySize, o.MaxMsgSize = 100, int64(longest), int64(longest/5)
				o.MaxUnfinished = int64(longest / 5 * 16)
			})
			addr := n.TCPAddr().String()
			if strings.HasPrefix(words, "POST") {
				addr = n.HTTPAddr().String()
			}
			all := []byte(words)
			debug.FreeOSMemory()
			before := memory()
			for range connections {
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				go func() { _, _ = conn.Write(all) }() // until it is cut off, or the test ends
			}
			producer, consumer := n.dial(), n.subscribe("good", "c", 1)
			body := strings.Repeat("y", 32<<10) // small enough to need no room that others could have
			for range 200 {
				producer.Send(prototest.Pub("good", body))
				producer.Expect("OK")
				consumer.Send("FIN " + consumer.ExpectMessage(body, 1).ID + "\n")
			}
			grown := int64(math.MaxInt64)
			for until := time.Now().Add(cmdtest.Patience); grown > most && time.Now().Before(until); {
				debug.FreeOSMemory() // what is held is judged, not what was dropped, nor what one holds just before it gives its room to another
				grown = memory() - before
			}
			if grown > most {
				t.Errorf("it grew by %d MB", grown/1_000_000)
			} else {
				t.Logf("it grew by %d MB", grown/1_000_000)
			}
		})
	}
}

// TestMessagesOfAnMPUBKeepToItsLimit: a client that declares less than its messages have cannot have more of them kept than the limit.
func TestMessagesOfAnMPUBKeepToItsLimit(t *testing.T) {
	t.Parallel()
	n := start(t, func(o *broker.Options) { o.MaxBodySize = 2 << 20 })
	c := n.dial()
	message := prototest.I32(1<<20-10) + strings.Repeat("x", 1<<20-10)
	c.Send("MPUB t\n" + prototest.I32(10) + prototest.I32(3) + message + message + message)
	c.ExpectError("E_BAD_BODY MPUB body too big: its messages have over 2097152 bytes")
	if got := n.topic("t"); got.Depth != 0 {
		t.Errorf("%d were kept", got.Depth)
	}
	c = n.dial()
	c.Send("MPUB t\n" + prototest.I32(10) + prototest.I32(2) + message + message)
	c.Expect("OK")
	if got := n.topic("t"); got.Depth != 2 {
		t.Errorf("%d were kept", got.Depth)
	}
}
