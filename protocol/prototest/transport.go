package prototest

import (
	"compress/flate"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/golang/snappy"
)

// Transport is how a client speaks to a broker.
type Transport struct {
	Network string      // "tcp" or "unix"
	Address string      // of protocol V2
	TLS     *tls.Config // of the client; nil is plain
	Snappy  bool
	Deflate bool
}

// upgraded reports whether IDENTIFY stands at the start of each connection.
func (tr Transport) upgraded() bool { return tr.TLS != nil || tr.Snappy || tr.Deflate }

// Connect dials, sends the magic and, when the transport is not plain, negotiates what it says. The test fails when the
// broker does not grant it.
func (tr Transport) Connect(t testing.TB) *Client {
	t.Helper()
	c := Dial(t, tr.Network, tr.Address)
	if tr.upgraded() {
		c.Negotiate(tr, nil)
	}
	return c
}

// Negotiate sends IDENTIFY for the transport's upgrades with further fields, demands that the upgrades are granted, and makes
// them. It returns the broker's answer.
func (c *Client) Negotiate(tr Transport, fields map[string]any) map[string]any {
	c.t.Helper()
	want := map[string]any{"feature_negotiation": true, "tls_v1": tr.TLS != nil, "snappy": tr.Snappy, "deflate": tr.Deflate}
	request := map[string]any{"client_id": "prototest", "hostname": "prototest", "user_agent": "prototest"}
	for _, m := range []map[string]any{want, fields} {
		for k, v := range m {
			request[k] = v
		}
	}
	body, err := json.Marshal(request)
	if err != nil {
		c.t.Fatal(err)
	}
	c.Send("IDENTIFY\n" + Body(body))
	answer := map[string]any{}
	if f := c.Next(); f.Type != Response || json.Unmarshal(f.Payload, &answer) != nil {
		c.t.Fatalf("IDENTIFY was answered by %v", f)
	}
	for _, feature := range []string{"tls_v1", "snappy", "deflate"} {
		if answer[feature] != want[feature] {
			c.t.Fatalf("asked for %s %v, got %v", feature, want[feature], answer[feature])
		}
	}
	if err := c.upgrade(tr); err != nil {
		c.t.Fatal(err)
	}
	return answer
}

// upgrade makes what was granted: TLS first, compression inside it, with an OK after each.
func (c *Client) upgrade(tr Transport) error {
	if tr.TLS != nil {
		if err := c.StartTLS(tr.TLS); err != nil {
			return err
		}
		if err := c.acknowledged("TLS"); err != nil {
			return err
		}
	}
	switch {
	case tr.Snappy:
		c.r, c.w = snappy.NewReader(c.Conn), eachSnappy{c.Conn}
		return c.acknowledged("snappy")
	case tr.Deflate:
		w, err := flate.NewWriter(c.Conn, flate.BestSpeed)
		if err != nil {
			return err
		}
		c.r, c.w = flate.NewReader(c.Conn), w
		return c.acknowledged("deflate")
	}
	return nil
}

// StartTLS makes the handshake and goes on inside TLS.
func (c *Client) StartTLS(cfg *tls.Config) error {
	conn := tls.Client(c.Conn, cfg)
	if err := conn.SetDeadline(time.Now().Add(c.Timeout)); err != nil {
		return err
	}
	if err := conn.Handshake(); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	c.Conn, c.r, c.w = conn, conn, direct{conn}
	return nil
}

func (c *Client) acknowledged(stage string) error {
	f, err := c.Read()
	if err != nil {
		return fmt.Errorf("waiting for OK inside %s: %w", stage, err)
	}
	if f.Type != Response || string(f.Payload) != "OK" {
		return fmt.Errorf("got %v inside %s, want OK", f, stage)
	}
	return nil
}

// eachSnappy begins a snappy stream anew with each write, stream identifier included, as pynsq does.
type eachSnappy struct{ dst io.Writer }

func (e eachSnappy) Write(p []byte) (int, error) {
	w := snappy.NewBufferedWriter(e.dst)
	if n, err := w.Write(p); err != nil {
		return n, err
	}
	return len(p), w.Close()
}

func (eachSnappy) Flush() error { return nil }
