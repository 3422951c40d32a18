package httpd

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// mpubBody returns messages in the form of MPUB.
func mpubBody(messages ...string) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(messages)))
	for _, m := range messages {
		b = binary.BigEndian.AppendUint32(b, uint32(len(m)))
		b = append(b, m...)
	}
	return string(b)
}

func TestPub(t *testing.T) {
	f := newFixture(t, nil)
	f.run([]step{
		{"POST /pub?topic=t", "message", 200, "OK"},
		{"POST /pub?topic=t&topic=$", strings.Repeat("x", 100), 200, "OK"},
		{"POST /pub?topic=t%23ephemeral", "m", 200, "OK"},
		// the size comes before the body, the body before the topic, the topic before the delay
		{"POST /pub", strings.Repeat("x", 101), 413, "MSG_TOO_BIG"},
		{"POST /pub", "", 400, "MSG_EMPTY"},
		{"POST /pub?%zz", "m", 400, "INVALID_REQUEST"},
		{"POST /pub?topic=%zz", "m", 400, "INVALID_REQUEST"},
		{"POST /pub?defer=x", "m", 400, "MISSING_ARG_TOPIC"},
		{"POST /pub?topic=&defer=x", "m", 400, "INVALID_TOPIC"},
		{"POST /pub?topic=a$&defer=x", "m", 400, "INVALID_TOPIC"},
		{"POST /pub?topic=made&defer=x", "m", 400, "INVALID_DEFER"},
		{"POST /pub?topic=t&defer=", "m", 400, "INVALID_DEFER"},
		{"POST /pub?topic=t&defer=-1", "m", 400, "INVALID_DEFER"},
		{"POST /pub?topic=t&defer=1.5", "m", 400, "INVALID_DEFER"},
		{"POST /pub?topic=t&defer=3600001", "m", 400, "INVALID_DEFER"},
		{"POST /pub?topic=t&defer=9223372036854775807", "m", 400, "INVALID_DEFER"},
		{"POST /pub?topic=t&defer=0", "m", 200, "OK"},
	})
	if d := f.depth("t"); d != 3 {
		t.Errorf("depth %d", d)
	}
	if f.broker.registry.Lookup("made") == nil {
		t.Error("the topic is made before the delay is checked")
	}
	ch := f.channel("later", "c")
	f.run([]step{
		{"POST /pub?topic=later&defer=1000", "m", 200, "OK"},
		{"POST /pub?topic=later&defer=%2B3600000", "m", 200, "OK"},
	})
	if s := ch.Stats(); s.Deferred != 2 || s.Depth != 0 || s.MessageCount != 2 {
		t.Errorf("channel %+v", s)
	}
}

func TestMpubText(t *testing.T) {
	f := newFixture(t, nil)
	line := strings.Repeat("x", 100)
	tests := []struct {
		step
		depth int64
	}{
		{step{"POST /mpub?topic=four", "a\nb\nc\nd", 200, "OK"}, 4},
		{step{"POST /mpub?topic=end", "a\nb\nc\nd\n", 200, "OK"}, 4},
		{step{"POST /mpub?topic=gaps&binary=false", "\n\na\n\n\nb\r\n\n", 200, "OK"}, 2},
		{step{"POST /mpub?topic=none&binary=0", "\n\n", 200, "OK"}, 0},
		{step{"POST /mpub?topic=empty", "", 200, "OK"}, 0},
		{step{"POST /mpub?topic=longest", line + "\n" + line, 200, "OK"}, 2},
		{step{"POST /mpub?topic=long", "a\n" + line + "x\nb", 413, "MSG_TOO_BIG"}, 0},
		{step{"POST /mpub?topic=full", strings.Repeat("1234\n", 200), 200, "OK"}, 200},
		{step{"POST /mpub?topic=over", strings.Repeat("1234\n", 200) + "1", 413, "BODY_TOO_BIG"}, 0},
	}
	for _, test := range tests {
		f.run([]step{test.step})
		name := strings.Split(strings.TrimPrefix(test.request, "POST /mpub?topic="), "&")[0]
		if d := f.depth(name); d != test.depth {
			t.Errorf("%s: depth %d, want %d", name, d, test.depth)
		}
	}
	f.run([]step{
		{"POST /mpub?topic=a$", strings.Repeat("x", 1001), 413, "BODY_TOO_BIG"},
		{"POST /mpub", "m", 400, "MISSING_ARG_TOPIC"},
		{"POST /mpub?topic=a$", "m", 400, "INVALID_TOPIC"},
		{"POST /mpub?%zz", "m", 400, "INVALID_REQUEST"},
	})
}

