package tohttp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nsqio/go-nsq"
)

// maxDrained is how many bytes of an answer are read, so that its connection can be used again.
const maxDrained = 1 << 20

// requester makes requests of messages. It is safe for concurrent use.
type requester struct {
	client  *http.Client
	method  string   // POST or GET
	urls    []string // for GET each has one %s
	header  http.Header
	topic   string
	channel string
	details bool         // whether to tell of the message in headers
	fine    map[int]bool // codes other than 2xx after which a message is done all the same
}

// outcome is what became of a request.
type outcome int

const (
	taken   outcome = iota // the target has it
	waived                 // the target refused it, with a code after which it counts as done
	refused                // the target works but does not want this message
	failed                 // no answer, or one that says that the target cannot at the moment
)

// statusError is an answer that is no success.
type statusError struct {
	code  int
	after time.Duration // that it asks to wait; 0 when it does not
}

// Error names the status.
func (e *statusError) Error() string {
	return fmt.Sprintf("got status code %d %s", e.code, http.StatusText(e.code))
}

// send makes a request of m to a target. The error says what was wrong unless the outcome is taken.
func (r *requester) send(ctx context.Context, target int, m *nsq.Message) (outcome, error) {
	req, err := r.request(ctx, target, m)
	if err != nil {
		return refused, err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return failed, err
	}
	_, err = io.CopyN(io.Discard, resp.Body, maxDrained)
	resp.Body.Close()
	if err != nil && !errors.Is(err, io.EOF) {
		return failed, fmt.Errorf("reading the answer: %w", err)
	}
	return r.judge(resp)
}

// judge says what an answer means for the message.
func (r *requester) judge(resp *http.Response) (outcome, error) {
	code := resp.StatusCode
	if code >= 200 && code < 300 {
		return taken, nil
	}
	err := &statusError{code: code, after: retryAfter(resp.Header.Get("Retry-After"), time.Now())}
	switch {
	case r.fine[code]:
		return waived, err
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests:
		return failed, err
	case code >= 400 && code < 500:
		return refused, err
	}
	return failed, err
}

func (r *requester) request(ctx context.Context, target int, m *nsq.Message) (*http.Request, error) {
	address, body := r.urls[target], io.Reader(bytes.NewReader(m.Body))
	if r.method == http.MethodGet {
		address, body = strings.Replace(address, placeholder, url.QueryEscape(string(m.Body)), 1), nil
	}
	req, err := http.NewRequestWithContext(ctx, r.method, address, body)
	if err != nil {
		return nil, err
	}
	req.Header = r.header.Clone()
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	if r.details {
		req.Header.Set("X-Nsq-Topic", r.topic)
		req.Header.Set("X-Nsq-Channel", r.channel)
		req.Header.Set("X-Nsq-Message-Id", string(m.ID[:]))
		req.Header.Set("X-Nsq-Timestamp", strconv.FormatInt(m.Timestamp, 10))
		req.Header.Set("X-Nsq-Attempts", strconv.Itoa(int(m.Attempts)))
	}
	return req, nil
}

// placeholder stands for the message in the URL of a GET.
const placeholder = "%s"

// checkGET says what is wrong with the URL of a GET.
func checkGET(address string) error {
	if strings.Count(address, placeholder) != 1 {
		return fmt.Errorf("invalid GET address - must be a printf string: %q needs exactly one %%s", address)
	}
	return checkURL(strings.Replace(address, placeholder, "x", 1))
}

func checkURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return err
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return fmt.Errorf("%q is no http or https URL", address)
	}
	return nil
}

// parseHeaders reads "Key: Value" lines, split at the first colon, both sides trimmed.
func parseHeaders(lines []string) (http.Header, error) {
	header := make(http.Header)
	for _, line := range lines {
		key, value, ok := strings.Cut(line, ":")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if !ok || key == "" || value == "" {
			return nil, fmt.Errorf("--header must be 'Key: Value', not %q", line)
		}
		header.Set(textproto.CanonicalMIMEHeaderKey(key), value)
	}
	return header, nil
}

// parseCodes reads status codes and ranges of them, such as 400 and 410-418.
func parseCodes(texts []string) (map[int]bool, error) {
	codes := make(map[int]bool)
	for _, list := range texts {
		for text := range strings.SplitSeq(list, ",") {
			from, to, isRange := strings.Cut(strings.TrimSpace(text), "-")
			first, err := strconv.Atoi(from)
			last := first
			if err == nil && isRange {
				last, err = strconv.Atoi(to)
			}
			if err != nil || first < 300 || last > 599 || first > last {
				return nil, fmt.Errorf("--finish-status must be codes or ranges from 300 to 599 such as 400,410-418, not %q", list)
			}
			for code := first; code <= last; code++ {
				codes[code] = true
			}
		}
	}
	return codes, nil
}

// retryAfter reads the header of that name: seconds or a date. 0 means that it says nothing.
func retryAfter(text string, now time.Time) time.Duration {
	const longest = time.Hour // nsqd's --max-req-timeout
	if seconds, err := strconv.Atoi(text); err == nil {
		return min(max(time.Duration(min(seconds, 3600))*time.Second, 0), longest)
	}
	if date, err := http.ParseTime(text); err == nil {
		return min(max(date.Sub(now), 0), longest)
	}
	return 0
}
