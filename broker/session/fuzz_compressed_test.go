package session

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/golang/snappy"

	"brokerd/broker/topic"
	"brokerd/protocol"
	"brokerd/protocol/prototest"
)

// parts is a connection whose peer says one thing after the other, each in a read of its own.
type parts struct {
	monologue
	rest [][]byte
}

func (p *parts) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.rest[0])
	if p.rest[0] = p.rest[0][n:]; len(p.rest[0]) == 0 {
		p.rest = p.rest[1:]
	}
	return n, nil
}

const snappyIdentifier = "\xff\x06\x00\x00sNaPpY"

// FuzzCompressedSession: whatever comes inside snappy or deflate, or in their place, the session ends with it, and what it answers
// are whole frames inside the same.
func FuzzCompressedSession(f *testing.F) {
	commands := []byte(prototest.Pub("t", strings.Repeat("x", 100)) + "SUB t c\nRDY 1\n")
	f.Add(true, []byte(snappyIdentifier+snappyChunks(commands, 60)))
	f.Add(true, commands)
	f.Add(false, deflated(f, commands))
	f.Add(false, commands)
	f.Fuzz(func(t *testing.T, snappyNotDeflate bool, stream []byte) {
		cfg, topics := testConfig()
		cfg.MaxMsgSize, cfg.MaxBodySize = 1<<16, 1<<18
		cfg.Topics = topic.NewRegistry(topics)
		server := NewServer(cfg)
		identify := fmt.Sprintf(`{"feature_negotiation":true,"snappy":%v,"deflate":%v}`, snappyNotDeflate, !snappyNotDeflate)
		p := &parts{rest: [][]byte{[]byte(protocol.Magic + "IDENTIFY\n" + prototest.Body(identify))}}
		if len(stream) > 0 {
			p.rest = append(p.rest, stream)
		}
		_ = server.Serve(p) // any error will do
		if err := errors.Join(server.Close(context.Background()), cfg.Topics.Close()); err != nil {
			t.Error(err)
		}
		_, _, n, err := protocol.ParseFrame(p.heard, 1<<20)
		if err != nil {
			t.Fatalf("the answer to IDENTIFY: %v", err)
		}
		var inside io.Reader = flate.NewReader(bytes.NewReader(p.heard[n:]))
		if snappyNotDeflate {
			inside = snappy.NewReader(bytes.NewReader(p.heard[n:]))
		}
		heard, err := io.ReadAll(inside)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) { // a deflate stream has no end
			t.Fatal(err)
		}
		checkFrames(t, heard)
	})
}

func deflated(t testing.TB, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 6)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(text)
	if err := errors.Join(err, w.Flush()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// FuzzStreamsThatNSQTakes: what nsqd's decoder makes of a stream, ours makes too. Ours may take more.
func FuzzStreamsThatNSQTakes(f *testing.F) {
	text := []byte(strings.Repeat("a message, ", 20))
	for _, literal := range []int{1, 6, 60, 256, 65536} {
		f.Add([]byte(snappyIdentifier + snappyChunks(text, literal)))
	}
	var b bytes.Buffer
	w := snappy.NewBufferedWriter(&b)
	_, err := w.Write(text)
	if err := errors.Join(err, w.Close()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(bytes.Repeat(b.Bytes(), 2))
	f.Add([]byte(snappyIdentifier + "\xfe\x03\x00\x00abc\x80\x01\x00\x00x"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		want, err := io.ReadAll(snappy.NewReader(bytes.NewReader(stream)))
		if err != nil {
			return
		}
		got, err := io.ReadAll(newSnappyReader(bytes.NewReader(stream)))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes and %v, want %d bytes", len(got), err, len(want))
		}
	})
}
