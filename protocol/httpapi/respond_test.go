package httpapi

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/julienschmidt/httprouter"
)

func returns(data any, err error) HandlerFunc {
	return func(http.ResponseWriter, *http.Request, httprouter.Params) (any, error) { return data, err }
}

// TestAnswers covers every form of answer: status, V1 header, content type and body.
func TestAnswers(t *testing.T) {
	notFound := Errorf(404, "TOPIC_%s", "NOT_FOUND")
	tests := []struct {
		name        string
		handle      httprouter.Handle
		code        int
		v1          bool
		contentType string
		body        string
	}{
		{"text", V1(returns("OK", nil)), 200, true, "text/plain; charset=utf-8", "OK"},
		{"bytes", V1(returns([]byte("raw"), nil)), 200, true, "text/plain; charset=utf-8", "raw"},
		{"nothing", V1(returns(nil, nil)), 200, true, "", ""},
		{"json", V1(returns([]string{"a", "<"}, nil)), 200, true, contentJSON, "[\"a\",\"\\u003c\"]"},
		{"error", V1(returns(nil, notFound)), 404, true, contentJSON, `{"message":"TOPIC_NOT_FOUND"}`},
		{"wrapped error", V1(returns(nil, fmt.Errorf("x: %w", notFound))), 404, true, contentJSON, `{"message":"TOPIC_NOT_FOUND"}`},
		{"any error", V1(returns(nil, io.ErrClosedPipe)), 500, true, contentJSON, `{"message":"INTERNAL_ERROR"}`},
		{"not encodable", V1(returns(make(chan int), nil)), 500, true, contentJSON, `{"message":"INTERNAL_ERROR"}`},
		{"plain", Plain(returns("OK", nil)), 200, false, "text/plain; charset=utf-8", "OK"},
		{"plain error", Plain(returns(nil, Errorf(500, "NOK - x"))), 500, false, "text/plain; charset=utf-8", "NOK - x"},
		{"plain nothing", Plain(returns(nil, nil)), 200, false, "", ""},
		{"tls required", func(w http.ResponseWriter, _ *http.Request, _ httprouter.Params) { RespondTLSRequired(w, 4152) },
			403, true, contentJSON, `{"message": "TLS_REQUIRED", "https_port": 4152}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			test.handle(w, httptest.NewRequest("GET", "/x", nil), nil)
			wantHeader := ""
			if test.v1 {
				wantHeader = "nsq; version=1.0"
			}
			if got := w.Header().Get("X-NSQ-Content-Type"); got != wantHeader {
				t.Errorf("X-NSQ-Content-Type %q", got)
			}
			if got := w.Result().Header.Get("Content-Type"); got != test.contentType {
				t.Errorf("Content-Type %q, want %q", got, test.contentType)
			}
			if w.Code != test.code || w.Body.String() != test.body {
				t.Errorf("got %d %s", w.Code, w.Body)
			}
		})
	}
}

// TestRouter covers the answers that no route gives, and the line each leaves in the log.
func TestRouter(t *testing.T) {
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	r := NewRouter(logger, Door{Insecure: true})
	r.Handle("GET", "/known", Public(), Logged(logger, V1(returns("OK", nil))))
	r.Handle("GET", "/panics", Public(), func(http.ResponseWriter, *http.Request, httprouter.Params) { panic("boom") })
	AddPprof(r)
	tests := []struct {
		method, path string
		code         int
		body         string
		header, want string
		logs         string
	}{
		{"GET", "/known", 200, "OK", "", "", "status=200 method=GET uri=/known remote=192.0.2.1:1234 took="},
		{"GET", "/not_found", 404, `{"message":"NOT_FOUND"}`, "", "", "status=404 method=GET uri=/not_found"},
		{"POST", "/known", 405, `{"message":"METHOD_NOT_ALLOWED"}`, "Allow", "GET, OPTIONS", "status=405"},
		{"HEAD", "/known", 405, `{"message":"METHOD_NOT_ALLOWED"}`, "Allow", "GET, OPTIONS", "status=405"},
		{"OPTIONS", "/known", 200, "", "Allow", "GET, OPTIONS", ""},
		{"GET", "/KNOWN", 301, "", "Location", "/known", ""},
		{"GET", "/known/", 301, "", "Location", "/known", ""},
		{"GET", "/panics", 500, `{"message":"INTERNAL_ERROR"}`, "", "", "boom"},
		{"GET", "/debug/pprof/cmdline", 200, "", "", "", ""},
	}
	for _, test := range tests {
		t.Run(test.method+test.path, func(t *testing.T) {
			log.Reset()
			w := httptest.NewRecorder()
			r.ServeHTTP(w, httptest.NewRequest(test.method, test.path, nil))
			if w.Code != test.code || (test.body != "" && w.Body.String() != test.body) {
				t.Errorf("got %d %s", w.Code, w.Body)
			}
			if test.header != "" && w.Header().Get(test.header) != test.want {
				t.Errorf("%s: %q", test.header, w.Header().Get(test.header))
			}
			if !strings.Contains(log.String(), test.logs) {
				t.Errorf("log: %s", log.String())
			}
		})
	}
}

// TestQuery covers where arguments come from and the order in which names are checked.
func TestQuery(t *testing.T) {
	form := httptest.NewRequest("POST", "/x?topic=a&topic=b&empty=&on=1&off=false&odd=maybe", strings.NewReader("topic=body&only=body"))
	form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	q, err := ParseQuery(form)
	if err != nil {
		t.Fatal(err)
	}
	if q.Get("topic") != "a" {
		t.Errorf("the first value does not win: %q", q.Get("topic"))
	}
	if _, ok := q.Lookup("only"); ok {
		t.Error("an argument was taken from the body")
	}
	if v, ok := q.Lookup("empty"); !ok || v != "" {
		t.Error("an empty argument counts as absent")
	}
	if !q.Bool("on", false) || q.Bool("off", true) || !q.Bool("odd", true) || q.Bool("absent", false) {
		t.Error("switches are read wrong")
	}

	names := []struct{ query, want string }{
		{"", "MISSING_ARG_TOPIC"},
		{"?channel=c", "MISSING_ARG_TOPIC"},
		{"?topic=", "INVALID_ARG_TOPIC"},
		{"?topic=a$", "INVALID_ARG_TOPIC"},
		{"?topic=a", "MISSING_ARG_CHANNEL"},
		{"?topic=a&channel=", "INVALID_ARG_CHANNEL"},
		{"?topic=a%23ephemeral&channel=c%23ephemeral", ""},
		{"?topic=%zz", "INVALID_REQUEST"},
	}
	for _, n := range names {
		got := ""
		q, err := ParseQuery(httptest.NewRequest("POST", "/x"+n.query, nil))
		if err == nil {
			_, _, err = q.TopicAndChannel()
		}
		if err != nil {
			got = err.Error()
		}
		if got != n.want {
			t.Errorf("%q: got %q, want %q", n.query, got, n.want)
		}
	}
}
