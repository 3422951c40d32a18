package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
)

// mostPorts bounds how many daemons are remembered.
const mostPorts = 10_000

// securePorts remembers which daemons refuse plain text, and where they answer over https. It is safe for concurrent use.
type securePorts struct {
	mu    sync.Mutex
	known map[string]string // by host:port of plain text, that of https; empty for a daemon that takes plain text
}

func (p *securePorts) get(plain string) (secure string, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	secure, known = p.known[plain]
	return secure, known
}

func (p *securePorts) put(plain, secure string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil || len(p.known) >= mostPorts {
		p.known = map[string]string{}
	}
	p.known[plain] = secure
}

func (p *securePorts) forget(plain string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.known, plain)
}

// Do sends a request with the body as it is and returns the answer as it is, for what is not JSON, or not only. It asks once more
// over https when it is refused for that, and from then on at once; a token is shown in clear to nobody who refuses plain text. The error is as
// Get's.
func (c *HTTPClient) Do(ctx context.Context, method, rawURL string, body []byte) ([]byte, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" {
		return c.send(ctx, method, rawURL, body, c.token())
	}
	plain := u.Host
	secure, known := c.ports.get(plain)
	if token := c.token(); !known && token != "" {
		// Whether it refuses plain text must be known before it is shown the token. What it answers otherwise does not matter here.
		_, err := c.send(ctx, http.MethodGet, "http://"+plain+"/ping", nil, "")
		if port, refused := refusesPlain(err); refused {
			secure = net.JoinHostPort(u.Hostname(), port)
			c.ports.put(plain, secure)
		} else if err == nil || errors.As(err, new(*StatusError)) {
			c.ports.put(plain, "")
		} else {
			return nil, explainRefusal(rawURL, err)
		}
	}
	if secure == "" {
		answer, err := c.send(ctx, method, rawURL, body, c.token())
		port, refused := refusesPlain(err)
		if !refused {
			return answer, explainRefusal(rawURL, err)
		}
		secure = net.JoinHostPort(u.Hostname(), port)
		c.ports.put(plain, secure)
	}
	u.Scheme, u.Host = "https", secure
	answer, err := c.send(ctx, method, u.String(), body, c.token())
	if err != nil && !errors.As(err, new(*StatusError)) {
		c.ports.forget(plain) // it may have another port by now
	}
	return answer, err
}

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
