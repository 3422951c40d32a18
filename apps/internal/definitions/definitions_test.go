package definitions

import (
	"strings"
	"testing"
)

// TestDefinitionsThatAreNone are told in one line, before any daemon is changed.
func TestDefinitionsThatAreNone(t *testing.T) {
	for text, want := range map[string]string{
		"topic = 1":                       "topic",
		"[topic.orders]\npause = true":    "topic.orders.pause is not known",
		"[topic.orders]\nreplicas = 2":    "topic orders: replicas must be 1 or 3, not 2",
		"[topic.a]\nserve = 'leader'":     "serve is of a topic with replicas = 3",
		"[topic.a]\nserve = 'one'":        `topic a: serve must be all or leader, not "one"`,
		"[topics.orders]":                 "topics.orders is not known",
		`[topic."a b"]`:                   `"a b" is no valid name of a topic`,
		`[topic.a.channel."b!"]`:          `"b!" is no valid name of a channel`,
		`[topic."a#ephemeral"]`:           `topic a#ephemeral goes away by itself`,
		`[topic.a.channel."b#ephemeral"]`: `channel b#ephemeral of topic a goes away by itself`,
		`{"topic":{"a":{"pausd":true}}}`:  "pausd",
		`{"topic":{}} {}`:                 "nothing behind it",
		`{"topic":{"a":{"paused":"yes"}}`: "",
		"[topic.a\n":                      "",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	for _, text := range []string{"", "{}", `{"topic":{"a":null}}`, "[topic.a]\nreplicas = 3\nserve = 'leader'", "[topic.a]\n[topic.a.options]\nanything = { at = 'all' }"} {
		if _, err := Parse([]byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzDefinitions(f *testing.F) {
	f.Add([]byte("[topic.orders]\npaused = true\noptions = { durability = 'fsync' }\n[topic.orders.channel.billing]\n"))
	f.Add([]byte(`{"topic":{"a":{"channel":{"b":null}}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := Parse(text)
		if err != nil {
			return
		}
		var out strings.Builder
		if err := d.Write(&out, true); err != nil {
			return // a value that JSON does not have
		}
		if _, err := Parse([]byte(out.String())); err != nil {
			t.Errorf("%s: %v", &out, err)
		}
	})
}
