package prototest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// answer is what the HTTP API said.
type answer struct {
	status int
	header http.Header
	body   string
}

// client asks the HTTP API. It keeps no connection, so that none outlives a test, and follows no redirect.
var client = &http.Client{
	Transport: &http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: defaultTimeout}, Timeout: defaultTimeout,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// largeBody is more bytes than a socket takes in before they are read.
const largeBody = 64 << 10

// http sends one request: METHOD PATH, and behind a space the body.
func (p *player) http(text string) {
	p.t.Helper()
	if p.target.HTTP == "" {
		p.t.Fatal("the script talks to an HTTP API, and the target has none")
	}
	method, rest, _ := strings.Cut(text, " ")
	path, body, _ := strings.Cut(rest, " ")
	p.last = p.ask(method, path, body)
}

func (p *player) ask(method, path, body string) answer {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.target.HTTP+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	if len(body) > largeBody {
		req.Header.Set("Expect", "100-continue") // who refuses it closes without reading, and sending would fail
	}
	resp, err := client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(said)}
}

// answered demands a status and the whole body of the last answer. Without a body behind the status there must be none.
func (p *player) answered(text string) {
	p.t.Helper()
	status, body, _ := strings.Cut(text, " ")
	if strconv.Itoa(p.last.status) != status || p.last.body != body {
		p.t.Fatalf("got %d %.300q, want %s %q", p.last.status, p.last.body, status, body)
	}
}

// header demands a header of the last answer, "NAME: VALUE", or that it has none, "NAME:".
func (p *player) header(text string) {
	p.t.Helper()
	name, want, _ := strings.Cut(text, ":")
	if got := p.last.header.Get(name); got != strings.TrimSpace(want) {
		p.t.Fatalf("header %s is %q, want %q", name, got, strings.TrimSpace(want))
	}
}

// await asks PATH until all of KEY=JSON behind it hold in the answer, for some seconds: what happens on a connection shows in
// the statistics a moment later.
func (p *player) await(text string) {
	p.t.Helper()
	words := strings.Fields(text)
	deadline := time.Now().Add(defaultTimeout)
	for {
		got := p.ask(http.MethodGet, words[0], "")
		err := hold(got.body, words[1:])
		if err == nil {
			p.last = got
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%v in %.2000s", err, got.body)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// hold returns an error for the first of the conditions that does not hold in a JSON text.
func hold(text string, conditions []string) error {
	for _, c := range conditions {
		key, want, ok := strings.Cut(c, "=")
		if !ok {
			return fmt.Errorf("%q is no condition", c)
		}
		got, err := field([]byte(text), strings.Split(key, "."))
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if got != want {
			return fmt.Errorf("%s is %s, want %s", key, got, want)
		}
	}
	return nil
}

// field returns the JSON text of a field, "none" when there is no such key; a number names an element of a list, "#" its length.
func field(text []byte, path []string) (string, error) {
	if len(path) == 0 {
		var b bytes.Buffer
		if err := json.Compact(&b, text); err != nil {
			return "", err
		}
		return b.String(), nil
	}
	if path[0] == "#" || path[0][0] >= '0' && path[0][0] <= '9' {
		var list []json.RawMessage
		if err := json.Unmarshal(text, &list); err != nil {
			return "", err
		}
		if path[0] == "#" {
			return strconv.Itoa(len(list)), nil
		}
		i, err := strconv.Atoi(path[0])
		if err != nil || i >= len(list) {
			return "none", err
		}
		return field(list[i], path[1:])
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil {
		return "", err
	}
	inner, ok := object[path[0]]
	if !ok {
		return "none", nil
	}
	return field(inner, path[1:])
}