func TestMpubBinary(t *testing.T) {
	f := newFixture(t, nil)
	five := mpubBody("a", "b", "c\nc", "d", "e")
	tests := []struct {
		query, body string
		code        int
		answer      string
		depth       int64
	}{
		{"binary=true", five, 200, "OK", 5},
		{"binary=1", five, 200, "OK", 5},
		{"binary=non_normalized", five, 200, "OK", 5},
		{"binary=", five, 200, "OK", 5},
		{"binary=true", five + "trailing", 200, "OK", 5},
		{"binary=true", "", 413, "BAD_BODY", 0},
		{"binary=true", mpubBody(), 413, "BAD_BODY", 0},
		{"binary=true", "\x7f\xff\xff\xff", 413, "BAD_BODY", 0},
		{"binary=true", "\xff\xff\xff\xff", 413, "BAD_BODY", 0},
		{"binary=true", five[:len(five)-1], 413, "BAD_MESSAGE", 0},
		{"binary=true", mpubBody("a", ""), 413, "BAD_MESSAGE", 0},
		{"binary=true", mpubBody("a", strings.Repeat("x", 101)), 413, "BAD_MESSAGE", 0},
		{"binary=true", mpubBody("a", strings.Repeat("x", 100)), 200, "OK", 2},
	}
	for i, test := range tests {
		name := fmt.Sprint("t", i)
		f.run([]step{{"POST /mpub?topic=" + name + "&" + test.query, test.body, test.code, test.answer}})
		if d := f.depth(name); d != test.depth {
			t.Errorf("%d: depth %d, want %d", i, d, test.depth)
		}
	}
}

// TestChunkedBodies: a body without a declared length meets the same limits, and is not read far beyond them.
func TestChunkedBodies(t *testing.T) {
	f := newFixture(t, nil)
	tests := []struct {
		path string
		size int
		code int
		want string
	}{
		{"/pub?topic=t", 100, 200, "OK"},
		{"/pub?topic=t", 101, 413, `{"message":"MSG_TOO_BIG"}`},
		{"/mpub?topic=t", 101, 413, `{"message":"MSG_TOO_BIG"}`},
		{"/mpub?topic=t&binary=1", 1001, 413, `{"message":"BODY_TOO_BIG"}`},
	}
	for _, test := range tests {
		body := struct{ io.Reader }{strings.NewReader(strings.Repeat("x", test.size))} // no length to be seen
		req, err := http.NewRequest("POST", f.base+test.path, body)
		if err != nil {
			t.Fatal(err)
		}
		if resp, got := f.send(req); resp.StatusCode != test.code || got != test.want {
			t.Errorf("%s with %d bytes: got %d %s", test.path, test.size, resp.StatusCode, got)
		}
	}
}

// TestExiting: a broker that stops takes no message and says so.
func TestExiting(t *testing.T) {
	f := newFixture(t, nil)
	f.topic("t")
	f.closeRegistry()
	f.run([]step{
		{"POST /pub?topic=t", "m", 503, "EXITING"},
		{"POST /pub?topic=new", "m", 503, "EXITING"},
		{"POST /pub?topic=t&defer=5", "m", 503, "EXITING"},
		{"POST /mpub?topic=t", "m", 503, "EXITING"},
		{"POST /topic/create?topic=new", "", 503, "EXITING"},
	})
}

