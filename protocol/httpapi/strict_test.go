package httpapi

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/julienschmidt/httprouter"
)

func strictServer(t *testing.T) (addr string, bodies chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	bodies = make(chan string, 100)
	r := NewRouter(slog.New(slog.DiscardHandler), Door{})
	r.Handle("POST", "/pub", Public(), V1(func(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
		body, err := io.ReadAll(req.Body)
		if err == nil {
			bodies <- string(body)
		}
		return "OK", err
	}))
	server := NewServer(r, slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(Strict(l)) }()
	t.Cleanup(func() { server.Close(); <-done })
	return l.Addr().String(), bodies
}

// TestTwoLengths: a request with both Content-Length and Transfer-Encoding is answered 400 and its connection closed, wherever it stands on
// the connection and however its bytes arrive. All that is right goes on.
func TestTwoLengths(t *testing.T) {
	addr, bodies := strictServer(t)
	head := "POST /pub HTTP/1.1\r\nHost: localhost\r\n"
	chunks := "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
	fine := []string{
		head + "Content-Length: 5\r\n\r\nabcde",
		head + "Transfer-Encoding: chunked\r\n\r\n" + chunks,
		head + "transfer-encoding: Chunked\r\nTrailer: X\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n",
		head + "Content-Length: 5\r\nX-Text: a,\r\n Transfer-Encoding: chunked\r\n\r\nabcde",
		head + "X-Long: " + strings.Repeat("x", 9000) + "\r\nContent-Length: 5\r\n\r\nabcde",
	}
	for i, bad := range []string{
		head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks,
		head + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + chunks,
		head + "TRANSFER-ENCODING: chunked\r\nX: y\r\ncontent-length:0\r\n\r\n" + chunks,
		head + "Content-Length: 5\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks,
		head + "Transfer-Encoding: chunked\nContent-Length: 5\n\n" + chunks,
		head + "Content-Length:\r\n 5\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks,
		head + "Transfer-Encoding:\r\n chunked\r\nContent-Length:\r\n\t5\r\n\r\n" + chunks,
		head + "Content-Length: " + strings.Repeat(" ", 300) + "5\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks,
		head + "Content-Length: " + strings.Repeat("0", 300) + "5\r\n\r\nabcde", // as the 0 that is seen of it what follows would be a head
		head + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
	} {
		for before := range fine {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
			in := bufio.NewReader(conn)
			for _, text := range fine[:before] {
				for _, b := range []byte(text) { // a byte at a time
					if _, err := conn.Write([]byte{b}); err != nil {
						t.Fatal(err)
					}
				}
				resp, err := http.ReadResponse(in, nil)
				if err != nil || resp.StatusCode != 200 {
					t.Fatalf("%q: %v %v", text, resp, err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				if got := <-bodies; got != "abcde" {
					t.Fatalf("%q brought %q", text, got)
				}
			}
			if _, err := io.WriteString(conn, bad); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(in, nil)
			if err != nil || resp.StatusCode != 400 && i < 9 || resp.StatusCode == 200 {
				t.Fatalf("%q: %v %v", bad, resp, err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			if _, err := in.ReadByte(); err == nil {
				t.Errorf("%q: the connection goes on", bad)
			}
			conn.Close()
		}
	}
	if len(bodies) > 0 {
		t.Errorf("a bad request brought %q", <-bodies)
	}
}

// FuzzScan: what is found does not depend on how the bytes are cut, and nothing makes it panic.
func FuzzScan(f *testing.F) {
	f.Add("POST /pub HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabcdePOST /pub HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 3)
	f.Add("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 1)
	f.Fuzz(func(t *testing.T, text string, cut int) {
		var whole, cuts scan
		_, one := whole.feed([]byte(text))
		two := true
		step := 1 + (cut&0xff)%7
		for rest := []byte(text); len(rest) > 0 && two; {
			n := min(step, len(rest))
			_, two = cuts.feed(rest[:n])
			rest = rest[n:]
		}
		if one != two {
			t.Fatalf("in one piece %v, in pieces of %d %v", one, step, two)
		}
	})
}
