package auth

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"brokerd/protocol/httpapi"
)

// maxAnswer is the longest answer that is read, in bytes.
const maxAnswer = 1 << 20

// Config says where and how to ask.
type Config struct {
	Addresses      []string      // at least one: host:port, asked at /auth, or a whole URL
	Anchored       bool          // the patterns of answers must match whole names
	Method         string        // "get", also when empty, or "post"
	TLS            *tls.Config   // for https daemons: their root CAs and the lowest version; nil means the system's
	ConnectTimeout time.Duration // of one dial; 0 means none
	RequestTimeout time.Duration // of one daemon's whole answer; 0 means none
	Logger         *slog.Logger  // told of a daemon that failed when another one answered; nil means nobody
}

// Client asks the auth daemons. It is safe for concurrent use and keeps its connections.
type Client struct {
	endpoints []string
	post      bool
	anchored  bool
	http      *http.Client
	log       *slog.Logger
}

// New returns a Client without a connection yet.
func New(cfg Config) (*Client, error) {
	c := &Client{post: cfg.Method == "post", anchored: cfg.Anchored, log: cfg.Logger}
	if cfg.Method != "" && cfg.Method != "get" && cfg.Method != "post" {
		return nil, fmt.Errorf("auth request method is %q, must be post or get", cfg.Method)
	}
	if len(cfg.Addresses) == 0 {
		return nil, errors.New("no auth daemon's address is given")
	}
	for _, address := range cfg.Addresses {
		endpoint := address
		if !strings.Contains(address, "://") {
			endpoint = "http://" + address + "/auth"
		}
		u, err := url.Parse(endpoint)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("auth daemon's address %q is neither host:port nor an http or https URL", httpapi.Mask(address))
		}
		c.endpoints = append(c.endpoints, endpoint)
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	dialer := &net.Dialer{Timeout: cfg.ConnectTimeout, KeepAlive: 30 * time.Second}
	c.http = &http.Client{
		Timeout:       cfg.RequestTimeout,
		CheckRedirect: sameHost,
		Transport: &http.Transport{
			DialContext:         dialer.DialContext,
			TLSClientConfig:     cfg.TLS,
			TLSHandshakeTimeout: 10 * time.Second,
			MaxIdleConnsPerHost: 16,
			IdleConnTimeout:     90 * time.Second,
		},
	}
	return c, nil
}

// errElsewhere ends a redirect to another host: the secret is in the question.
var errElsewhere = errors.New("it leads to another host")

// sameHost lets an auth daemon lead to another path only.
func sameHost(req *http.Request, via []*http.Request) error {
	if len(via) > 3 || req.URL.Host != via[0].URL.Host || req.URL.Scheme != via[0].URL.Scheme {
		return errElsewhere
	}
	return nil
}

// Close drops the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Identity is who asks for permissions.
type Identity struct {
	RemoteIP   string   // of the client, without port; empty on a unix socket
	TLS        bool     // whether its connection is TLS
	CommonName string   // of its certificate's subject, verified or not; empty without one
	Names      []string // in its certificate, the subject's first, when that was verified; nil otherwise
	Secret     string   // the body of AUTH
}

func (id Identity) values() url.Values {
	return url.Values{
		"remote_ip":   {id.RemoteIP},
		"tls":         {strconv.FormatBool(id.TLS)},
		"common_name": {id.CommonName},
		"secret":      {id.Secret},
	}
}

// Query asks for an identity's permissions. The error holds what each daemon did wrong, without the secret. An answer
// without any authorization is no error.
func (c *Client) Query(ctx context.Context, id Identity) (*State, error) {
	var failures error
	first := rand.IntN(len(c.endpoints))
	for i := range c.endpoints {
		endpoint := c.endpoints[(first+i)%len(c.endpoints)]
		state, err := c.ask(ctx, endpoint, id)
		if err == nil {
			if failures != nil {
				c.log.WarnContext(ctx, "an auth daemon failed, another one answered", "error", failures)
			}
			return state, nil
		}
		failures = errors.Join(failures, fmt.Errorf("auth daemon %s: %w", httpapi.Mask(endpoint), err))
	}
	return nil, failures
}

// ask asks one daemon, once more over https when it refuses for that.
func (c *Client) ask(ctx context.Context, endpoint string, id Identity) (*State, error) {
	status, body, err := c.send(ctx, endpoint, id)
	if err == nil && status == http.StatusForbidden {
		if secure := secureEndpoint(endpoint, body); secure != "" {
			status, body, err = c.send(ctx, secure, id)
		}
	}
	switch {
	case err != nil:
		return nil, err
	case status != http.StatusOK:
		return nil, fmt.Errorf("got response %d", status) // its body may repeat the secret
	}
	return parseAnswer(body, time.Now(), c.anchored)
}

// send sends one request and reads the answer.
func (c *Client) send(ctx context.Context, endpoint string, id Identity) (status int, body []byte, err error) {
	req, err := c.request(ctx, endpoint, id.values())
	if err != nil {
		return 0, nil, withoutURL(err)
	}
	req.Header.Set("Accept", "application/vnd.nsq; version=1.0")
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, withoutURL(err)
	}
	defer resp.Body.Close() // its error is of no use after the body was read
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = fmt.Errorf("answer is over %d bytes", maxAnswer)
	}
	return resp.StatusCode, body, err
}

func (c *Client) request(ctx context.Context, endpoint string, values url.Values) (*http.Request, error) {
	if !c.post {
		return http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"?"+values.Encode(), nil)
	}
	body, err := json.Marshal(values)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader(body))
	if err == nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, err
}

// secureEndpoint returns where to ask again after a 403 of a plain-text endpoint: its body names an https port of the same
// host. Empty means nowhere.
func secureEndpoint(endpoint string, body []byte) string {
	var refusal struct {
		HTTPSPort int `json:"https_port"`
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" || json.Unmarshal(body, &refusal) != nil || refusal.HTTPSPort <= 0 {
		return ""
	}
	u.Scheme = "https"
	u.Host = net.JoinHostPort(u.Hostname(), strconv.Itoa(refusal.HTTPSPort))
	return u.String()
}

// withoutURL drops the URL from an error of net/http: it holds the secret.
func withoutURL(err error) error {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		return withURL.Err
	}
	return err
}
