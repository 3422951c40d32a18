package broker

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"brokerd/protocol"
)

// gate bounds the connections of one kind, clients or HTTP, in all and of one address.
type gate struct {
	limits func() (all, perAddress int) // 0: none
	files  *descriptors                 // shared with others

	mu      sync.Mutex // guards what follows
	n       int
	of      map[string]int // connections by address, while that is bounded
	refused uint64
	leaving int // refused ones that are still being told
}

func newGate(limits func() (all, perAddress int), files *descriptors) *gate {
	return &gate{limits: limits, files: files, of: map[string]int{}}
}

// addressKey returns what counts as one address, empty for a unix socket.
func addressKey(conn net.Conn) string {
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return a.IP.String()
	}
	return ""
}

// enter counts a connection, which leave takes back, or returns why there is one too many.
func (g *gate) enter(key string) error {
	all, perAddress := g.limits()
	g.mu.Lock()
	defer g.mu.Unlock()
	var err error
	switch {
	case all > 0 && g.n >= all:
		err = fmt.Errorf("--max-connections %d is reached", all)
	case perAddress > 0 && key != "" && g.of[key] >= perAddress:
		err = fmt.Errorf("--max-connections-per-address %d is reached", perAddress)
	default:
		err = g.files.take(g.n + g.leaving)
	}
	if err != nil {
		g.refused++
		return err
	}
	g.n++
	if key != "" {
		g.of[key]++
	}
	return nil
}

func (g *gate) leave(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n--
	g.files.give()
	if g.of[key]--; g.of[key] <= 0 {
		delete(g.of, key)
	}
}

// refusals returns how many connections were refused.
func (g *gate) refusals() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refused
}

// How a connection too many is told: its peer has so long to read the answer, and so many are told at a time, if there are descriptors for them; more are
// closed at once.
const (
	goodbye  = time.Second
	goodbyes = 64
)

// tell sends a refused connection an answer and closes it, on a goroutine that start starts.
func (g *gate) tell(conn net.Conn, answer []byte, start func(func())) {
	g.mu.Lock()
	many := g.leaving >= goodbyes || g.files.take(g.n+g.leaving) != nil // who is told something has a descriptor meanwhile
	if !many {
		g.leaving++
	}
	g.mu.Unlock()
	if many {
		_ = conn.Close()
		return
	}
	start(func() {
		defer func() {
			_ = conn.Close()
			g.mu.Lock()
			defer g.mu.Unlock()
			g.leaving--
			g.files.give()
		}()
		_ = conn.SetDeadline(time.Now().Add(goodbye))
		if _, err := conn.Write(answer); err != nil {
			return
		}
		if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
			_, _ = io.CopyN(io.Discard, conn, 64<<10) // what is unread at the close would take the answer away from the peer
		}
	})
}

// refusedClient is the answer to a client too many.
func refusedClient(why error) []byte {
	return protocol.AppendFrame(nil, protocol.FrameError, []byte(protocol.Errorf(protocol.CodeInvalid, "%s", why).Error()))
}

// refusedHTTP is the answer to a connection too many for HTTP.
func refusedHTTP(why error) []byte {
	body := fmt.Sprintf(`{"message":"LIMIT_REACHED: %s"}`, why)
	return fmt.Appendf(nil, "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json; charset=utf-8\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s",
		len(body), body)
}

// gatedListener is a listener for HTTP whose connections are counted.
type gatedListener struct {
	net.Listener
	server *Server
	plain  bool // a refusal can be told in clear
}

// Accept returns the next connection that the gate lets in.
func (l *gatedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		key, g := addressKey(conn), l.server.httpGate
		if err := g.enter(key); err != nil {
			l.server.turnAway(g, conn, err, refusedHTTP(err), l.plain)
			continue
		}
		return &gatedConn{Conn: conn, leave: sync.OnceFunc(func() { g.leave(key) })}, nil
	}
}

// gatedConn is counted until it is closed.
type gatedConn struct {
	net.Conn
	leave func()
}

// Close closes the connection.
func (c *gatedConn) Close() error {
	defer c.leave() // behind it, or the next one would be let in while this one has its descriptor
	return c.Conn.Close()
}

// turnAway refuses a connection, and says so in the log once in a while.
func (s *Server) turnAway(g *gate, conn net.Conn, why error, answer []byte, told bool) {
	if n := g.refusals(); n&(n-1) == 0 { // 1, 2, 4, ...: whoever is refused tries again and again
		s.log.Warn("connection refused", "peer", conn.RemoteAddr(), "reason", why, "refused so far", n)
	}
	if out := new(*outOfDescriptors); !told || errors.As(why, out) {
		_ = conn.Close()
		return
	}
	g.tell(conn, answer, func(f func()) { s.wg.Go(f) })
}
