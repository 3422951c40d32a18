package apitest

import (
	"encoding/json"
	"fmt"
	"math/bits"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"brokerd/cmd/cmdtest"
	"brokerd/protocol/grant"
	"brokerd/protocol/httpapi"
)

// Operation is what is written about one route.
type Operation struct {
	Route  string // method and path, as "GET /config/:opt"
	Does   string // a sentence without its point
	Params []Param
	Body   string // what is sent, "" for nothing
	Answer any    // what comes with 200: a text in quotes as it is, a value of the Go type that is encoded to JSON, nil for an empty body
	Errors string // statuses with their words, as "400 INVALID_TOPIC, 404 TOPIC_NOT_FOUND"
}

// Param is an argument in the query, or a part of the path.
type Param struct {
	Name     string
	Required bool
	Does     string
}

// API is what is written about a daemon.
type API struct {
	Daemon     string
	About      string
	Address    string // by default, as http://127.0.0.1:4151
	Operations []Operation
	Unlisted   func(path string) bool // routes that are no part of the API, such as files of a page
}

// Check fails the test for each route that no operation tells of and each operation that is no route, and holds docs/openapi/DAEMON.json and
// docs/reference/http-DAEMON.md to both.
func (a API) Check(t *testing.T, routes []httpapi.Route) {
	t.Helper()
	rules := map[string]httpapi.Rule{}
	for _, r := range routes {
		if r.Method != "HEAD" && (a.Unlisted == nil || !a.Unlisted(r.Path)) {
			rules[r.Method+" "+r.Path] = r.Rule
		}
	}
	told := map[string]bool{}
	for _, op := range a.Operations {
		if _, ok := rules[op.Route]; !ok {
			t.Errorf("%s has no route %s", a.Daemon, op.Route)
		}
		if told[op.Route] {
			t.Errorf("%s is told of twice", op.Route)
		}
		told[op.Route] = true
	}
	for route := range rules {
		if !told[route] {
			t.Errorf("nothing is told of the route %s of %s", route, a.Daemon)
		}
	}
	shapes := newShapes(t)
	spec, err := json.MarshalIndent(a.openAPI(rules, shapes), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	cmdtest.Document(t, "docs/openapi/"+a.Daemon+".json", append(spec, '\n'))
	cmdtest.Document(t, "docs/reference/http-"+a.Daemon+".md", []byte(a.page(rules, shapes)))
}

type object = map[string]any

// openAPI is the whole file.
func (a API) openAPI(rules map[string]httpapi.Rule, shapes *shapes) object {
	paths := object{}
	for _, op := range a.Operations {
		method, path, _ := strings.Cut(op.Route, " ")
		path = pathParam.ReplaceAllString(path, "{$1}")
		if paths[path] == nil {
			paths[path] = object{}
		}
		paths[path].(object)[strings.ToLower(method)] = op.openAPI(method, path, rules[op.Route], shapes)
	}
	return object{
		"openapi":    "3.1.0",
		"info":       object{"title": a.Daemon, "description": a.About, "version": "1.3.0", "license": object{"name": "MIT", "identifier": "MIT"}},
		"servers":    []object{{"url": a.Address}},
		"paths":      paths,
		"components": object{"schemas": shapes.all, "securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}}},
		"security":   []object{{}, {"token": []string{}}},
	}
}

// pathParam is a part of a route that varies.
var pathParam = regexp.MustCompile(`[:*]([a-z]+)`)

func (op Operation) openAPI(method, path string, rule httpapi.Rule, shapes *shapes) object {
	text := object{"type": "string"}
	var params []object
	for _, p := range op.Params {
		in := "query"
		if strings.Contains(path, "{"+p.Name+"}") {
			in = "path"
		}
		params = append(params, object{"name": p.Name, "in": in, "required": p.Required || in == "path", "description": p.Does, "schema": text})
	}
	responses := object{"200": op.answer(shapes)}
	for _, e := range errorsOf(op.Errors) {
		responses[e.status] = object{"description": strings.Join(e.words, ", ")}
	}
	o := object{
		"operationId": strings.ToLower(method) + strings.NewReplacer("/", "_", "{", "", "}", "").Replace(path),
		"summary":     op.Does, "responses": responses,
	}
	if right := rightOf(rule); right != "" {
		o["description"] = "With a token file: needs " + right + "."
	}
	if params != nil {
		o["parameters"] = params
	}
	if op.Body != "" {
		o["requestBody"] = object{"required": true, "description": op.Body, "content": object{"application/octet-stream": object{}}}
	}
	return o
}

func (op Operation) answer(shapes *shapes) object {
	switch v := op.Answer.(type) {
	case nil:
		return object{"description": "done; the body is empty"}
	case string:
		return object{"description": v, "content": object{"text/plain": object{"schema": object{"type": "string"}}}}
	}
	return object{"description": "JSON", "content": object{"application/json": object{"schema": shapes.of(reflect.TypeOf(op.Answer))}}}
}

// statusWords are the words that come with one status.
type statusWords struct {
	status string
	words  []string
}

// errorsOf reads Operation.Errors.
func errorsOf(text string) []statusWords {
	var list []statusWords
	for part := range strings.SplitSeq(text, ", ") {
		status, word, ok := strings.Cut(part, " ")
		if !ok {
			continue
		}
		i := slices.IndexFunc(list, func(s statusWords) bool { return s.status == status })
		if i < 0 {
			list, i = append(list, statusWords{status: status}), len(list)
		}
		list[i].words = append(list[i].words, word)
	}
	return list
}

// rightOf says which scopes a route demands, "" for none.
func rightOf(rule httpapi.Rule) string {
	var words []string
	for left := rule.Scope(); left != 0; left &= left - 1 {
		words = append(words, (grant.Scope(1) << bits.TrailingZeros(uint(left))).String())
	}
	return strings.Join(words, " or ")
}

// page is the reference for people, in Markdown.
func (a API) page(rules map[string]httpapi.Rule, shapes *shapes) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# HTTP of %s\n\n%s By default at `%s`. The same as [OpenAPI](../openapi/%s.json). This page is made of the routes in the code.\n\n"+
		"An error is a status and `{\"message\":\"WORD\"}`. *Right* is what a token must have where there is a token file.\n", a.Daemon, a.About, a.Address, a.Daemon)
	for _, op := range a.Operations {
		fmt.Fprintf(&b, "\n## %s\n\n%s.", op.Route, op.Does)
		if right := rightOf(rules[op.Route]); right != "" {
			fmt.Fprintf(&b, " Right: %s.", right)
		}
		b.WriteString("\n")
		if len(op.Params) > 0 {
			b.WriteString("\n| argument | |\n|---|---|\n")
		}
		for _, p := range op.Params {
			must := ""
			if p.Required {
				must = " (must be there)"
			}
			fmt.Fprintf(&b, "| `%s`%s | %s |\n", p.Name, must, strings.ReplaceAll(p.Does, "|", `\|`))
		}
		if op.Body != "" {
			fmt.Fprintf(&b, "\nBody: %s.\n", op.Body)
		}
		switch v := op.Answer.(type) {
		case nil:
			b.WriteString("\nAnswers with an empty body.\n")
		case string:
			fmt.Fprintf(&b, "\nAnswers: %s.\n", v)
		default:
			fmt.Fprintf(&b, "\nAnswers %s.\n", shapes.linked(reflect.TypeOf(op.Answer)))
		}
		for _, e := range errorsOf(op.Errors) {
			fmt.Fprintf(&b, "\n- %s: %s", e.status, strings.Join(e.words, ", "))
		}
		if op.Errors != "" {
			b.WriteString("\n")
		}
	}
	return b.String() + shapes.page()
}

