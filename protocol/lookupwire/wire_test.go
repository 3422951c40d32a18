package lookupwire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// The bytes on both sides are a promise to nsqd and nsqlookupd: this table is their golden copy.
func TestBytesOnTheWire(t *testing.T) {
	peer := PeerInfo{
		Version: "1.3.0", TCPPort: 4150, HTTPPort: 4151, Hostname: "h", BroadcastAddress: "b", TopologyZone: "z", TopologyRegion: "r",
	}
	look := LookupInfo{BroadcastAddress: "l", Hostname: "h", HTTPPort: 4161, TCPPort: 4160, Version: "1.3.0"}
	for _, c := range []struct {
		name, want string
		got        []byte
	}{
		{"identify", "IDENTIFY\n\x00\x00\x00\x85" + `{"version":"1.3.0","tcp_port":4150,"http_port":4151,"hostname":"h",` +
			`"broadcast_address":"b","topology_zone":"z","topology_region":"r"}`, AppendIdentify(nil, peer)},
		{"register topic", "REGISTER t\n", AppendRegister(nil, "t", "")},
		{"register channel", "REGISTER t c#ephemeral\n", AppendRegister(nil, "t", "c#ephemeral")},
		{"unregister topic", "UNREGISTER t\n", AppendUnregister(nil, "t", "")},
		{"unregister channel", "UNREGISTER t c\n", AppendUnregister(nil, "t", "c")},
		{"ping", "PING\n", AppendPing(nil)},
		{"ok", "\x00\x00\x00\x02OK", AppendReply(nil, ReplyOK)},
		{"refusal", "\x00\x00\x00\x0eE_BAD_PROTOCOL", AppendReply(nil, ErrBadProtocol().Error())},
		{"identified", "\x00\x00\x00[" + `{"broadcast_address":"l","hostname":"h","http_port":4161,"tcp_port":4160,` +
			`"version":"1.3.0"}`, AppendIdentifyReply(nil, look)},
	} {
		if string(c.got) != c.want {
			t.Errorf("%s:\n got %q\nwant %q", c.name, c.got, c.want)
		}
	}
}

func TestCommandLines(t *testing.T) {
	long := strings.Repeat("x", 65)
	for _, c := range []struct{ line, word, topic, channel, refusal string }{
		{"REGISTER t\n", "REGISTER", "t", "", ""},
		{"REGISTER t c\r\n", "REGISTER", "t", "c", ""},
		{" \tUNREGISTER t#ephemeral c#ephemeral surplus \n", "UNREGISTER", "t#ephemeral", "c#ephemeral", ""},
		{"REGISTER t  c\n", "REGISTER", "t", "", ""},
		{"REGISTER\n", "REGISTER", "", "", "E_INVALID REGISTER insufficient number of params"},
		{"UNREGISTER \n", "UNREGISTER", "", "", "E_INVALID UNREGISTER insufficient number of params"},
		{"REGISTER  c\n", "REGISTER", "", "", "E_BAD_TOPIC REGISTER topic name '' is not valid"},
		{"REGISTER *\n", "REGISTER", "", "", "E_BAD_TOPIC REGISTER topic name '*' is not valid"},
		{"UNREGISTER " + long + "\n", "UNREGISTER", "", "", "E_BAD_TOPIC UNREGISTER topic name '" + long + "' is not valid"},
		{"REGISTER t c$\n", "REGISTER", "", "", "E_BAD_CHANNEL REGISTER channel name 'c$' is not valid"},
		{"UNREGISTER t *\n", "UNREGISTER", "", "", "E_BAD_CHANNEL UNREGISTER channel name '*' is not valid"},
	} {
		cmd := ParseLine([]byte(c.line))
		if string(cmd.Word) != c.word {
			t.Errorf("%q: word %q", c.line, cmd.Word)
		}
		topic, channel, err := cmd.Names()
		text := ""
		if err != nil {
			text = err.Error()
		}
		if topic != c.topic || channel != c.channel || text != c.refusal {
			t.Errorf("%q: %q %q %q", c.line, topic, channel, text)
		}
	}
	for line, want := range map[string]string{
		"\n": "E_INVALID invalid command ", "register t\n": "E_INVALID invalid command register", "NOPE": "E_INVALID invalid command NOPE",
	} {
		if got := ErrUnknownCommand(ParseLine([]byte(line)).Word).Error(); got != want {
			t.Errorf("%q: %q", line, got)
		}
	}
}