// FuzzSplitLines compares the streaming splitter with bytes.Split.
func FuzzSplitLines(f *testing.F) {
	f.Add([]byte("a\nbb\n\nccc"), uint16(3), uint16(20))
	f.Add([]byte("a\r\n\n"), uint16(1), uint16(4))
	f.Add(bytes.Repeat([]byte("x"), 40<<10), uint16(1<<15), uint16(1<<15))
	f.Add(append(bytes.Repeat([]byte("x"), 16<<10), "\ny"...), uint16(16<<10), uint16(60000))
	f.Fuzz(func(t *testing.T, body []byte, maxLine, maxTotal uint16) {
		if maxLine == 0 || maxTotal == 0 {
			return
		}
		s := newScratch()
		var got [][]byte
		err := s.splitLines(bytes.NewReader(body), int64(maxLine), int64(maxTotal), func(line []byte) {
			got = append(got, bytes.Clone(line))
		})
		var want [][]byte
		tooLong := false
		for line := range bytes.SplitSeq(body, []byte("\n")) {
			tooLong = tooLong || len(line) > int(maxLine)
			if len(line) > 0 {
				want = append(want, line)
			}
		}
		tooMuch := len(body) > int(maxTotal)
		if (err != nil) != (tooLong || tooMuch) || (err == errTooMuch && !tooMuch) || (err == errLineTooLong && !tooLong) {
			t.Fatalf("got %v for %d bytes, limits %d and %d", err, len(body), maxLine, maxTotal)
		}
		if err == nil && len(got) != len(want) {
			t.Fatalf("%d lines, want %d", len(got), len(want))
		}
		for i := range got {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("line %d: %q, want %q", i, got[i], want[i])
			}
		}
	})
}

// FuzzBinaryBody: whatever comes, the batch never holds more than came, nor a message over the limit, and an error is an
// answer with 413.
func FuzzBinaryBody(f *testing.F) {
	f.Add([]byte(mpubBody("a", "bb")))
	f.Add([]byte("\x7f\xff\xff\xff\x00\x00\x00\x01a"))
	f.Fuzz(func(t *testing.T, body []byte) {
		a := &api{cfg: Config{MaxMsgSize: 100, MaxBodySize: 1000}}
		s := newScratch()
		err := a.addBinary(s, bytes.NewReader(body))
		if s.batch.Bytes() > len(body) || s.batch.Len()*5 > len(body) {
			t.Fatalf("%d messages of %d bytes out of %d", s.batch.Len(), s.batch.Bytes(), len(body))
		}
		if err == nil {
			if s.batch.Len() == 0 {
				t.Fatal("no message and no error")
			}
			return
		}
		switch err.Error() {
		case "BAD_BODY", "BAD_MESSAGE", "BODY_TOO_BIG":
		default:
			t.Fatalf("got %v", err)
		}
	})
}

// TestPublishesWithTTL: the argument ttl is held to its range, and a topic that has no place for it refuses it.
func TestPublishesWithTTL(t *testing.T) {
	f := newFixture(t, nil)
	f.run([]step{
		{"POST /pub?topic=t&ttl=soon", "m", 400, "INVALID_ARG_TTL: ttl must be a time from 1ms to 365d, as 30s, 12h or 7d"},
		{"POST /pub?topic=t&ttl=", "m", 400, "INVALID_ARG_TTL: ttl must be a time from 1ms to 365d, as 30s, 12h or 7d"},
		{"POST /mpub?topic=t&ttl=366d", "m", 400, "INVALID_ARG_TTL: ttl must be a time from 1ms to 365d, as 30s, 12h or 7d"},
		{"POST /mpub?topic=t&ttl=30s", "m", 400, "INVALID_ARG_TTL: a message's own ttl needs a topic that is kept in the log: level disk or fsync, and not ephemeral"},
	})
	if d := f.depth("t"); d != 0 {
		t.Errorf("depth %d", d)
	}
}
