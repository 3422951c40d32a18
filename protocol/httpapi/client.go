package httpapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"time"
	"unicode"
)

// maxAnswer is the longest answer that is read, in bytes, once it is decompressed: over 60,000 channels of a broker's /stats. A daemon that
// is none may send without end.
const maxAnswer = 32 << 20

// ClientConfig is the tunable part of an HTTPClient.
type ClientConfig struct {
	TLS            *tls.Config   // for https; nil means the system's roots
	ConnectTimeout time.Duration // of one dial; 0 means none
	RequestTimeout time.Duration // of a whole request with its answer; 0 means none
	UserAgent      string        // empty for net/http's
	Token          string        // sent as a bearer token; empty for none
	TokenFrom      func() string // asked for it at each request instead; nil: Token
}

// largeAnswer is from how many bytes on answers take turns in being decoded.
const largeAnswer = 64 << 10

// idlePerHost is how many connections to one daemon are kept while they are not used. A lookup is asked for the channels of many topics at once, by brokers and by
// admind, and each new connection costs a handshake, and with a token in clear one more question.
const idlePerHost = 16

// HTTPClient asks daemons over HTTP. It keeps connections, follows no redirect and no proxy of the environment, and retries over https when
// a broker's plain-text port refuses with TLS_REQUIRED. It is safe for concurrent use.
type HTTPClient struct {
	c     *http.Client
	agent string
	token func() string
	dial  func(ctx context.Context, network, address string) (net.Conn, error)
	https *Transport
	ports securePorts
	reads reads         // of large answers
	turns chan struct{} // of decoding a large answer: as many as processors, or a hundred at once would leave none for anybody else
}

// NewHTTPClient returns a client with no connection yet.
func NewHTTPClient(cfg ClientConfig) *HTTPClient {
	dialer := &net.Dialer{Timeout: cfg.ConnectTimeout, KeepAlive: 30 * time.Second}
	token := cfg.TokenFrom
	if token == nil {
		token = func() string { return cfg.Token }
	}
	c := &HTTPClient{agent: cfg.UserAgent, token: token, turns: make(chan struct{}, runtime.GOMAXPROCS(0)), reads: newReads(), dial: dialer.DialContext}
	connects := func(dial func(ctx context.Context, network, address string) (net.Conn, error), with *tls.Config) *http.Transport {
		return &http.Transport{DialContext: dial, TLSClientConfig: with, TLSHandshakeTimeout: 10 * time.Second,
			MaxIdleConns: 1000, MaxIdleConnsPerHost: idlePerHost, IdleConnTimeout: 90 * time.Second}
	}
	c.https = NewTransport(cfg.TLS, func(with *tls.Config) *http.Transport { return connects(c.dial, with) })
	c.c = &http.Client{
		Timeout:       cfg.RequestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // no daemon leads elsewhere
		Transport:     byScheme{connects(c.dialPlain, nil), c.https},
	}
	return c
}

// byScheme keeps connections in clear, which ask before they are used, apart from those over TLS.
type byScheme struct {
	http  *http.Transport
	https *Transport
}

// RoundTrip is for http.Client.
func (t byScheme) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme == "https" {
		return t.https.RoundTrip(req)
	}
	return t.http.RoundTrip(req)
}

// CloseIdleConnections closes what no request uses.
func (t byScheme) CloseIdleConnections() {
	t.http.CloseIdleConnections()
	t.https.CloseIdleConnections()
}

// SetTLS replaces the configuration for https, for connections that are made from now on, and forgets who has answered over it.
func (c *HTTPClient) SetTLS(cfg *tls.Config) {
	c.https.SetTLS(cfg)
	c.ports.forget()
}

// Close drops idle connections and ends their goroutines.
func (c *HTTPClient) Close() { c.c.CloseIdleConnections() }

// StatusError is an answer other than 200.
type StatusError struct {
	Code   int
	Status string // the status line's number and words
	Body   []byte
}

// Error returns NSQ's text: got response 404 Not Found "{\"message\":\"TOPIC_NOT_FOUND\"}". A body that is not such a word is left out: who
// answers may be no daemon, and what it says nobody's business.
func (e *StatusError) Error() string {
	word := e.Message()
	if i := strings.IndexFunc(word, func(r rune) bool { return !(r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_') }); i >= 0 {
		if word[i] != ':' {
			return fmt.Sprintf("got response %d %s", e.Code, http.StatusText(e.Code))
		}
		word = word[:i]
	}
	if word == "" {
		return fmt.Sprintf("got response %d %s", e.Code, http.StatusText(e.Code))
	}
	return fmt.Sprintf("got response %d %s %q", e.Code, http.StatusText(e.Code), `{"message":"`+word+`"}`)
}

// maxMessage is the longest text of a refusal that is shown, in bytes.
const maxMessage = 1000

// Message returns the text of a V1 refusal, empty when the body is none, or holds what cannot be printed.
func (e *StatusError) Message() string {
	var answer struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(e.Body, &answer) != nil || len(answer.Message) > maxMessage ||
		strings.ContainsFunc(answer.Message, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	return answer.Message
}

// Get asks for rawURL and decodes the JSON of the answer into v, or drops it when v is nil. The error is a *StatusError for
// an answer other than 200.
func (c *HTTPClient) Get(ctx context.Context, rawURL string, v any) error {
	return c.ask(ctx, http.MethodGet, rawURL, nil, v)
}

// Post sends body, nothing when it is nil and JSON otherwise, and decodes the answer as Get does.
func (c *HTTPClient) Post(ctx context.Context, rawURL string, body, v any) error {
	var encoded []byte
	if body != nil {
		var err error
		if encoded, err = json.Marshal(body); err != nil {
			return fmt.Errorf("encode the request to %s: %w", rawURL, err)
		}
	}
	return c.ask(ctx, http.MethodPost, rawURL, encoded, v)
}

// PostBytes is Do with the method POST.
func (c *HTTPClient) PostBytes(ctx context.Context, rawURL string, body []byte) ([]byte, error) {
	return c.Do(ctx, http.MethodPost, rawURL, body)
}

// ask sends a request and decodes the answer.
func (c *HTTPClient) ask(ctx context.Context, method, rawURL string, body []byte, v any) error {
	answer, err := c.Do(ctx, method, rawURL, body)
	if err != nil || v == nil {
		return err
	}
	if len(answer) >= largeAnswer {
		c.turns <- struct{}{}
		defer func() { <-c.turns }()
	}
	if err := json.Unmarshal(answer, v); err != nil {
		return fmt.Errorf("decode the answer of %s: %w", rawURL, err)
	}
	return nil
}

// send sends one request and returns the body of an answer with status 200.
func (c *HTTPClient) send(ctx context.Context, method, rawURL string, body []byte, token string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, rawURL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/vnd.nsq; version=1.0")
	if c.agent != "" {
		req.Header.Set("User-Agent", c.agent)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() // its error is of no use after the body was read
	if resp.StatusCode != http.StatusOK {
		refusal, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
		if err != nil {
			return nil, fmt.Errorf("read the answer of %s: %w", rawURL, err)
		}
		return nil, &StatusError{Code: resp.StatusCode, Status: resp.Status, Body: refusal}
	}
	answer, err := c.reads.all(ctx, resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", rawURL, err)
	}
	return answer, nil
}
