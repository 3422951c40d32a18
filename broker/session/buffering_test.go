package session

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"brokerd/broker/topic"
	"brokerd/protocol/prototest"
)

// subscribed connects with the fields in IDENTIFY and subscribes with the credit, 0 for none yet.
func (w *world) subscribed(identify, ready string) *prototest.Client {
	w.t.Helper()
	c := w.identify(identify)
	c.Send("SUB t c\nRDY " + ready + "\n")
	c.Expect("OK")
	return c
}

// TestOutputBuffering: when messages leave, by what the client asked for.
func TestOutputBuffering(t *testing.T) {
	small, large := "x", strings.Repeat("x", 40<<10)
	for _, c := range []struct {
		name, identify, ready, body string
		want                        time.Duration
	}{
		{"no wish", `{}`, "10", small, 0},
		{"what every client sends", `{"output_buffer_timeout":250,"output_buffer_size":16384}`, "10", small, 0},
		{"a delay", `{"output_buffer_timeout":500}`, "10", small, 500 * time.Millisecond},
		{"shorter than the default", `{"output_buffer_timeout":25}`, "10", small, 25 * time.Millisecond},
		{"a delay, a large buffer and a message that fits", `{"output_buffer_timeout":500,"output_buffer_size":65536}`, "10", large,
			500 * time.Millisecond},
		{"a message larger than the buffer", `{"output_buffer_timeout":500}`, "10", large, 0},
		{"a buffer that is full", `{"output_buffer_timeout":500,"output_buffer_size":64}`, "10", strings.Repeat("x", 64), 0},
		{"credit that is used up", `{"output_buffer_timeout":500}`, "1", small, 0},
		{"no buffer", `{"output_buffer_timeout":500,"output_buffer_size":-1}`, "10", small, 0},
		{"no timer, until the heartbeat", `{"output_buffer_timeout":-1}`, "10", small, 30 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, nil, func(w *world) {
				client := w.subscribed(c.identify, c.ready)
				w.publish(c.body)
				client.ExpectMessage(c.body, 1)
				w.at(c.want)
			})
		})
	}
}

// TestLargeOutputBuffer is NSQ's own test of it: with the limits raised a message of 255 KiB stays in a buffer of 256 KiB for
// half a second.
func TestLargeOutputBuffer(t *testing.T) {
	inBubble(t, func(c *Config, _ *topic.Config) {
		c.Limits.MaxOutputBufferSize, c.Limits.MaxOutputBufferTimeout = 512<<10, time.Second
	}, func(w *world) {
		c := w.dial()
		answer := c.Negotiate(prototest.Transport{}, map[string]any{"output_buffer_size": 256 << 10, "output_buffer_timeout": 500})
		if answer["output_buffer_size"] != float64(256<<10) || answer["output_buffer_timeout"] != float64(500) {
			t.Errorf("IDENTIFY was answered by %v", answer)
		}
		body := strings.Repeat("x", 255<<10)
		w.publish(body)
		c.Send("SUB t c\nRDY 10\n")
		c.Expect("OK")
		c.ExpectMessage(body, 1)
		if w.now() < 500*time.Millisecond {
			t.Errorf("it came after %v", w.now())
		}
		w.publish(body)
		c.ExpectMessage(body, 1)
		w.publish(body, body)
		synctest.Wait()
		before := w.now()
		c.ExpectMessage(body, 1) // the second does not fit behind it, and so the first must leave
		if w.now() != before {
			t.Errorf("a full buffer left after %v", w.now()-before)
		}
		c.ExpectMessage(body, 1)
	})
}

// TestBufferedMessagesLeaveWithAnswers: whatever is flushed takes along what was buffered before it.
func TestBufferedMessagesLeaveWithAnswers(t *testing.T) {
	for name, c := range map[string]struct{ send, want string }{
		"an answer":   {prototest.Pub("other", "y"), "OK"},
		"CLOSE_WAIT":  {"CLS\n", "CLOSE_WAIT"},
		"a cap of 0":  {"RDY 0\n", ""},
		"a last word": {"FIN x\n", "E_INVALID invalid message ID"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(w *world) {
				client := w.subscribed(`{"output_buffer_timeout":-1}`, "10")
				w.publish("a", "b")
				synctest.Wait()
				client.Send(c.send)
				client.ExpectMessage("a", 1)
				client.ExpectMessage("b", 1)
				if c.want != "" {
					if f := client.Next(); string(f.Payload) != c.want {
						t.Errorf("got %v, want %s", f, c.want)
					}
				}
				w.at(0)
			})
		})
	}
}

// TestPausingFlushes: what a consumer has been given already leaves when its channel is paused, whatever it has asked for, as
// no company is to come; and goes on as before after that.
func TestPausingFlushes(t *testing.T) {
	for _, identify := range []string{
		`{"output_buffer_timeout":-1,"output_buffer_size":65536}`, `{"output_buffer_timeout":30000}`, `{}`,
	} {
		t.Run(identify, func(t *testing.T) {
			inBubble(t, nil, func(w *world) {
				client := w.subscribed(identify, "10")
				frames, _ := w.listen(client)
				expect := func(bodies ...string) {
					t.Helper()
					synctest.Wait()
					for _, body := range bodies {
						select {
						case f := <-frames:
							if f.Type != prototest.Message || string(f.Message().Body) != body {
								t.Errorf("got %v, want %s", f, body)
							}
						default:
							t.Fatalf("%s has not left", body)
						}
					}
					w.at(0)
				}
				for range 2 {
					w.publish("a", "b")
					synctest.Wait()
					w.topic().LookupChannel("c").SetPaused(true)
					expect("a", "b")
					w.publish("c")
					noneYet(t, frames)
					w.topic().LookupChannel("c").SetPaused(false)
					synctest.Wait()
					client.Send("RDY 0\nRDY 10\n") // a cap of 0 lets it go
					expect("c")
				}
			})
		})
	}
}

// TestBufferingValidity: what one connection may ask for, one IDENTIFY after the other.
func TestBufferingValidity(t *testing.T) {
	limits := func(c *Config, _ *topic.Config) {
		c.Limits.MaxOutputBufferSize, c.Limits.MaxOutputBufferTimeout = 512<<10, time.Second
	}
	ask := func(c *prototest.Client, size, timeout int) {
		body, _ := json.Marshal(map[string]int{"output_buffer_size": size, "output_buffer_timeout": timeout})
		c.Send("IDENTIFY\n" + prototest.Body(body))
	}
	inBubble(t, limits, func(w *world) {
		c := w.dial()
		for _, values := range [][2]int{{512 << 10, 1000}, {-1, -1}, {0, 0}} {
			ask(c, values[0], values[1])
			c.Expect("OK")
		}
		ask(c, 512<<10+1, 0)
		c.ExpectError("E_BAD_BODY IDENTIFY output buffer size (524289) is invalid")
		c.ExpectClosed()
		c = w.dial()
		ask(c, 0, 1001)
		c.ExpectError("E_BAD_BODY IDENTIFY output buffer timeout (1001) is invalid")
		c.ExpectClosed()
	})
}
