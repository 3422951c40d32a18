package httpapi

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// mostPorts bounds how many daemons are remembered.
const mostPorts = 10_000

// securePorts remembers which daemons refuse plain text, and where they answer over https. It is safe for concurrent use.
type securePorts struct {
	mu    sync.Mutex
	known map[string]securePort // by host:port of plain text
}

// securePort is where a daemon answers over https.
type securePort struct {
	address string // host:port; empty when it is not known
	proven  bool   // it has answered there, with a certificate that is right
	again   bool   // it did not the last time: it is asked in clear where it does now
}

func (p *securePorts) get(plain string) securePort {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[plain]
}

// found keeps what a daemon says of itself.
func (p *securePorts) found(plain, secure string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.known) >= mostPorts {
		maps.DeleteFunc(p.known, func(_ string, s securePort) bool { return !s.proven })
	}
	if p.known == nil || len(p.known) >= mostPorts {
		p.known = map[string]securePort{}
	}
	p.known[plain] = securePort{address: secure, proven: p.known[plain].proven}
}

// answered keeps whether a daemon has answered over https. One that has before keeps that, and may have another port by now.
func (p *securePorts) answered(plain string, did bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch s, known := p.known[plain]; {
	case did && known:
		p.known[plain] = securePort{address: s.address, proven: true}
	case s.proven:
		p.known[plain] = securePort{address: s.address, proven: true, again: true}
	default:
		delete(p.known, plain)
	}
}

// forget has all daemons be asked again as if they were met for the first time.
func (p *securePorts) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = nil
}

// ErrInClear says that a daemon would have been shown a token in clear that was spoken to over TLS before.
var ErrInClear = errors.New("it has answered over TLS before and takes plain text now: it is shown no token in clear. A reload or a new start of this program lets it")

// Do sends a request with the body as it is and returns the answer as it is, for what is not JSON, or not only. It asks once more
// over https when it is refused for that, and from then on at once; a token is shown in clear to nobody who refuses plain text, nor to whom it was
// shown over TLS before. The error is as Get's, or ErrInClear.
func (c *HTTPClient) Do(ctx context.Context, method, rawURL string, body []byte) ([]byte, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" {
		return c.send(ctx, method, rawURL, body, c.token())
	}
	plain := u.Host
	known := c.ports.get(plain)
	inClear := error(nil) // who has answered over TLS before, or another daemon behind the same name
	if known.address == "" || known.again {
		answer, err := c.inClear(ctx, method, rawURL, body, known.proven)
		port, refused := refusesPlain(err)
		switch {
		case refused:
			known.address = net.JoinHostPort(u.Hostname(), port)
			c.ports.found(plain, known.address)
		case errors.Is(err, ErrInClear):
			inClear = err
		default:
			return answer, explainRefusal(rawURL, err)
		}
	}
	u.Scheme, u.Host = "https", known.address
	answer, err := c.send(ctx, method, u.String(), body, c.token())
	answered := err == nil || errors.As(err, new(*StatusError))
	c.ports.answered(plain, answered)
	if !answered && inClear != nil {
		err = fmt.Errorf("%w. Over TLS: %w", inClear, err)
	}
	return answer, err
}

// inClear is send to a daemon that may take plain text. With a token one that has answered over TLS before is only asked where it does now, over a
// connection of its own: behind one name there may be others, and the next question may find another one.
func (c *HTTPClient) inClear(ctx context.Context, method, rawURL string, body []byte, proven bool) ([]byte, error) {
	if !proven || c.token() == "" {
		return c.send(ctx, method, rawURL, body, c.token())
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	address := net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "80"))
	conn, err := c.dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close() // nothing was sent that could be lost
	if _, err := c.takesPlain(ctx, conn, address); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%s: %w", u.Host, ErrInClear)
}

// pingWithin bounds how long a daemon that was connected to in clear may take to say whether it wants that.
const pingWithin = 10 * time.Second

// dialPlain connects in clear. Who is to be shown a token is asked first whether he takes plain text, over each new connection: a daemon may have
// been started again with --tls-required since the last one. The error is a *StatusError where he does not.
func (c *HTTPClient) dialPlain(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := c.dial(ctx, network, address)
	if err != nil || c.token() == "" {
		return conn, err
	}
	goesOn, err := c.takesPlain(ctx, conn, address)
	if err == nil && goesOn {
		return conn, nil
	}
	conn.Close() // nothing is to come of it
	if err != nil {
		return nil, err
	}
	return c.dial(ctx, network, address) // it has said so a moment ago, and ended the connection
}

// takesPlain asks who is connected; goesOn is whether the connection may be used for more.
func (c *HTTPClient) takesPlain(ctx context.Context, conn net.Conn, address string) (goesOn bool, err error) {
	within := pingWithin
	if t := c.c.Timeout; t > 0 {
		within = min(t, within)
	}
	if err := conn.SetDeadline(time.Now().Add(within)); err != nil {
		return false, err
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/ping", nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("User-Agent", c.agent)
	if err := req.Write(conn); err != nil {
		return false, err
	}
	bounded := &io.LimitedReader{R: conn, N: maxRefusal}
	in := bufio.NewReader(bounded)
	resp, err := http.ReadResponse(in, req)
	if err != nil {
		return false, fmt.Errorf("read the answer of http://%s/ping: %w", address, err)
	}
	answer, err := io.ReadAll(resp.Body)
	cut := err != nil && bounded.N == 0 // no daemon's: a page of what stands before one
	if err != nil && !cut {
		return false, fmt.Errorf("read the answer of http://%s/ping: %w", address, err)
	}
	if status := (&StatusError{Code: resp.StatusCode, Status: resp.Status, Body: answer}); status.Code == http.StatusForbidden && status.Message() == tlsRequired {
		return false, status
	}
	return !resp.Close && !cut && in.Buffered() == 0, conn.SetDeadline(time.Time{})
}

// tlsRequired is the word of a plain-text port that refuses.
const tlsRequired = "TLS_REQUIRED"

// refusal is the body of a 403 that is about plain text.
type refusal struct {
	HTTPSPort int `json:"https_port"`
}

// refusesPlain reports whether an error is the 403 of a plain-text port that names an https port, of the same host.
func refusesPlain(err error) (port string, refused bool) {
	var status *StatusError
	var says refusal
	if !errors.As(err, &status) || status.Code != http.StatusForbidden || json.Unmarshal(status.Body, &says) != nil || says.HTTPSPort <= 0 {
		return "", false
	}
	return strconv.Itoa(says.HTTPSPort), true
}

// explainRefusal says of a 403 that is no JSON where it came from.
func explainRefusal(rawURL string, err error) error {
	var status *StatusError
	var says refusal
	if errors.As(err, &status) && status.Code == http.StatusForbidden {
		if e := json.Unmarshal(status.Body, &says); e != nil {
			return fmt.Errorf("%s refused with 403: %w", rawURL, e)
		}
	}
	return err
}
