package interop

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
	"brokerd/protocol/prototest"
)

var record = flag.Bool("record", false, "write what NSQ's daemons on PATH answer into testdata/recorded")

// makes are the daemons of one make.
type makes struct{ broker, lookup, admin string }

var (
	ourMake = makes{"brokerd", "lookupd", "admind"}
	nsqMake = makes{"nsqd", "nsqlookupd", "nsqadmin"}
)

// TestRecordedAnswers holds the answers of our daemons, in a scene with a bit of everything, against what NSQ 1.3.0's said in the same
// scene: no field is missing, stands elsewhere, has another type, or another meaning. NSQ's own are held against it too where they are
// on PATH; with -record they write it.
func TestRecordedAnswers(t *testing.T) {
	for _, m := range []makes{nsqMake, ourMake} {
		t.Run(m.broker, func(t *testing.T) {
			for name, got := range scene(t, m) {
				path := filepath.Join("testdata", "recorded", name)
				if *record && m == nsqMake {
					write(t, path, got)
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if !strings.HasSuffix(name, ".json") {
					if string(want) != got {
						t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
					}
					continue
				}
				c := comparison{lists: strings.HasPrefix(name, "nsqadmin")}
				if m == ourMake && name == "nsqadmin/topic.json" {
					c.skip = firstNodes
				}
				c.compare("", parse(t, string(want)), parse(t, got))
				if len(c.wrong) > 0 {
					t.Errorf("%s:\n  %s\ngot %s", name, strings.Join(c.wrong, "\n  "), got)
				}
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// scene sets a lookup, a broker and an admin up, has a client publish and consume, and returns what they answer, by file name.
func scene(t *testing.T, m makes) map[string]string {
	t.Helper()
	lookup := cmdtest.Lookup(t, m.lookup)
	broker := cmdtest.Broker(t, m.broker, []*cmdtest.Process{lookup}, "--e2e-processing-latency-percentile=0.99,0.5", "--node-id=7")
	play(t, broker)
	eventually := func(what string, holds func() bool) {
		t.Helper()
		cmdtest.Eventually(t, what, 20*time.Second, holds)
	}
	eventually("the broker is registered with all that it has", func() bool {
		return strings.Count(ask(t, lookup, "GET", "/nodes", "").body, `"orders"`) == 1 &&
			strings.Count(ask(t, lookup, "GET", "/debug", "").body, `"hostname"`) == 7 // itself, three topics, three channels
	})
	admin := cmdtest.Admin(t, m.admin, "--lookupd-http-address="+lookup.HTTP)
	eventually("the admin knows the topic", func() bool {
		return strings.Contains(ask(t, admin, "GET", "/api/topics/orders/billing", "").body, `"finish_count":1`)
	})
	answers := map[string]string{}
	keep := func(file string, d *cmdtest.Process, path string) {
		t.Helper()
		var got answer
		eventually("GET "+path+" is answered", func() bool { // an admin does not wait for long for a broker that is busy, and says so
			got = ask(t, d, "GET", path, "")
			return got.status == 200 && !strings.Contains(got.body, "WARNING")
		})
		answers[file] = settled(t, got.body)
	}
	keep("nsqd/stats.txt", broker, "/stats")
	keep("nsqd/stats.json", broker, "/stats?format=json")
	keep("nsqd/stats-filtered.json", broker, "/stats?format=json&topic=orders&channel=billing&include_mem=false")
	keep("nsqd/stats-without-clients.json", broker, "/stats?format=json&include_clients=false&include_mem=false")
	keep("nsqd/stats-of-nothing.json", broker, "/stats?format=json&topic=nothing&include_mem=false")
	keep("nsqd/info.json", broker, "/info")
	keep("nsqlookupd/lookup.json", lookup, "/lookup?topic=orders")
	keep("nsqlookupd/nodes.json", lookup, "/nodes")
	keep("nsqlookupd/topics.json", lookup, "/topics")
	keep("nsqlookupd/channels.json", lookup, "/channels?topic=orders")
	keep("nsqlookupd/debug.json", lookup, "/debug")
	keep("nsqlookupd/info.json", lookup, "/info")
	keep("nsqadmin/topics.json", admin, "/api/topics")
	keep("nsqadmin/inactive.json", admin, "/api/topics?inactive=true")
	keep("nsqadmin/topic.json", admin, "/api/topics/orders")
	keep("nsqadmin/channel.json", admin, "/api/topics/orders/billing")
	keep("nsqadmin/nodes.json", admin, "/api/nodes")
	keep("nsqadmin/node.json", admin, "/api/nodes/"+url.PathEscape(broker.HTTP))
	keep("nsqadmin/counter.json", admin, "/api/counter")
	return answers
}

// play has a client publish and consume until every figure of the scene is what it is to be.
func play(t *testing.T, broker *cmdtest.Process) {
	t.Helper()
	broker.Create(t, "orders", "billing")
	broker.Act(t, "/channel/create", "orders", "shipping")
	broker.Create(t, "paused", "all")
	broker.Act(t, "/channel/pause", "paused", "all")
	broker.Act(t, "/topic/pause", "paused", "")
	c := prototest.Dial(t, "tcp", broker.TCP)
	c.Send("IDENTIFY\n" + prototest.Body(`{"client_id":"recorder","hostname":"recorder.example","user_agent":"recorder/1.0"}`))
	c.Expect("OK")
	c.Send(prototest.Mpub("orders", "one", "two", "three", "four", "five") + "SUB orders billing\nRDY 3\n")
	c.Expect("OK")
	c.Expect("OK")
	ids := map[string]string{}
	for range 3 {
		f := c.Next()
		m := f.Message()
		ids[string(m.Body)] = m.ID
	}
	c.Send("RDY 0\nFIN " + ids["one"] + "\nREQ " + ids["two"] + " 3600000\n")
	for range 2 {
		if got := ask(t, broker, "POST", "/pub?topic=waiting", "message"); got.status != 200 {
			t.Fatal(got)
		}
	}
	cmdtest.Eventually(t, "the figures are there", 20*time.Second, func() bool {
		ch := broker.Channel(t, "orders", "billing")
		return ch.Depth == 2 && ch.InFlightCount == 1 && ch.DeferredCount == 1 && broker.Channel(t, "orders", "shipping").Depth == 5
	})
}

// What depends on the moment or the machine, and what it is written as.
var passing = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "127.0.0.1:PORT"},
	{regexp.MustCompile(`(recorder\.example):\d+`), "$1:PORT"},
	{regexp.MustCompile(`(built w/)[^)]+`), "${1}GO"},
	{regexp.MustCompile(`(start_time )\S+`), "${1}TIME"},
	{regexp.MustCompile(`(uptime|connected:) [0-9hmsµn.]+`), "$1 DURATION"},
	{regexp.MustCompile(`(?m)^(   \w+ +)\t\d+$`), "$1\tN"},
	{regexp.MustCompile(`(\d+\.\d)(ns|us|ms|s)\b`), "LATENCY"},
	{regexp.MustCompile(`("(?:start_time|connect_ts|http_port|tcp_port|last_update|connected)":)\d+`), "${1}1"},
	{regexp.MustCompile(`("(?:value|min|max|average)":)[1-9][0-9.e+]*`), "${1}1"},
	{regexp.MustCompile(`("(?:heap_\w+|gc_\w+|next_gc_bytes)":)\d+`), "${1}1"},
}

// settled writes an answer so that it is the same each time: JSON on many lines.
func settled(t *testing.T, body string) string {
	t.Helper()
	for _, p := range passing {
		body = p.pattern.ReplaceAllString(body, p.instead)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	body = strings.ReplaceAll(body, `"hostname":"`+host+`"`, `"hostname":"HOST"`)
	if !strings.HasPrefix(body, "{") {
		return body
	}
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(body), "", "  "); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return b.String() + "\n"
}

// object is a JSON object with its keys in order.
type object struct {
	keys   []string
	fields map[string]any
}

// parse reads JSON into objects, lists of any, and scalars.
func parse(t *testing.T, text string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	v, err := parseValue(d)
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

func parseValue(d *json.Decoder) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		o := object{fields: map[string]any{}}
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := parseValue(d)
			if err != nil {
				return nil, err
			}
			o.keys = append(o.keys, key.(string))
			o.fields[key.(string)] = v
		}
		_, err := d.Token()
		return o, err
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := parseValue(d)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, err
	}
	return token, nil
}

// firstNodes is what nsqadmin takes from the first node for a channel of a topic's sum: the row admin-sums of docs/COMPATIBILITY.md.
var firstNodes = regexp.MustCompile(`^\.channels\[\d+\]\.(node|nodes|hostname|e2e_processing_latency)$`)

// comparison collects what is wrong with an answer.
type comparison struct {
	lists bool           // an empty list may stand where NSQ has null
	skip  *regexp.Regexp // paths that are not compared; nil for none
	wrong []string
}

func (c *comparison) note(path, format string, args ...any) {
	c.wrong = append(c.wrong, path+": "+fmt.Sprintf(format, args...))
}

func (c *comparison) compare(path string, want, got any) {
	if c.skip != nil && c.skip.MatchString(path) {
		return
	}
	switch want := want.(type) {
	case object:
		c.objects(path, want, got)
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			c.note(path, "%v instead of a list of %d", got, len(want))
			return
		}
		want, list = inOrder(want), inOrder(list)
		for i := range want {
			c.compare(fmt.Sprintf("%s[%d]", path, i), want[i], list[i])
		}
	case nil:
		if list, ok := got.([]any); got != nil && !(c.lists && ok && len(list) == 0) {
			c.note(path, "%v instead of null", got)
		}
	default:
		if got != want {
			c.note(path, "%v instead of %v", got, want)
		}
	}
}

// objects demands that each key is there, in the same order. Others may be there besides: what NSQ came to have later, and what is new.
func (c *comparison) objects(path string, want object, got any) {
	o, ok := got.(object)
	if !ok {
		c.note(path, "%v instead of an object", got)
		return
	}
	var common []string
	for _, key := range o.keys {
		if _, ok := want.fields[key]; ok {
			common = append(common, key)
		}
	}
	for _, key := range want.keys {
		if _, ok := o.fields[key]; !ok {
			c.note(path, "there is no %s", key)
			continue
		}
		c.compare(path+"."+key, want.fields[key], o.fields[key])
	}
	if sorted := slices.IsSorted(want.keys); len(common) == len(want.keys) && !sorted && !slices.Equal(common, want.keys) {
		c.note(path, "the keys are in another order: %q", common)
	}
}

// inOrder sorts a list whose order NSQ leaves to chance: by name, where its elements have one.
func inOrder(list []any) []any {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b any) int { return strings.Compare(nameOf(a), nameOf(b)) })
	return list
}

func nameOf(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case object:
		return fmt.Sprint(v.fields["topic_name"], v.fields["channel_name"], v.fields["topic"])
	}
	return ""
}
