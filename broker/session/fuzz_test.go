package session

import (
	"bytes"
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"brokerd/broker/topic"
	"brokerd/protocol"
	"brokerd/protocol/prototest"
)

// monologue is a connection whose peer has said everything already and hears whatever comes.
type monologue struct {
	said  *bytes.Reader
	mu    sync.Mutex // guards heard; reader and writer of the session both speak
	heard []byte
}

func (m *monologue) Read(p []byte) (int, error) { return m.said.Read(p) }

func (m *monologue) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.heard = append(m.heard, p...)
	return len(p), nil
}

func (m *monologue) Close() error                     { return nil }
func (m *monologue) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (m *monologue) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (m *monologue) SetDeadline(time.Time) error      { return nil }
func (m *monologue) SetReadDeadline(time.Time) error  { return nil }
func (m *monologue) SetWriteDeadline(time.Time) error { return nil }

// FuzzSession: whatever a client says, the session ends with it, and all it answers are whole frames: after an
// error that closes at most a message that was on its way.
func FuzzSession(f *testing.F) {
	seeds, err := prototest.Seeds()
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range seeds {
		if len(s) < 8<<10 {
			f.Add([]byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		cfg, topics := testConfig()
		cfg.Snappy, cfg.Deflate, cfg.MaxMsgSize, cfg.MaxBodySize = false, false, 1<<16, 1<<18
		cfg.Topics = topic.NewRegistry(topics)
		server := NewServer(cfg)
		m := &monologue{said: bytes.NewReader(append([]byte(protocol.Magic), said...))}
		_ = server.Serve(m) // any error will do
		if err := server.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := cfg.Topics.Close(); err != nil {
			t.Error(err)
		}
		checkFrames(t, m.heard)
	})
}

func checkFrames(t *testing.T, heard []byte) {
	t.Helper()
	var last []byte // the error that closes
	for len(heard) > 0 {
		kind, payload, n, err := protocol.ParseFrame(heard, 1<<20)
		if err != nil {
			t.Fatalf("%v in %q", err, heard)
		}
		heard = heard[n:]
		if last != nil && kind != protocol.FrameMessage {
			t.Fatalf("%q is followed by %q", last, payload)
		}
		code, _, _ := bytes.Cut(payload, []byte(" "))
		if kind == protocol.FrameError && protocol.Code(code).Closes() {
			last = payload
		}
	}
}
