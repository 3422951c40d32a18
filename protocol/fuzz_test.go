package protocol

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Every command line parses; the words that are kept, put together again, are the line.
func FuzzParseLine(f *testing.F) {
	for _, line := range []string{"", " ", "NOP", "PUB topic", "SUB t c", "REQ 0123456789abcdef 100", "RDY\r", "FIN  x", "pub t", "NOP ",
		"\r\r", "DPUB t 1 2 3"} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if bytes.IndexByte(line, '\n') >= 0 {
			t.Skip("not a line")
		}
		before := bytes.Clone(line)
		c := ParseLine(line)
		if !bytes.Equal(line, before) {
			t.Fatal("the line was changed")
		}
		words := strings.Split(strings.TrimSuffix(string(line), "\r"), " ")
		if string(c.Name) != words[0] || c.Count != len(words)-1 {
			t.Fatalf("%q: name %q, %d parameters", line, c.Name, c.Count)
		}
		for i, p := range c.Params {
			want := ""
			if i < c.Count {
				want = words[i+1]
			}
			if string(p) != want {
				t.Fatalf("%q: parameter %d is %q, want %q", line, i, p, want)
			}
		}
		if known := c.Verb != Invalid; known && c.Verb.String() != words[0] || !known && words[0] != "" && isVerb(words[0]) {
			t.Fatalf("%q is the verb %q", line, c.Verb)
		}
	})
}

func isVerb(word string) bool {
	for _, name := range verbNames {
		if name == word {
			return true
		}
	}
	return false
}

// What parses as a frame is, appended again, the same bytes; nothing is read behind it.
func FuzzParseFrame(f *testing.F) {
	f.Add(AppendFrame(nil, FrameResponse, OK))
	f.Add(AppendFrame(AppendFrame(nil, FrameError, "E_INVALID"), FrameResponse, ""))
	f.Add(append(AppendMessageHeader(nil, 1, 2, 3, 2), "hi"...))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0})
	f.Add([]byte{0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		const maxSize = 1 << 20
		kind, payload, n, err := ParseFrame(b, maxSize)
		if err != nil {
			if !errors.Is(err, ErrShortFrame) && !errors.Is(err, ErrInvalidFrame) {
				t.Fatalf("unknown error %v", err)
			}
			return
		}
		if again := AppendFrame(nil, kind, payload); !bytes.Equal(again, b[:n]) {
			t.Fatalf("%x appended again is %x", b[:n], again)
		}
		for cut := range n {
			if _, _, _, err := ParseFrame(b[:cut], maxSize); !errors.Is(err, ErrShortFrame) {
				t.Fatalf("%d of %d bytes: %v", cut, n, err)
			}
			if cut > 100 {
				break
			}
		}
		if _, _, _, err := ParseFrame(b, len(payload)+3); !errors.Is(err, ErrInvalidFrame) {
			t.Fatalf("a frame over the limit: %v", err)
		}
		if kind == FrameMessage {
			m := FirstMessage(b)
			if len(m) != n || !bytes.Equal(m.Payload(), payload) {
				t.Fatalf("FirstMessage takes %d bytes, ParseFrame %d", len(m), n)
			}
		}
	})
}

var fuzzLimits = IdentifyLimits{MaxHeartbeatInterval: time.Minute, MinOutputBufferTimeout: 25 * time.Millisecond,
	MaxOutputBufferTimeout: 30 * time.Second, MaxOutputBufferSize: 64 << 10, MaxMsgTimeout: 15 * time.Minute}

// What is accepted is within its limits, and written as JSON it is accepted again with the same meaning.
func FuzzIdentify(f *testing.F) {
	for _, body := range []string{`{}`, `null`, `[]`, `{"client_id":"a","heartbeat_interval":1000}`, `{"sample_rate":99}`, `{"msg_timeout":1.5}`,
		`{"heartbeat_interval":-1,"output_buffer_size":-1,"output_buffer_timeout":-1}`, `{"unknown":{"a":[1]},"tls_v1":true}`,
		`{"heartbeat_interval":null}`, `{"deflate":true,"deflate_level":9223372036854775807}`, `{"short_id":"x"}`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseIdentify(body, fuzzLimits)
		var refused *Error
		if err != nil {
			if !errors.As(err, &refused) || refused.Code != CodeBadBody || !strings.HasPrefix(refused.Desc, "IDENTIFY ") {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		if r.SampleRate < 0 || r.SampleRate > 99 || r.HeartbeatInterval > 60000 || r.HeartbeatInterval < -1 ||
			r.OutputBufferSize > 64<<10 || r.OutputBufferTimeout > 30000 || r.MsgTimeout < 0 || r.MsgTimeout > 900000 {
			t.Fatalf("accepted %+v", r)
		}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseIdentify(text, fuzzLimits)
		if err != nil || *again != *r {
			t.Fatalf("%s reads %+v, %v; was %+v", text, again, err, r)
		}
	})
}

// appendMpub is the body of an MPUB.
func appendMpub(messages ...[]byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(messages)))
	for _, m := range messages {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(m))), m...)
	}
	return b
}

