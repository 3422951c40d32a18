package keyrule

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func mustRule(t testing.TB, text string) *Rule {
	t.Helper()
	r, err := Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return r
}

// TestRules take what they say, and nothing where it is not there.
func TestRules(t *testing.T) {
	for _, c := range []struct {
		rule, body, want string // an empty want is no key
	}{
		{"word", "abc", ""},
		{"body", "abc", "abc"},
		{"bytes:0-3", "abcdef", "abc"}, {"bytes:2-4", "abcdef", "cd"}, {"bytes:0-6", "abcdef", "abcdef"}, {"bytes:0-7", "abcdef", ""},
		{"until:|", "a1|rest|x", "a1"}, {"until:|", "a1", ""}, {"until:|", "|x", ""}, {"until::", "a:b", "a"}, {"until:ä", "xyäz", "xy"},
		{"until:|", strings.Repeat("x", mostScanned) + "|", ""},
		{"json:id", `{"id":"a7"}`, "a7"}, {"json:id", ` { "x" : [1,{"id":"no"}], "id" : 42 } `, "42"}, {"json:id", `{"id":-1.5e3,"b":1}`, "-1.5e3"},
		{"json:id", `{"x":"}\"id\":1","id":"é\"\n"}`, "é\"\n"}, {"json:id", `{"\u0069d":"a"}`, "a"},
		{"json:id", `{"id":"a","id":"b"}`, "a"},
		{"json:id", `{"id":true}`, ""}, {"json:id", `{"id":null}`, ""}, {"json:id", `{"id":{"a":1}}`, ""}, {"json:id", `{"id":[1]}`, ""}, {"json:id", `{"id":""}`, ""},
		{"json:id", `["id",1]`, ""}, {"json:id", `"id"`, ""}, {"json:id", `{}`, ""}, {"json:id", ``, ""}, {"json:id", `{"a":{"id":1}}`, ""}, {"json:id", `{"idx":1}`, ""},
		{"json:id", `{"id":12`, ""}, {"json:id", `{"id":"a`, ""}, {"json:id", `{"a":1 "id":2}`, ""}, {"json:id", `{"a":}],"id":2}`, ""}, {"json:id", `{"id":1x}`, ""},
		{"json:id", `{"pad":"` + strings.Repeat("x", mostScanned) + `","id":"a"}`, ""},
		{"json:ü.x", `{"ü.x":7}`, "7"},
	} {
		if got := mustRule(t, c.rule).Key([]byte(c.body)); string(got) != c.want {
			t.Errorf("%s of %.40s: %q, want %q", c.rule, c.body, got, c.want)
		}
	}
	for _, bad := range []string{"", "words", "bytes", "bytes:", "bytes:1", "bytes:3-2", "bytes:-1-2", "bytes:0-65537", "until:", "until:ab", "until:\xff", "json:", "json:\xff",
		"json:" + strings.Repeat("x", 257), "body:", "BODY"} {
		if r, err := Parse(bad); err == nil {
			t.Errorf("%.20q is taken for %v", bad, r)
		}
	}
}

// first returns the first member of that name as encoding/json has it, false where the body is no object.
func firstMember(body []byte, name string) (value json.RawMessage, ok bool) {
	d := json.NewDecoder(bytes.NewReader(body))
	if tok, err := d.Token(); err != nil || tok != json.Delim('{') {
		return nil, false
	}
	for d.More() {
		tok, err := d.Token()
		if err != nil {
			return nil, false
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, false
		}
		if tok == name {
			return v, true
		}
	}
	return nil, true
}

// FuzzRuleOfJSON: of what is JSON the scanner takes what encoding/json takes; nothing panics.
func FuzzRuleOfJSON(f *testing.F) {
	for _, seed := range []string{`{"id":"a7","x":[1,{"id":2}]}`, `{"x":"\"","id":-1.5e3}`, `{"id":"\ud83d\ude00"}`, `{"id":1 , "a":{}}`, `{`, `{"a" :[[]],"id":"b"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := Parse("json:id")
		if err != nil {
			t.Fatal(err)
		}
		got := r.Key(body)
		if len(body) > mostScanned || !json.Valid(body) {
			return
		}
		value, ok := firstMember(body, "id")
		want := ""
		if ok && len(value) > 0 {
			switch value[0] {
			case '"':
				if err := json.Unmarshal(value, &want); err != nil {
					t.Fatal(err)
				}
			case '{', '[', 't', 'f', 'n':
			default:
				want = string(value)
			}
		}
		if string(got) != want {
			t.Errorf("%q: %q, want %q", body, got, want)
		}
	})
}
