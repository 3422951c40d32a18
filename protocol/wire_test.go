package protocol

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files of testdata anew")

// golden compares with a file of testdata.
func golden(t *testing.T, file, got string) {
	t.Helper()
	path := "testdata/" + file
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: the bytes on the wire have changed; they are a promise\ngot:\n%s", path, got)
	}
}

// The frames' bytes, as every client of NSQ reads them.
func TestFramesGolden(t *testing.T) {
	var out strings.Builder
	show := func(what string, frame []byte) {
		fmt.Fprintf(&out, "%s\n%s\n", what, hex.Dump(frame))
	}
	show("response OK", AppendFrame(nil, FrameResponse, OK))
	show("response CLOSE_WAIT", AppendFrame(nil, FrameResponse, CloseWait))
	show("heartbeat", AppendFrame(nil, FrameResponse, Heartbeat))
	show("error", AppendFrame(nil, FrameError, Errorf(CodeFinFailed, "FIN %s failed %s", MessageID(0xabc), "ID not in flight").Error()))
	show("error without a text", AppendFrame(nil, FrameError, (&Error{Code: CodeBadProtocol}).Error()))
	message := AppendMessageHeader(nil, 1700000000123456789, 3, NewMessageID(513, 1234567890123), 5)
	show("message", append(message, "hello"...))
	show("message without a body", AppendMessageHeader(nil, 0, 1, 0, 0))
	golden(t, "frames.txt", out.String())
}

// The answer to IDENTIFY: names and order of its fields are nsqd's.
func TestIdentifyResponseGolden(t *testing.T) {
	text, err := json.Marshal(IdentifyResponse{MaxRdyCount: 2500, Version: "1.3.0", MaxMsgTimeout: 900000, MsgTimeout: 60000,
		DeflateLevel: 6, MaxDeflateLevel: 6, OutputBufferSize: 16384, OutputBufferTimeout: 250})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "identify.json", string(text)+"\n")
	text, err = json.Marshal(AuthResponse{PermissionCount: 1})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "auth.json", string(text)+"\n")
}

func TestMessageFrameFields(t *testing.T) {
	b := append(AppendMessageHeader(nil, 1, 2, 3, 4), "bodynext frame"...)
	f := FirstMessage(b)
	if len(f) != MessageOverhead+4 || string(f.Body()) != "body" || len(f.Payload()) != MessageHeaderSize+4 {
		t.Fatalf("frame %q, body %q", f, f.Body())
	}
	f.SetTimestamp(-5)
	f.SetAttempts(65535)
	f.SetID(0xfedcba9876543210)
	if id, ok := f.ID(); f.Timestamp() != -5 || f.Attempts() != 65535 || !ok || id != 0xfedcba9876543210 {
		t.Errorf("reads back %d %d %s %v", f.Timestamp(), f.Attempts(), id, ok)
	}
	if !bytes.HasSuffix(b, []byte("bodynext frame")) {
		t.Errorf("what follows the header was changed: %q", b)
	}
}

func TestNames(t *testing.T) {
	long := strings.Repeat("x", MaxNameLength)
	for _, c := range []struct {
		name             string
		valid, ephemeral bool
	}{
		{"", false, false}, {"a", true, false}, {"0", true, false}, {".-_", true, false}, {"AZaz09.-_", true, false},
		{long, true, false}, {long + "x", false, false}, {"a b", false, false}, {"a\n", false, false}, {"a/b", false, false},
		{"a:b", false, false}, {"ä", false, false}, {"a\x00", false, false}, {"a@", false, false}, {"a[", false, false},
		{"a`", false, false}, {"a{", false, false}, {"#ephemeral", false, true}, {"a#ephemeral", true, true},
		{"a#Ephemeral", false, false}, {"a#ephemera", false, false}, {"a#ephemeral#ephemeral", false, true},
		{"a#ephemeralx", false, false}, {long[:54] + EphemeralSuffix, true, true}, {long[:55] + EphemeralSuffix, false, true},
	} {
		if got := ValidName(c.name); got != c.valid {
			t.Errorf("ValidName(%q) is %v", c.name, got)
		}
		if got := ValidName([]byte(c.name)); got != c.valid {
			t.Errorf("ValidName of bytes %q is %v", c.name, got)
		}
		if got := IsEphemeral(c.name); got != c.ephemeral {
			t.Errorf("IsEphemeral(%q) is %v", c.name, got)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		err  *Error
		want string
	}{
		{&Error{Code: CodeBadProtocol}, "E_BAD_PROTOCOL"},
		{Errorf(CodeInvalid, "invalid command %s", ""), "E_INVALID invalid command "},
		{Errorf(CodeBadTopic, "PUB topic name %q is not valid", "a b"), `E_BAD_TOPIC PUB topic name "a b" is not valid`},
	} {
		if c.err.Error() != c.want {
			t.Errorf("reads %q, want %q", c.err, c.want)
		}
	}
	soft := map[Code]bool{CodeFinFailed: true, CodeReqFailed: true, CodeTouchFailed: true}
	for _, code := range []Code{CodeBadProtocol, CodeInvalid, CodeBadBody, CodeBadMessage, CodeBadTopic, CodeBadChannel,
		CodeIdentifyFailed, CodeSubFailed, CodePubFailed, CodeMpubFailed, CodeDpubFailed, CodeAuthFirst, CodeAuthFailed,
		CodeAuthDisabled, CodeAuthError, CodeUnauthorized, CodeFinFailed, CodeReqFailed, CodeTouchFailed} {
		if code.Closes() == soft[code] {
			t.Errorf("%s: closes is %v", code, code.Closes())
		}
	}
}