func TestIdentifyBodies(t *testing.T) {
	full := `{"broadcast_address":"b","tcp_port":1,"http_port":2,"version":"v","remote_address":"forged","else":[1]}`
	for _, c := range []struct{ body, refusal string }{
		{full, ""},
		{`not json`, "E_BAD_BODY IDENTIFY failed to decode JSON body"},
		{``, "E_BAD_BODY IDENTIFY failed to decode JSON body"},
		{strings.Replace(full, `"tcp_port":1`, `"tcp_port":"1"`, 1), "E_BAD_BODY IDENTIFY failed to decode JSON body"},
		{strings.Replace(full, `"b"`, `""`, 1), "E_BAD_BODY IDENTIFY missing fields"},
		{strings.Replace(full, `"tcp_port":1`, `"tcp_port":0`, 1), "E_BAD_BODY IDENTIFY missing fields"},
		{strings.Replace(full, `"http_port":2,`, ``, 1), "E_BAD_BODY IDENTIFY missing fields"},
		{strings.Replace(full, `"v"`, `""`, 1), "E_BAD_BODY IDENTIFY missing fields"},
	} {
		_, err := ParseIdentify([]byte(c.body))
		if (err == nil) != (c.refusal == "") || err != nil && err.Error() != c.refusal {
			t.Errorf("%s: %v, want %q", c.body, err, c.refusal)
		}
	}
	for size, want := range map[int32]string{
		-1: "E_BAD_BODY IDENTIFY invalid body size -1", -1 << 31: "E_BAD_BODY IDENTIFY invalid body size -2147483648",
		MaxIdentifyBody + 1: "E_BAD_BODY IDENTIFY body too big 16385 > 16384", 1<<31 - 1: "E_BAD_BODY IDENTIFY body too big 2147483647 > 16384",
	} {
		var prefix [4]byte
		binary.BigEndian.PutUint32(prefix[:], uint32(size))
		if _, err := IdentifyBodySize(prefix); err == nil || err.Error() != want || !errors.Is(err, ErrBodySize) {
			t.Errorf("size %d: %v", size, err)
		}
	}
}

func TestRepliesAreReadWithinTheirLimit(t *testing.T) {
	stream := AppendReply(nil, ReplyOK)
	stream = AppendReply(stream, "E_INVALID client must IDENTIFY")
	stream = AppendReply(stream, strings.Repeat("y", 10000))
	r := iotest.OneByteReader(bytes.NewReader(stream))
	var buf [64]byte
	for _, want := range []string{"OK", "E_INVALID client must IDENTIFY", strings.Repeat("y", 10000)} {
		got, err := ReadReply(r, buf[:], 10000)
		if err != nil || string(got) != want {
			t.Fatalf("%q %v", got, err)
		}
	}
	if _, err := ReadReply(r, nil, 10); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	if _, err := ReadReply(bytes.NewReader(stream[:5]), nil, 10); err != io.ErrUnexpectedEOF {
		t.Errorf("cut short: %v", err)
	}
	for _, prefix := range []string{"\xff\xff\xff\xff", "\x80\x00\x00\x00", "\x00\x00\x00\x0b"} {
		if _, err := ReadReply(strings.NewReader(prefix+strings.Repeat("z", 20)), nil, 10); !errors.Is(err, ErrReplySize) {
			t.Errorf("size %q: %v", prefix, err)
		}
	}
	if got := testing.AllocsPerRun(100, func() { _, _ = ReadReply(strings.NewReader("\x7f\xff\xff\xff"), nil, 1<<31-1) }); got > 6 {
		t.Errorf("a reply that never arrives costs %v allocations", got)
	}
	if e := ReplyError([]byte("E_BAD_BODY IDENTIFY missing fields")); e == nil || e.Code != CodeBadBody || e.Desc != "IDENTIFY missing fields" {
		t.Errorf("refusal: %#v", e)
	}
	if e := ReplyError([]byte(ReplyOK)); e != nil {
		t.Errorf("OK taken for a refusal: %v", e)
	}
}

func TestParsingALineDoesNotAllocate(t *testing.T) {
	line := []byte("REGISTER topic channel\n")
	if n := testing.AllocsPerRun(100, func() { ParseLine(line) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A line that is taken for a good REGISTER is written again as a line of the same meaning.
func FuzzCommandLine(f *testing.F) {
	for _, s := range []string{"PING\n", "REGISTER t c\r\n", "UNREGISTER  t\n", "REGISTER t  c d", "\n", "REGISTER \xff\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		c := ParseLine(line)
		topic, channel, err := c.Names()
		if err != nil {
			var refusal *Error
			if !errors.As(err, &refusal) || topic != "" || channel != "" {
				t.Fatalf("%q: %q %q %v", line, topic, channel, err)
			}
			return
		}
		again := ParseLine(AppendRegister(nil, topic, channel))
		if string(again.Topic) != topic || string(again.Channel) != channel {
			t.Fatalf("%q came back as %q %q", line, again.Topic, again.Channel)
		}
	})
}

// What a lookup accepts, a broker could have sent: it is encoded and read again as the same.
func FuzzIdentify(f *testing.F) {
	f.Add([]byte(`{"broadcast_address":"b","tcp_port":1,"http_port":2,"version":"v"}`))
	f.Add([]byte(`{"tcp_port":1e3}`))
	f.Add([]byte("{\"broadcast_address\":\"\xff\",\"tcp_port\":1,\"http_port\":-2,\"version\":\"v\"}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		info, err := ParseIdentify(body)
		if err != nil {
			return
		}
		sent := AppendIdentify(nil, info)[len(Identify)+1:]
		again, err := ParseIdentify(sent[4:])
		if err != nil || again != info {
			t.Fatalf("%q: %+v, again %+v %v", body, info, again, err)
		}
	})
}

// A reply that is read is the frame that was sent, and nothing behind it is touched.
func FuzzReply(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02OKrest"))
	f.Add([]byte("\xff\xff\xff\xffOK"))
	f.Add([]byte("\x00\x00\x00\x10E_INVALID a"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := bytes.NewReader(stream)
		reply, err := ReadReply(r, nil, 1<<20)
		if err != nil {
			return
		}
		frame := AppendReply(nil, reply)
		if !bytes.HasPrefix(stream, frame) || r.Len() != len(stream)-len(frame) {
			t.Fatalf("%q gave %q", stream, reply)
		}
		_, _ = ParseIdentifyReply(reply)
	})
}
