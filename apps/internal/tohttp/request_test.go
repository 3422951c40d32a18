package tohttp

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/cmd/cmdtest"
)

// TestParseHeaders is the list of NSQ's own test.
func TestParseHeaders(t *testing.T) {
	for _, good := range []string{"key: value", "key:value", " key :  value "} {
		if h, err := parseHeaders([]string{good}); err != nil || h.Get("key") != "value" {
			t.Errorf("%q: got %v, %v", good, h, err)
		}
	}
	if h, err := parseHeaders([]string{"Authorization: Basic a:b"}); err != nil || h.Get("Authorization") != "Basic a:b" {
		t.Errorf("got %v, %v", h, err)
	}
	for _, bad := range []string{"key:", ": value", ":", "key", ""} {
		if h, err := parseHeaders([]string{"good: one", bad}); err == nil || h != nil {
			t.Errorf("%q: got %v, %v", bad, h, err)
		}
	}
}

func TestParseCodes(t *testing.T) {
	codes, err := parseCodes([]string{"400,410-412", "500"})
	if err != nil {
		t.Fatal(err)
	}
	for code, want := range map[int]bool{400: true, 401: false, 410: true, 411: true, 412: true, 413: false, 500: true} {
		if codes[code] != want {
			t.Errorf("%d: %v", code, codes[code])
		}
	}
	for _, bad := range []string{"", "200", "410-400", "x", "400-", "600", "400,,401"} {
		if _, err := parseCodes([]string{bad}); err == nil || !strings.Contains(err.Error(), "--finish-status") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "-5": 0, "99999999999999999999": 0, "9999999999": time.Hour, "86400": time.Hour, "soon": 0,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute, "Fri, 02 Jan 2026 03:03:05 GMT": 0,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestCheckGET(t *testing.T) {
	for _, good := range []string{"http://a/?m=%s", "https://a:1/%s/b", "http://a/?x=%20&m=%s"} {
		if err := checkGET(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"http://a/", "http://a/%s%s", "a/%s", "ftp://a/%s"} {
		if checkGET(bad) == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	if err := checkGET("http://a/"); !strings.Contains(err.Error(), "invalid GET address - must be a printf string") {
		t.Errorf("not in NSQ's words: %v", err)
	}
}

// TestRequests covers what goes to a target: method, body or escaped body, and headers, the user's own last.
func TestRequests(t *testing.T) {
	m := nsq.NewMessage(nsq.MessageID{'7'}, []byte("a b&c=%s\n"))
	m.Attempts, m.Timestamp = 3, 12345
	r := requester{method: http.MethodPost, urls: []string{"http://a/x?y=%20"}, topic: "t", channel: "c",
		header: http.Header{"User-Agent": {"u"}, "Host": {"other"}, "Content-Type": {"text/plain"}}}
	req, err := r.request(t.Context(), 0, m)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil || string(body) != string(m.Body) || req.URL.String() != "http://a/x?y=%20" || req.Host != "other" {
		t.Errorf("posted %q to %s of %s, %v", body, req.URL, req.Host, err)
	}
	if req.Header.Get("Content-Type") != "text/plain" || req.Header.Get("X-Nsq-Topic") != "" {
		t.Errorf("headers %v", req.Header)
	}
	r.details = true
	r.method, r.urls = http.MethodGet, []string{"http://a/x?y=%20&m=%s"}
	if req, err = r.request(t.Context(), 0, m); err != nil {
		t.Fatal(err)
	}
	if req.URL.Query().Get("m") != string(m.Body) || req.URL.Query().Get("y") != " " || req.Body != nil {
		t.Errorf("asked for %s", req.URL)
	}
	for key, want := range map[string]string{"Topic": "t", "Channel": "c", "Timestamp": "12345", "Attempts": "3"} {
		if got := req.Header.Get("X-Nsq-" + key); got != want {
			t.Errorf("X-Nsq-%s: %q", key, got)
		}
	}
}

// TestAnswers covers what each kind of answer means for a message.
func TestAnswers(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		code, err := strconv.Atoi(strings.TrimPrefix(req.URL.Path, "/"))
		if err != nil {
			return // 200
		}
		w.Header().Set("Retry-After", "3")
		if code/100 == 3 {
			http.Redirect(w, req, "/arrived", code)
			return
		}
		w.WriteHeader(code)
	}))
	t.Cleanup(target.Close)
	o := &options{workers: 1, http: newHTTPFlags(cmdtest.Patience)}
	r := requester{client: o.client(&plan{}), fine: map[int]bool{410: true}, header: http.Header{}}
	t.Cleanup(r.client.CloseIdleConnections)
	for _, test := range []struct {
		method, path string
		want         outcome
	}{
		{"POST", "/200", taken}, {"POST", "/201", taken}, {"POST", "/204", taken}, {"GET", "/204", taken},
		{"POST", "/301", failed}, {"POST", "/302", failed}, {"POST", "/303", failed}, // the message would stay behind
		{"POST", "/307", taken}, {"POST", "/308", taken}, {"GET", "/301", taken},
		{"POST", "/400", refused}, {"POST", "/404", refused}, {"POST", "/410", waived}, {"POST", "/408", failed},
		{"POST", "/429", failed}, {"POST", "/500", failed}, {"POST", "/503", failed},
	} {
		r.method, r.urls = test.method, []string{target.URL + test.path}
		what, err := r.send(t.Context(), 0, nsq.NewMessage(nsq.MessageID{}, []byte("x")))
		if what != test.want || (err == nil) != (what == taken) {
			t.Errorf("%s %s: outcome %v, %v", test.method, test.path, what, err)
		}
		var status *statusError
		if errors.As(err, &status) && test.path != "/301" && status.code >= 400 && status.after != 3*time.Second {
			t.Errorf("%s: asks to wait for %v", test.path, status.after)
		}
	}
	r.urls = []string{"http://127.0.0.1:1/"}
	if what, err := r.send(t.Context(), 0, nsq.NewMessage(nsq.MessageID{}, []byte("x"))); what != failed || err == nil {
		t.Errorf("nobody there: outcome %v, %v", what, err)
	}
}

// TestHangingTargetIsLeft: after the timeout the message is as good as not taken.
func TestHangingTargetIsLeft(t *testing.T) {
	release := make(chan struct{})
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(target.Close)
	t.Cleanup(func() { close(release) })
	o := &options{workers: 1, http: newHTTPFlags(50 * time.Millisecond)}
	r := requester{client: o.client(&plan{}), method: http.MethodPost, urls: []string{target.URL}, header: http.Header{}}
	t.Cleanup(r.client.CloseIdleConnections)
	what, err := r.send(context.Background(), 0, nsq.NewMessage(nsq.MessageID{}, []byte("x")))
	var timeout *url.Error
	if what != failed || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("outcome %v, %v", what, err)
	}
}

// FuzzParsers: no text makes a parser fail, and what they accept is within what they promise.
func FuzzParsers(f *testing.F) {
	for _, seed := range []string{"400,410-418", "k: v", "120", "Fri, 02 Jan 2026 03:05:05 GMT", "http://a/?m=%s", "-1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if codes, err := parseCodes([]string{text}); err == nil {
			for code := range codes {
				if code < 300 || code > 599 {
					t.Errorf("%q gives %d", text, code)
				}
			}
		}
		if header, err := parseHeaders([]string{text}); err == nil {
			for key, values := range header {
				if key == "" || len(values) != 1 || values[0] != strings.TrimSpace(values[0]) || values[0] == "" {
					t.Errorf("%q gives %q", text, header)
				}
			}
		}
		if d := retryAfter(text, time.Unix(1e9, 0)); d < 0 || d > time.Hour {
			t.Errorf("%q gives %v", text, d)
		}
		if checkGET(text) == nil && strings.Count(text, "%s") != 1 {
			t.Errorf("%q is no address of a GET", text)
		}
	})
}