// The messages of a body that is accepted, put together again, are the body's beginning.
func FuzzWalkMpub(f *testing.F) {
	f.Add(appendMpub([]byte("a")))
	f.Add(append(appendMpub([]byte("a"), bytes.Repeat([]byte("b"), 100)), "behind"...))
	f.Add(appendMpub())
	f.Add(appendMpub(nil))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, body []byte) {
		limits := MpubLimits{MaxMsgSize: 100, MaxBodySize: 1000}
		var messages [][]byte
		err := WalkMpub(body, limits, func(m []byte) error {
			if len(m) == 0 || len(m) > 100 || cap(m) != len(m) {
				t.Fatalf("a message of %d bytes, capacity %d", len(m), cap(m))
			}
			messages = append(messages, m)
			return nil
		})
		var refused *Error
		if err != nil {
			if !errors.As(err, &refused) || refused.Code != CodeBadBody && refused.Code != CodeBadMessage {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		if again := appendMpub(messages...); len(messages) == 0 || !bytes.HasPrefix(body, again) {
			t.Fatalf("%x was taken as %x", body, again)
		}
	})
}

func TestWalkMpubTexts(t *testing.T) {
	limits := MpubLimits{MaxMsgSize: 10, MaxBodySize: 104}
	for _, c := range []struct {
		body []byte
		want string
	}{
		{nil, "E_BAD_BODY MPUB failed to read message count"},
		{[]byte{0, 0, 0, 0}, "E_BAD_BODY MPUB invalid message count 0"},
		{[]byte{0xff, 0xff, 0xff, 0xff}, "E_BAD_BODY MPUB invalid message count -1"},
		{[]byte{0, 0, 0, 21}, "E_BAD_BODY MPUB invalid message count 21"},
		{[]byte{0, 0, 0, 20}, "E_BAD_MESSAGE MPUB failed to read message(0) body size"},
		{appendMpub([]byte("a"), nil), "E_BAD_MESSAGE MPUB invalid message(1) body size 0"},
		{appendMpub(make([]byte, 11)), "E_BAD_MESSAGE MPUB message too big 11 > 10"},
		{appendMpub([]byte("abc"))[:10], "E_BAD_MESSAGE MPUB failed to read message body"},
	} {
		if err := WalkMpub(c.body, limits, func([]byte) error { return nil }); err == nil || err.Error() != c.want {
			t.Errorf("%x: %v, want %s", c.body, err, c.want)
		}
	}
	stop := errors.New("stop")
	if err := WalkMpub(appendMpub([]byte("a"), []byte("b")), limits, func([]byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the error of the callback came back as %v", err)
	}
}

func TestIdentifyTexts(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{`{`, "E_BAD_BODY IDENTIFY failed to decode JSON body"},
		{`{"msg_timeout":1000.5}`, "E_BAD_BODY IDENTIFY failed to decode JSON body"},
		{`{"heartbeat_interval":60001}`, "E_BAD_BODY IDENTIFY heartbeat interval (60001) is invalid"},
		{`{"heartbeat_interval":999}`, "E_BAD_BODY IDENTIFY heartbeat interval (999) is invalid"},
		{`{"heartbeat_interval":-2,"sample_rate":100}`, "E_BAD_BODY IDENTIFY heartbeat interval (-2) is invalid"},
		{`{"output_buffer_timeout":24}`, "E_BAD_BODY IDENTIFY output buffer timeout (24) is invalid"},
		{`{"output_buffer_timeout":30001}`, "E_BAD_BODY IDENTIFY output buffer timeout (30001) is invalid"},
		{`{"output_buffer_size":63}`, "E_BAD_BODY IDENTIFY output buffer size (63) is invalid"},
		{`{"output_buffer_size":65537}`, "E_BAD_BODY IDENTIFY output buffer size (65537) is invalid"},
		{`{"sample_rate":100}`, "E_BAD_BODY IDENTIFY sample rate (100) is invalid"},
		{`{"sample_rate":-1}`, "E_BAD_BODY IDENTIFY sample rate (-1) is invalid"},
		{`{"msg_timeout":999}`, "E_BAD_BODY IDENTIFY msg timeout (999) is invalid"},
		{`{"msg_timeout":900001}`, "E_BAD_BODY IDENTIFY msg timeout (900001) is invalid"},
	} {
		if _, err := ParseIdentify([]byte(c.body), fuzzLimits); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.body, err, c.want)
		}
	}
}