// number is the name of a JSON number's kind.
func number(k reflect.Kind) string {
	if k == reflect.Float32 || k == reflect.Float64 {
		return "number"
	}
	return "integer"
}

// quoted is a field's name as JSON has it, "" for one that is left out.
func quoted(tag string) (name string, optional bool) {
	name, options, _ := strings.Cut(tag, ",")
	if unquoted, err := strconv.Unquote(name); err == nil {
		name = unquoted
	}
	return name, strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
}

// Anything stands for an answer of JSON whose shape is not promised, or depends on what was asked for.
type Anything struct{}

// MarshalJSON makes it one whose shape is its own matter.
func (Anything) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

// Profiles are the operations of httpapi.AddPprof.
func Profiles() []Operation {
	seconds := []Param{{Name: "seconds", Does: "how long to look; a profile of one moment without it where that is possible"}}
	list := []Operation{
		{Route: "GET /debug/pprof/", Does: "Lists Go's profiles, for `go tool pprof`", Answer: "a page"},
		{Route: "GET /debug/pprof/cmdline", Does: "Tells the command line", Answer: "a text"},
		{Route: "GET /debug/pprof/symbol", Does: "Tells the names of addresses", Answer: "a text"},
		{Route: "POST /debug/pprof/symbol", Does: "Tells the names of addresses", Body: "addresses, joined by `+`", Answer: "a text"},
		{Route: "GET /debug/pprof/profile", Does: "Profiles the processor", Params: seconds, Answer: "a profile"},
	}
	for _, name := range []string{"heap", "goroutine", "block", "mutex", "allocs", "threadcreate"} {
		list = append(list, Operation{Route: "GET /debug/pprof/" + name, Does: "Tells the profile `" + name + "`", Params: seconds, Answer: "a profile"})
	}
	return append(list, Operation{Route: "GET /debug/pprof/trace", Does: "Traces what runs", Params: seconds, Answer: "a trace"})
}
