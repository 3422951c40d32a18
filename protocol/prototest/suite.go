package prototest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Target is a broker that is judged.
type Target struct {
	Transport
	// Files are the script files that are played; nil means Default, which suits a broker with NSQ's default options. The
	// others say in their first lines how the broker must be set up.
	Files []string
	// HTTP is the base URL of the broker's HTTP API, which scripts with such steps need, and by which the topics of the suite
	// are deleted; empty leaves them.
	HTTP string
	// NSQ says that the broker is nsqd as released, 1.3.0: steps that are brokerd's alone are left out, and its answer to
	// IDENTIFY has no topology fields.
	NSQ bool
}

// Default lists the script files for a broker with NSQ's default options.
func Default() []string {
	return []string{"connection.txt", "identify.txt", "subscribe.txt", "publish.txt", "answer.txt", "auth_off.txt"}
}

// HTTP lists the script files that talk to the HTTP API too, of a broker with NSQ's default options.
func HTTP() []string {
	return []string{"http.txt", "http_publish.txt", "stats.txt"}
}

// Run plays each case of the target's script files as a subtest.
func Run(t *testing.T, target Target) {
	names := target.Files
	if names == nil {
		names = Default()
	}
	for _, name := range names {
		for _, s := range load(t, name) {
			if s.plain && target.upgraded() || s.bare && target.upgraded() {
				continue
			}
			t.Run(strings.TrimSuffix(name, ".txt")+"/"+s.name, func(t *testing.T) {
				t.Parallel()
				play(t, &target, s)
			})
		}
	}
}

func load(t *testing.T, name string) []script {
	t.Helper()
	text, err := files.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	list, err := parseScripts(string(text))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return list
}

// player is the state of a case.
type player struct {
	t      *testing.T
	target *Target
	bare   bool
	conns  map[string]*Client
	cur    *Client
	words  map[string]string
	probe  string // topic of "alive"
	last   answer // of HTTP
}

func play(t *testing.T, target *Target, s script) {
	p := &player{t: t, target: target, bare: s.bare, conns: map[string]*Client{}, words: map[string]string{}}
	unique := "prototest." + randomHex()
	p.words["topic"], p.words["topic2"], p.probe = unique+".a", unique+".b", unique+".p#ephemeral"
	if target.HTTP != "" {
		t.Cleanup(p.deleteTopics)
	}
	p.connect("first")
	for _, st := range s.steps {
		if st.only != "" && (st.only == "nsqd") != target.NSQ {
			continue
		}
		p.step(st)
		if t.Failed() {
			t.Fatalf("at line %d: %s %s", st.line, st.verb, st.text)
		}
	}
}

func randomHex() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

func (p *player) connect(name string) {
	if c, ok := p.conns[name]; ok {
		p.cur = c
		return
	}
	if p.bare {
		conn, err := net.DialTimeout(p.target.Network, p.target.Address, defaultTimeout)
		if err != nil {
			p.t.Fatal(err)
		}
		p.cur = NewClient(p.t, conn)
	} else {
		p.cur = p.target.Connect(p.t)
	}
	p.conns[name] = p.cur
}

// send sends to a broker that may have refused what was sent before and closed already: then what it said is judged, not this.
func (p *player) send(text string) {
	p.t.Helper()
	if err := p.cur.Write(text); err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		p.t.Fatalf("sending %.80q: %v", text, err)
	}
}

// step plays one line. A failure ends the test at once; the deferred note says at which line.
func (p *player) step(st step) {
	p.t.Helper()
	defer func() {
		if p.t.Failed() {
			p.t.Logf("at line %d: %s %s", st.line, st.verb, st.text)
		}
	}()
	text, err := expand(st.text, p.words)
	if err != nil {
		p.t.Fatal(err)
	}
	switch st.verb {
	case ">":
		p.send(text)
	case ">+":
		p.send(Body(text))
	case "eof":
		p.cur.CloseWrite()
	case "<":
		p.cur.Expect(text)
	case "<!":
		p.cur.ExpectError(text)
	case "<m":
		p.message(text)
	case "<raw":
		p.cur.expectRaw(text)
	case "<file":
		p.file(text)
	case "<json":
		p.cur.expectJSON()
	case "closed":
		p.cur.ExpectClosed()
	case "alive":
		p.cur.Send(Pub(p.probe, "x"))
		p.cur.Expect("OK")
	case "conn":
		p.connect(text)
	case "http":
		p.http(text)
	case "=":
		p.answered(text)
	case "=header":
		p.header(text)
	case "await":
		p.await(text)
	}
}

func (p *player) message(text string) {
	p.t.Helper()
	number, body, _ := strings.Cut(text, " ")
	attempts, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		p.t.Fatal(err)
	}
	p.words["id"] = p.cur.ExpectMessage(body, uint16(attempts)).ID
}

// file compares the next response with a file, byte for byte.
func (p *player) file(name string) {
	p.t.Helper()
	want, err := files.ReadFile("testdata/" + name)
	if err != nil {
		p.t.Fatal(err)
	}
	f := p.cur.Next()
	got, wanted := string(f.Payload), strings.TrimSuffix(string(want), "\n")
	if p.target.NSQ {
		wanted = strings.Replace(wanted, `,"topology_region":"","topology_zone":""`, "", 1)
	}
	if f.Type != Response || got != wanted {
		p.t.Fatalf("got %s\nwant %s", got, wanted)
	}
	if !json.Valid(f.Payload) {
		p.t.Fatal("that is not JSON")
	}
}

func (p *player) deleteTopics() {
	for _, topic := range []string{p.words["topic"], p.words["topic2"], p.probe} {
		address := fmt.Sprintf("%s/topic/delete?topic=%s", p.target.HTTP, url.QueryEscape(topic))
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, address, nil)
		if err != nil {
			p.t.Error(err)
			return
		}
		req.Close = true
		answer, err := http.DefaultClient.Do(req)
		if err != nil {
			p.t.Error(err)
			return
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusNotFound {
			p.t.Errorf("deleting topic %s: %s", topic, answer.Status)
		}
	}
}
