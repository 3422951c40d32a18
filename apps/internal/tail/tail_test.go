package tail

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"

	"brokerd/apps/internal/delivery"
)

// answers is the broker's side of messages: what was said about each body, as FIN, REQ or TOUCH.
type answers struct {
	mu  sync.Mutex
	log []string
}

func (a *answers) add(what string, m *nsq.Message) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.log = append(a.log, what+" "+string(m.Body))
}

func (a *answers) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.log, ", ")
}

func (a *answers) OnFinish(m *nsq.Message)                           { a.add("FIN", m) }
func (a *answers) OnRequeue(m *nsq.Message, _ time.Duration, _ bool) { a.add("REQ", m) }
func (a *answers) OnTouch(m *nsq.Message)                            { a.add("TOUCH", m) }
func (a *answers) message(body string) *nsq.Message {
	m := nsq.NewMessage(nsq.MessageID{'0', '1'}, []byte(body))
	m.Delegate = a
	return m
}

func newPrinter(out *bytes.Buffer, f format, total int) *printer {
	return &printer{
		out: out, format: f, endless: total == 0, left: total,
		hands: delivery.NewHands(0), queue: delivery.NewQueue[line](),
	}
}

// TestPrintEndsAfterExactlySoMany covers --n: those printed are finished, in order, and the others given back.
func TestPrintEndsAfterExactlySoMany(t *testing.T) {
	var out bytes.Buffer
	var a answers
	p := newPrinter(&out, format{printTopic: true, delimiter: "\n"}, 3)
	for i := range 5 {
		if err := p.handler("t")(a.message(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	p.print()
	p.close()
	if err := p.handler("t")(a.message("late")); err != nil {
		t.Fatal(err)
	}
	if out.String() != "t | 0\nt | 1\nt | 2\n" {
		t.Errorf("printed %q", out.String())
	}
	if a.String() != "FIN 0, FIN 1, FIN 2, REQ 3, REQ 4, REQ late" {
		t.Errorf("answered %s", a.String())
	}
	if n := p.hands.Len(); n != 0 {
		t.Errorf("%d messages are still held", n)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// TestWhatCannotBeWrittenIsGivenBack: nothing is finished that nobody saw.
func TestWhatCannotBeWrittenIsGivenBack(t *testing.T) {
	var a answers
	p := newPrinter(nil, format{delimiter: "\n"}, 0)
	p.out = brokenPipe{}
	if err := p.handler("t")(a.message("x")); err != nil {
		t.Fatal(err)
	}
	p.print()
	p.close()
	if p.err == nil || a.String() != "REQ x" {
		t.Errorf("answered %s, error %v", a.String(), p.err)
	}
}

func TestDelimiter(t *testing.T) {
	for text, want := range map[string]string{`\n`: "\n", `\x00`: "\x00", "": "", ` --"-- `: ` --"-- `, "ä": "ä"} {
		if got, err := parseDelimiter(text); err != nil || got != want {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
	if _, err := parseDelimiter(`\q`); err == nil || !strings.Contains(err.Error(), "--delimiter") {
		t.Errorf("got %v", err)
	}
	var a answers
	f := format{delimiter: "\x00"}
	if got := f.appendTo(nil, "t", a.message("two\nlines")); string(got) != "two\nlines\x00" {
		t.Errorf("got %q", got)
	}
}

func TestJSON(t *testing.T) {
	var a answers
	f := format{json: true, delimiter: "ignored"}
	m := a.message("he said \"hi\"\n")
	m.Timestamp, m.Attempts, m.NSQDAddress = 1700000000000000000, 2, "127.0.0.1:4150"
	want := `{"topic":"t","nsqd":"127.0.0.1:4150","id":"01` + strings.Repeat(`\u0000`, 14) +
		`","timestamp":1700000000000000000,"attempts":2,"body":"he said \"hi\"\n"}` + "\n"
	if got := string(f.appendTo(nil, "t", m)); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	var decoded map[string]any
	if err := json.Unmarshal(f.appendTo(nil, "t", a.message("\xff\x00")), &decoded); err != nil || decoded["body_base64"] != "/wA=" {
		t.Errorf("a binary body became %v, %v", decoded, err)
	}
}
