package brokerctl

import (
	"encoding/json"
	"strings"
	"testing"

	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
)

// TestPeek: messages of a topic and of a channel are shown, JSON laid out, and stay where they are.
func TestPeek(t *testing.T) {
	b := cmdtest.Broker(t, "brokerd", nil)
	at := "--nsqd-http-address=" + b.HTTP
	if got := ctl(t, 0, "channel", "create", "orders", "billing", at, "--dry-run"); strings.Count(got, "POST ") != 2 {
		t.Errorf("would make topic and channel by %s", got)
	}
	if got := ctl(t, 0, "channel", "create", "orders", "billing", at); got != b.HTTP+"  ok\n" {
		t.Errorf("making both says %s", got)
	}
	ctl(t, 0, "pub", "orders", `{"id":7,"list":[1]}`, "plain invoice-7", "--nsqd-tcp-address="+b.TCP)
	got := ctl(t, 0, "peek", "orders", at)
	for _, want := range []string{"\n    {\n      \"id\": 7,\n", "plain invoice-7", "  1  ", "15 bytes"} {
		if !strings.Contains(got, want) {
			t.Errorf("peek has no %q:\n%s", want, got)
		}
	}
	var rows []peekRow
	if err := json.Unmarshal([]byte(ctl(t, 0, "peek", "orders/billing", "--contains=invoice", "--json", at)), &rows); err != nil || len(rows) != 1 ||
		rows[0].Position != 2 || *rows[0].Body != "plain invoice-7" {
		t.Errorf("%+v, %v", rows, err)
	}
	if got := ctl(t, 0, "peek", "orders", "--from=pos:2", "--limit=1", at); strings.Contains(got, "id") && strings.Contains(got, `"id"`) {
		t.Errorf("from position 2: %s", got)
	}
	if c := b.Channel(t, "orders", "billing"); c.Depth != 2 {
		t.Errorf("channel: %+v", c)
	}
	for _, wrong := range []struct {
		args, says string
		code       int
	}{
		{"peek none", "nobody knows the topic none", 3},
		{"peek orders/none", "nobody knows the channel none of the topic orders", 3},
		{"peek orders --state=deferred", "--state is of a channel", 2},
		{"peek orders/billing --state=deferred -f", "-f goes on with what comes", 2},
		{"peek orders --limit=0", "--limit must be 1 or more", 2},
		{"peek orders --from=tomorrow", "INVALID_PLACE", 1},
	} {
		if got := ctl(t, wrong.code, append(strings.Fields(wrong.args), at)...); !strings.Contains(got, wrong.says) {
			t.Errorf("%s: %s", wrong.args, got)
		}
	}
}

// TestPeekFollowsThroughAnOutage: with -f a broker that does not answer is told of, once, as is that it answers again, with what came meanwhile; and when nobody has
// the topic any more the tool ends.
func TestPeekFollowsThroughAnOutage(t *testing.T) {
	b := cmdtest.Broker(t, "brokerd", nil)
	at := "--nsqd-http-address=" + b.HTTP
	b.Create(t, "orders", "billing")
	p := cmdtest.Tool(t, "brokerctl", "peek", "orders", "-f", "--from=beginning", at)
	seen := func(text string) {
		t.Helper()
		cmdtest.Eventually(t, "it shows "+text, 0, func() bool { return strings.Contains(p.Output(t), text) })
	}
	told := func(text string) {
		t.Helper()
		cmdtest.Eventually(t, "it says "+text, 0, func() bool { return strings.Contains(p.LastWords(), text) })
	}
	b.Publish(t, "orders", "the first")
	seen("the first")
	b.Kill(t)
	told("without " + b.HTTP + ": ")
	b.Start(t)
	told(b.HTTP + ": answers again")
	b.Publish(t, "orders", "the second")
	seen("the second")
	if got := p.Output(t); strings.Count(got, "the first") != 1 {
		t.Errorf("what was shown is shown again:\n%s", got)
	}
	b.Act(t, "/topic/delete", "orders", "")
	if code := p.Wait(t, 0); code != 3 || !strings.Contains(p.LastWords(), "nobody knows the topic orders any more") {
		t.Errorf("exit code %d: %s", code, p.LastWords())
	}
}

// TestBodyText: what a terminal would obey is not printed, and what is no text is hex.
func TestBodyText(t *testing.T) {
	text := func(s string) *httpapi.Message { return &httpapi.Message{Body: &s} }
	for _, c := range []struct {
		message *httpapi.Message
		want    string
	}{
		{text("plain\ttext\n"), "plain\ttext\n"},
		{text("\x1b[31mred\x07\u202e"), "\ufffd[31mred\ufffd\ufffd"},
		{text(`{"a":"\u001b[31m"}`), "{\n  \"a\": \"\\u001b[31m\"\n}"},
		{text("{broken"), "{broken"},
		{&httpapi.Message{BodyBase64: []byte("\xff1")}, "00000000  ff 31                                             |.1|\n"},
		{&httpapi.Message{}, ""},
	} {
		if got := bodyText(c.message); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// TestABodyOfBracketsIsPrintedAsItIs: laid out some KiB of them would be hundreds of MiB; what people write is laid out.
func TestABodyOfBracketsIsPrintedAsItIs(t *testing.T) {
	for body, most := range map[string]int{
		strings.Repeat("[", 8000) + strings.Repeat("]", 8000):                 16000,
		strings.Repeat(`{"a":[`, 5000) + "1" + strings.Repeat("]}", 5000):     40001,
		strings.Repeat("[", 20) + strings.Repeat("]", 20):                     2000,
		"[" + strings.Repeat(`{"id":7,"of":[1,2]},`, 1000) + `"\"]]]]"` + "]": 200_000,
	} {
		got := bodyText(&httpapi.Message{Body: &body})
		if len(got) > most {
			t.Errorf("%.20q, %d bytes, is printed as %d bytes", body, len(body), len(got))
		}
		if laid := strings.Contains(got, "\n"); laid == (most == len(body)) {
			t.Errorf("%.20q is laid out: %v", body, laid)
		}
	}
}