func TestParseNumber(t *testing.T) {
	for _, c := range []struct {
		text string
		want uint64
		ok   bool
	}{{"", 0, true}, {"0", 0, true}, {"007", 7, true}, {"18446744073709551615", 1<<64 - 1, true}, {"-1", 0, false}, {"+1", 0, false},
		{"1 ", 0, false}, {"0x1", 0, false}, {"1.5", 0, false}, {"18446744073709551616", 0, true}} {
		if n, ok := ParseNumber([]byte(c.text)); n != c.want || ok != c.ok {
			t.Errorf("%q is %d %v", c.text, n, ok)
		}
	}
}

// The hot path makes no garbage.
func TestNoAllocations(t *testing.T) {
	line, id := []byte("REQ 0123456789abcdef 100"), []byte("0123456789abcdef")
	buf, body := make([]byte, 0, 100), appendMpub([]byte("one"), []byte("two"))
	limits := MpubLimits{MaxMsgSize: 100, MaxBodySize: 1000}
	frame := FirstMessage(AppendMessageHeader(nil, 1, 1, 1, 0))
	size := 0
	for _, c := range []struct {
		what string
		f    func()
	}{
		{"ParseLine", func() { size += ParseLine(line).Count }},
		{"ParseMessageID", func() { v, _ := ParseMessageID(id); size += int(v) }},
		{"AppendMessageHeader", func() { size += len(AppendMessageHeader(buf, 1, 1, 1, 10)) }},
		{"AppendFrame", func() { size += len(AppendFrame(buf, FrameResponse, OK)) }},
		{"WalkMpub", func() { _ = WalkMpub(body, limits, func(m []byte) error { size += len(m); return nil }) }},
		{"ParseFrame", func() { _, p, _, _ := ParseFrame(frame, 1000); size += len(p) }},
		{"SetID", func() { frame.SetID(MessageID(size)) }},
		{"ValidName", func() { ValidName(id) }},
	} {
		if n := testing.AllocsPerRun(100, c.f); n != 0 {
			t.Errorf("%s: %v allocations", c.what, n)
		}
	}
}

// FuzzParseWords: words of any form are taken, passed over or refused; what is taken is within its bounds, and comes back however it was
// encoded.
func FuzzParseWords(f *testing.F) {
	for _, seed := range []string{"ttl=30s", "a=b ttl=1%30s 1000", "ttl= ttl=", "=", "ttl=%zz x", "  ", "ttl", "dedup=a7 acks=1 key=%20 ttl=1s", "dedup=a dedup=b", "Dedup=x acksx=1"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, rest []byte) {
		w, plain, err := ParseWords(rest)
		if bytes.ContainsAny(plain, " =") {
			t.Errorf("the plain word is %q", plain)
		}
		list, text := []struct{ name, value string }{{"ttl", w.TTL}, {"key", w.Key}, {"dedup", w.Dedup}, {"acks", w.Acks}}, ""
		for _, word := range list {
			if len(word.value) > MaxWord {
				t.Errorf("a value of %d bytes", len(word.value))
			}
			if word.value != "" {
				text += " " + word.name + "=" + url.PathEscape(word.value)
			}
		}
		if err != nil {
			return
		}
		again, _, err := ParseWords([]byte(text))
		if err != nil || again != w {
			t.Errorf("%q, then %q: %v", w, again, err)
		}
	})
}

// TestLongTextsOfIdentifyAreCut: a connection holds them as long as it lives, and there may be thousands.
func TestLongTextsOfIdentifyAreCut(t *testing.T) {
	long := strings.Repeat("x", maxText-1) + "ü" + strings.Repeat("y", 5<<20)
	body, err := json.Marshal(IdentifyRequest{ClientID: long, Hostname: long, UserAgent: long, TopologyRegion: long, TopologyZone: "here"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := ParseIdentify(body, fuzzLimits)
	if err != nil || r.TopologyZone != "here" {
		t.Fatal(r.TopologyZone, err)
	}
	for _, text := range []string{r.ClientID, r.Hostname, r.UserAgent, r.TopologyRegion} {
		if text != long[:maxText-1] { // half a letter is none
			t.Errorf("%d bytes are kept", len(text))
		}
	}
}
