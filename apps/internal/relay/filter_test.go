package relay

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestFilter(t *testing.T) {
	const body = `{"user":"ann","n":12345678901234567890,"f":1.50,"ok":true,"none":null,"deep":{"b":[1, 2]},"html":"<&>"}`
	whitelist := func(fields ...string) filter { return filter{whitelist: fields} }
	require := func(field, value string) filter { return filter{field: field, value: value} }
	tests := map[string]struct {
		filter filter
		body   string
		want   string // "" for a message that is left out
	}{
		"everything":         {filter{}, "not JSON", "not JSON"},
		"kept fields":        {whitelist("user", "n", "absent"), body, `{"n":12345678901234567890,"user":"ann"}`},
		"kept values":        {whitelist("f", "deep"), body, `{"deep":{"b":[1,2]},"f":1.50}`},
		"nothing kept":       {whitelist("absent"), body, `{}`},
		"field there":        {require("none", ""), body, body},
		"field absent":       {require("absent", ""), body, ""},
		"field absent, =":    {require("absent", "x"), body, ""},
		"string equal":       {require("user", "ann"), body, body},
		"string different":   {require("user", "bob"), body, ""},
		"number equal":       {require("f", "1.5"), body, body},
		"great number equal": {require("n", "12345678901234567890"), body, body},
		"number different":   {require("f", "2"), body, ""},
		"number, not one":    {require("f", "one"), body, ""},
		"true":               {require("ok", "true"), body, body},
		"not false":          {require("ok", "false"), body, ""},
		"null":               {require("none", "null"), body, ""},
		"object":             {require("deep", `{"b":[1, 2]}`), body, ""},
		"both":               {filter{[]string{"user"}, "ok", "true"}, body, `{"user":"ann"}`},
	}
	for name, test := range tests {
		got, err := test.filter.apply([]byte(test.body))
		if test.want == "" {
			if !errors.Is(err, errUnwanted) {
				t.Errorf("%s: got %s, %v", name, got, err)
			}
		} else if err != nil || string(got) != test.want {
			t.Errorf("%s: got %s, %v, want %s", name, got, err, test.want)
		}
	}
	for _, bad := range []string{"", "text", "[1]", "null", `{"a":1`, `{"a":1} {}`} {
		f := require("a", "")
		if _, err := f.apply([]byte(bad)); err == nil || errors.Is(err, errUnwanted) {
			t.Errorf("%q: got %v, want that it is no object", bad, err)
		}
	}
}

func TestNaming(t *testing.T) {
	rules := func(texts ...string) (n naming) {
		for _, text := range texts {
			r, err := parseRule(text)
			if err != nil {
				t.Fatal(err)
			}
			n.rules = append(n.rules, r)
		}
		return n
	}
	tests := []struct {
		naming      naming
		topic, want string // want "" for an error
	}{
		{naming{}, "orders", "orders"},
		{naming{all: "everything"}, "orders", "everything"},
		{rules(`^(.*)$=eu.$1`), "orders", "eu.orders"},
		{rules(`^eu\.(?P<rest>.*)$=us.${rest}`, `^.*$=other`), "eu.orders", "us.orders"},
		{rules(`^eu\.(?P<rest>.*)$=us.${rest}`, `^.*$=other`), "orders", "other"},
		{rules(`^eu\.=us.`), "orders", "orders"},
		{rules(`_=-`), "a_b_c#ephemeral", "a-b-c#ephemeral"},
		{rules(`^x=$0 y`), "x", ""},
		{rules(`.*=`), "x", ""},
	}
	for _, test := range tests {
		got, err := test.naming.destination(test.topic)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s: got %q, %v, want %q", test.topic, got, err, test.want)
		}
	}
	for _, bad := range []string{"", "orders", "=x", "(=x"} {
		if _, err := parseRule(bad); err == nil || !strings.Contains(err.Error(), "--rename") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

// FuzzFilter: whatever is relayed of an object is an object with no other fields, whose values are the same.
func FuzzFilter(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":{"c":[true,null,"<"]}}`))
	f.Add([]byte(`{"a":1e999}`))
	f.Add([]byte(`{"A":1,"a":2,"a":3}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		flt := filter{whitelist: []string{"a"}, field: "a"}
		out, err := flt.apply(body)
		if err != nil {
			return
		}
		var in, kept map[string]json.RawMessage
		if json.Unmarshal(body, &in) != nil || json.Unmarshal(out, &kept) != nil || len(kept) != 1 {
			t.Fatalf("%q became %q", body, out)
		}
		want, err := json.Marshal(in["a"])
		if err != nil || string(want) != string(kept["a"]) {
			t.Fatalf("%q became %q: %v", body, out, err)
		}
	})
}
