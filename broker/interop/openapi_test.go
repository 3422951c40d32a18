package interop

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
)

// spec is what is read of an OpenAPI file.
type spec struct {
	Paths      map[string]map[string]operation
	Components struct{ Schemas map[string]schema }
}

type operation struct {
	Parameters []struct{ Name, In string }
	Responses  map[string]struct {
		Content map[string]struct{ Schema schema }
	}
}

type schema struct {
	Ref                  string `json:"$ref"`
	Type                 any    // a word, or a list of them
	Properties           map[string]schema
	Required             []string
	Items                *schema
	AdditionalProperties *schema
}

// TestAnswersAreAsOpenAPISays asks running daemons everything that can be read, with a topic, a channel, a consumer and a producer there, and
// holds each answer to docs/openapi: no field that is not told of, none missing, each of its kind.
func TestAnswersAreAsOpenAPISays(t *testing.T) {
	t.Parallel()
	lookup := cmdtest.Lookup(t, "lookupd")
	peers := []string{cmdtest.FreeAddress(t), cmdtest.FreeAddress(t), cmdtest.FreeAddress(t)} // of a cluster whose two other brokers never come
	broker := cmdtest.Broker(t, "brokerd", []*cmdtest.Process{lookup}, "--durability=disk", "--topic-options="+topic+" retain_time=1h",
		"--cluster-name=shop", "--cluster-listen="+peers[0], "--cluster-peers="+strings.Join(peers, ","))
	cmdtest.Eventually(t, "the others were asked whether there is a cluster", 20*time.Second, func() bool {
		return ask(t, broker, "POST", "/topic/create?topic="+topic, "").status == 200
	})
	broker.Create(t, topic, channel)
	broker.Publish(t, topic, "one")
	consumer := consume(t, topic, channel, newInbox())
	if err := consumer.ConnectToNSQD(broker.TCP); err != nil {
		t.Fatal(err)
	}
	cmdtest.Eventually(t, "the lookup knows the topic", 20*time.Second, func() bool {
		return ask(t, lookup, "GET", "/lookup?topic="+topic, "").status == 200
	})
	admin := cmdtest.Admin(t, "admind", "--lookupd-http-address="+lookup.HTTP)
	arguments := map[string]string{"topic": topic, "channel": channel, "format": "json", "opt": "log_level", "node": broker.HTTP, "view": "overview", "of": "total", "q": "o", "state": "deferred", "pos": "1", "position": "1",
		"action": "rewind", "to": "beginning"}
	for name, daemon := range map[string]*cmdtest.Process{"brokerd": broker, "lookupd": lookup, "admind": admin} {
		text, err := os.ReadFile("../../docs/openapi/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var api spec
		if err := json.Unmarshal(text, &api); err != nil {
			t.Fatal(err)
		}
		for path, operations := range api.Paths {
			op, readable := operations["get"]
			content, isJSON := op.Responses["200"].Content["application/json"]
			if !readable || !isJSON || path == "/api/graphite" || path == "/topic/messages" { // there is no Graphite, and no dead letter
				continue
			}
			var answer answer
			cmdtest.Eventually(t, name+" GET "+path+" is answered", 0, func() bool { // admind waits a second for a broker
				answer = ask(t, daemon, "GET", op.address(path, arguments), "")
				return answer.status != http.StatusBadGateway
			})
			if answer.status != 200 {
				t.Errorf("%s GET %s: %d %s", name, path, answer.status, answer.body)
				continue
			}
			var value any
			if err := json.Unmarshal([]byte(answer.body), &value); err != nil {
				t.Errorf("%s GET %s: %v: %s", name, path, err, answer.body)
				continue
			}
			for _, wrong := range api.differs(content.Schema, value, "") {
				t.Errorf("%s GET %s: %s", name, path, wrong)
			}
		}
	}
}

// address fills in what varies of a path, and its query.
func (op operation) address(path string, arguments map[string]string) string {
	query := url.Values{}
	for _, p := range op.Parameters {
		switch value, ok := arguments[p.Name]; {
		case p.In == "path":
			path = strings.ReplaceAll(path, "{"+p.Name+"}", url.PathEscape(value))
		case ok:
			query.Set(p.Name, value)
		}
	}
	return path + "?" + query.Encode()
}

// differs says in what a value is not as a schema tells.
func (api spec) differs(s schema, value any, at string) []string {
	if s.Ref != "" {
		s = api.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
	}
	if s.Type == nil {
		return nil // anything
	}
	kind := kindOf(value)
	if !slices.Contains(kindsOf(s.Type), kind) && !(kind == "integer" && slices.Contains(kindsOf(s.Type), "number")) && kind != "null" {
		return []string{fmt.Sprintf("%s is %s, not %v", at, kind, s.Type)}
	}
	var wrong []string
	switch v := value.(type) {
	case []any:
		for i, item := range v {
			wrong = append(wrong, api.differs(*s.Items, item, fmt.Sprintf("%s[%d]", at, i))...)
		}
	case map[string]any:
		for name, item := range v {
			told, ok := s.Properties[name]
			if s.AdditionalProperties != nil {
				told, ok = *s.AdditionalProperties, true
			}
			if !ok {
				wrong = append(wrong, fmt.Sprintf("%s.%s is not told of", at, name))
				continue
			}
			wrong = append(wrong, api.differs(told, item, at+"."+name)...)
		}
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				wrong = append(wrong, fmt.Sprintf("%s.%s is missing", at, name))
			}
		}
	}
	return wrong
}

func kindOf(value any) string {
	switch v := value.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case []any:
		return "array"
	case float64:
		if v == float64(int64(v)) {
			return "integer"
		}
		return "number"
	}
	return "object"
}

func kindsOf(kinds any) []string {
	if word, ok := kinds.(string); ok {
		return []string{word}
	}
	var words []string
	for _, word := range kinds.([]any) {
		words = append(words, word.(string))
	}
	return words
}
