package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/julienschmidt/httprouter"

	"brokerd/protocol/grant"
)

// TestEveryActIsWrittenDown: what changes something is in the file and the log with who, from where and what came of it; refused acts as
// well; what only reads or publishes is not.
func TestEveryActIsWrittenDown(t *testing.T) {
	dir := t.TempDir()
	grants, err := grant.ParseGrants([]string{"manage:orders", "publish", "read"})
	if err != nil {
		t.Fatal(err)
	}
	token, err := grant.Add(filepath.Join(dir, "tokens"), "ops", grants, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	file, err := grant.Open(filepath.Join(dir, "tokens"))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	audit := auditTo(t, filepath.Join(dir, "audit"), slog.New(slog.NewTextHandler(&log, nil)))
	r := NewRouter(slog.New(slog.DiscardHandler), Door{Guard: Tokens{file}, Audit: audit})
	answer := func(http.ResponseWriter, *http.Request, httprouter.Params) (any, error) {
		return nil, &Error{Code: 404, Text: "TOPIC_NOT_FOUND"}
	}
	r.Handle("POST", "/topic/delete", NeedsOnTopic(grant.Manage), V1(answer))
	r.Handle("POST", "/pub", NeedsOnTopic(grant.Publish), V1(answer))
	r.Handle("GET", "/config/:opt", NeedsSome(grant.Read), V1(answer))
	r.Handle("PUT", "/config/:opt", Needs(grant.Admin), V1(answer))
	ctx, cancel := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	writing.Go(func() { audit.Run(ctx) })
	for _, request := range []string{"POST /topic/delete?topic=orders&channel=c", "POST /topic/delete?topic=other", "POST /pub?topic=x", "GET /config/a", "PUT /config/a"} {
		method, target, _ := strings.Cut(request, " ")
		req := httptest.NewRequest(method, target, nil)
		req.Header.Set("Authorization", "Bearer "+token)
		r.ServeHTTP(httptest.NewRecorder(), req)
	}
	r.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/topic/delete?topic=orders", nil))
	cancel()
	writing.Wait()
	text, err := os.ReadFile(filepath.Join(dir, "audit"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(text)) {
		var a Act
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.Join([]string{a.Caller, a.Method, a.Path, a.Topic, a.Channel, http.StatusText(a.Status), a.Remote}, "|"))
	}
	want := []string{
		"token ops|POST|/topic/delete|orders|c|Not Found|192.0.2.1:1234", "token ops|POST|/topic/delete|other||Forbidden|192.0.2.1:1234",
		"token ops|PUT|/config/a|||Forbidden|192.0.2.1:1234", "anonymous|POST|/topic/delete|orders||Unauthorized|192.0.2.1:1234",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if strings.Count(log.String(), "msg=act") != len(want) || strings.Contains(log.String()+string(text), token[len(token)-10:]) {
		t.Errorf("log\n%s", &log)
	}
}

// TestBlockedAuditLogHoldsUpNothing: acts go on, as many as there is room for wait, the others are counted, and the file tells how many.
func TestBlockedAuditLogHoldsUpNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	var log bytes.Buffer
	audit := auditTo(t, path, slog.New(slog.NewTextHandler(&log, nil)))
	for range maxActs + 7 { // nobody writes yet: the disk does not answer
		audit.Write(Act{Method: "POST"})
	}
	if audit.Lost() != 7 || len(audit.queue) != maxActs || strings.Count(log.String(), "does not take acts") != 1 {
		t.Errorf("%d lost, %d wait", audit.Lost(), len(audit.queue))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	audit.Run(ctx)
	text, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(text), "{\"lost\":7}\n") || strings.Count(string(text), "\n") != maxActs+1 {
		t.Errorf("%d lines, %v", strings.Count(string(text), "\n"), err)
	}
}

// auditTo returns an Audit that is to write to the file.
func auditTo(t *testing.T, path string, log *slog.Logger) *Audit {
	t.Helper()
	file, err := OpenAudit(path)
	if err != nil {
		t.Fatal(err)
	}
	a := NewAudit(log)
	a.Use(file)
	return a
}

// TestAuditGoesOnInAnotherFile: each act is in the file that was in force when it was written, also when that is changed while acts wait,
// however slow the disk is. Once there is no file there are none.
func TestAuditGoesOnInAnotherFile(t *testing.T) {
	t.Run("at once", func(t *testing.T) { auditsInTurn(t, false) })
	t.Run("acts wait", func(t *testing.T) { auditsInTurn(t, true) })
}

// auditsInTurn writes to files in turn, or has all acts wait first.
func auditsInTurn(t *testing.T, wait bool) {
	dir := t.TempDir()
	path := func(i int) string { return filepath.Join(dir, "audit"+string(rune('0'+i))) }
	a := auditTo(t, path(0), slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	if !wait {
		writing.Go(func() { a.Run(ctx) })
	}
	for i := range 4 {
		if i > 0 {
			file, err := OpenAudit(path(i))
			if err != nil {
				t.Fatal(err)
			}
			a.Use(file)
		}
		for range 10 {
			a.Write(Act{Method: "POST"})
		}
	}
	a.Use(nil)
	a.Write(Act{Method: "PUT"})
	if wait {
		writing.Go(func() { a.Run(ctx) })
	}
	cancel()
	writing.Wait()
	for i := range 4 {
		text, err := os.ReadFile(path(i))
		if err != nil {
			t.Fatal(err)
		}
		if acts := strings.Count(string(text), `"POST"`); acts != 10 {
			t.Errorf("%d acts are in file %d, wanted its 10", acts, i)
		}
		if strings.Contains(string(text), "PUT") {
			t.Error("an act was written that no file was in force for")
		}
	}
	if a.Lost() != 0 {
		t.Errorf("%d lost", a.Lost())
	}
	file, err := OpenAudit(path(5))
	if err != nil {
		t.Fatal(err)
	}
	if a.Use(file); file.Close() == nil {
		t.Error("a file that comes too late stays open")
	}
}

// TestCheckAuditMakesNothing: whether a file can be written is found out without making it.
func TestCheckAuditMakesNothing(t *testing.T) {
	dir := t.TempDir()
	for path, good := range map[string]bool{"": true, filepath.Join(dir, "audit"): true, filepath.Join(dir, "no", "audit"): false, dir: false} {
		if err := CheckAudit(path); (err == nil) != good {
			t.Errorf("%q: %v", path, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("%v was made, %v", entries, err)
	}
}
