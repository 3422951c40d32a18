package simnet

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// two connects a client to a host, and returns both ends.
func two(t *testing.T, n *Net, address string) (client, server net.Conn) {
	t.Helper()
	l, err := n.Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	if client, err = n.Dial(t.Context(), "out", address); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	return client, server
}

// reading reads in the background until the end, and returns what has come, and why it ended.
func reading(c net.Conn) func() (string, error) {
	var text strings.Builder
	var end error
	go func() {
		b := make([]byte, 100)
		for end == nil {
			n, err := c.Read(b)
			text.Write(b[:n])
			end = err
		}
	}()
	return func() (string, error) {
		time.Sleep(time.Second)
		synctest.Wait()
		return text.String(), end
	}
}

// TestWhoStandsNeitherHearsNorSaysAnything: what was written before is on its way, what is written meanwhile comes later, as does the end; what is sent to it waits.
func TestWhoStandsNeitherHearsNorSaysAnything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		client, server := two(t, n, "a:1")
		heard, hears := reading(client), reading(server)
		write := func(c net.Conn, text string) {
			if _, err := io.WriteString(c, text); err != nil {
				t.Errorf("%q: %v", text, err)
			}
		}
		write(server, "1")
		n.Pause("a", true)
		write(server, "2")
		write(client, "x")
		if got, err := heard(); got != "1" || err != nil {
			t.Errorf("while it stands the client has %q, %v", got, err)
		}
		if got, err := hears(); got != "" || err != nil {
			t.Errorf("who stands has %q, %v", got, err)
		}
		l, err := n.Listen("a:2")
		if err != nil {
			t.Fatal(err)
		}
		other, err := n.Dial(t.Context(), "out", "a:2")
		if err != nil {
			t.Errorf("its system takes no connection: %v", err)
		}
		taken := make(chan net.Conn, 1)
		go func() {
			c, _ := l.Accept()
			taken <- c
		}()
		time.Sleep(time.Second)
		if len(taken) > 0 {
			t.Error("who stands has accepted")
		}
		n.Pause("a", false)
		if got, err := heard(); got != "12" || err != nil {
			t.Errorf("then the client has %q, %v", got, err)
		}
		if got, err := hears(); got != "x" || err != nil {
			t.Errorf("and it %q, %v", got, err)
		}
		n.Pause("a", true)
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		write(client, "y")
		if got, err := heard(); got != "12" || err != nil {
			t.Errorf("what it has closed meanwhile says %q, %v", got, err)
		}
		n.Pause("a", false)
		if _, err := heard(); !errors.Is(err, io.EOF) {
			t.Errorf("then: %v", err)
		}
		other.Close()
		(<-taken).Close()
	})
}

// TestAKillOfWhoStands: what it has not said yet is lost.
func TestAKillOfWhoStands(t *testing.T) {
	for _, silent := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			n := New(1)
			client, server := two(t, n, "a:1")
			heard := reading(client)
			n.Pause("a", true)
			if _, err := io.WriteString(server, "1"); err != nil {
				t.Error(err)
			}
			n.End("a", silent)
			n.Stand("a")
			if got, err := heard(); got != "" || (err == nil) != silent {
				t.Errorf("without power %v: %q, %v", silent, got, err)
			}
			n.Begin("a")
			if _, err := heard(); err == nil {
				t.Error("its next process knows the connection")
			}
		})
	}
}

// TestADeadlineOfWhoStands: that it is over is seen when it goes on, before what has come or behind it.
func TestADeadlineOfWhoStands(t *testing.T) {
	first := map[bool]int{}
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			n := New(seed)
			client, server := two(t, n, "a:1")
			if err := server.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
				t.Error(err)
			}
			hears := reading(server)
			n.Pause("a", true)
			if _, err := io.WriteString(client, "1"); err != nil {
				t.Error(err)
			}
			time.Sleep(2 * time.Second)
			if _, err := hears(); err != nil {
				t.Errorf("while it stands: %v", err)
			}
			n.Pause("a", false)
			got, err := hears()
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("then: %v", err)
			}
			first[got == "1"]++
		})
	}
	if first[true] == 0 || first[false] == 0 {
		t.Errorf("what was first: %v", first)
	}
}

// TestCutSome: only connections that were opened so are cut, and what was said over them comes later.
func TestCutSome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		c1, s1 := two(t, n, "a:1")
		c2, s2 := two(t, n, "a:2")
		h1, h2 := reading(s1), reading(s2)
		n.CutSome(func(opening []byte) bool { return string(opening) == "one" }, "out", "a")
		for c, text := range map[net.Conn]string{c1: "one", c2: "two"} {
			if _, err := io.WriteString(c, text); err != nil {
				t.Error(err)
			}
		}
		if got, _ := h1(); got != "" {
			t.Errorf("over the one that is cut: %q", got)
		}
		if got, _ := h2(); got != "two" {
			t.Errorf("over the other one: %q", got)
		}
		n.CutSome(nil, "out", "a")
		if got, _ := h1(); got != "one" {
			t.Errorf("then: %q", got)
		}
		c1.Close()
		c2.Close()
		_, _ = h1()
	})
}
