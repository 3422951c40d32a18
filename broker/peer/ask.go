package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// Ask asks the node at an address one question, and returns who has answered, and what. kind must be FirstFree or higher.
// It waits until the context ends at most, or as long as a handshake may take for each of its steps. The error is an
// ErrRefused when one of the two does not want the other.
func (n *Node) Ask(ctx context.Context, address string, kind Kind, question []byte) (from Hello, answer []byte, err error) {
	if kind < FirstFree || len(question) > MaxFrame {
		return from, nil, fmt.Errorf("%w: a question of kind %d with %d bytes", ErrFrame, kind, len(question))
	}
	c, err := n.o.Dialer(ctx, address)
	if err != nil {
		return from, nil, err
	}
	defer c.Close()
	if err := n.allowed(c.RemoteAddr()); err != nil {
		return from, nil, err
	}
	own, ok := n.enter(c, true)
	if !ok {
		return from, nil, net.ErrClosed
	}
	defer context.AfterFunc(ctx, func() { c.Close() })()
	plain := c
	defer n.leave(plain, "", "")
	if n.o.TLS != nil {
		c = n.secure(c, address)
	}
	own.Lane = Ask
	from, err = handshake(c, true, own, n.o.Secret, n.judge, n.o.Handshake)
	if err == nil {
		answer, err = exchange(c, kind, question, n.o.Handshake)
	}
	var r *Refusal
	if errors.As(err, &r) && r.received && n.o.Refused != nil {
		n.o.Refused(r)
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return from, answer, err
}

func exchange(c net.Conn, kind Kind, question []byte, within time.Duration) ([]byte, error) {
	_ = c.SetDeadline(time.Now().Add(within))
	if _, err := c.Write(appendFrame(nil, kind, 0, question)); err != nil {
		return nil, err
	}
	f, err := readFrame(c, MaxFrame)
	if err != nil {
		return nil, err
	}
	if f.kind != kind {
		return nil, fmt.Errorf("%w: an answer of kind %d to a question of kind %d", ErrFrame, f.kind, kind)
	}
	return f.payload, nil
}

// answer answers the one question of a connection.
func (n *Node) answer(c net.Conn, from Hello) {
	_ = c.SetDeadline(time.Now().Add(n.o.Handshake))
	f, err := readFrame(c, MaxFrame)
	if err != nil || f.kind < FirstFree || n.o.Asked == nil {
		return
	}
	said := n.o.Asked(from, f.kind, f.payload)
	_ = c.SetDeadline(time.Now().Add(n.o.Handshake))
	_, _ = c.Write(appendFrame(nil, f.kind, 0, said)) // who does not hear it asks again
}
