package httpapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// patience is how long an answer may take, however busy the machine is: what is tested ends by something else.
const patience = 3 * time.Minute

// TestDaemonsThatAreNone: an address that was registered by a stranger may answer anything. Redirects are not followed, endless answers end
// at 32 MiB, compressed ones as well, and what a refusal says is not repeated.
func TestDaemonsThatAreNone(t *testing.T) {
	var led atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { led.Add(1); io.WriteString(w, `{}`) }))
	t.Cleanup(elsewhere.Close)
	zeros := make([]byte, 1<<20)
	var packed bytes.Buffer // again and again it is one endless answer, too
	z := gzip.NewWriter(&packed)
	z.Write(zeros)
	z.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, elsewhere.URL+"/stats", http.StatusFound)
		case "/endless":
			for {
				if _, err := w.Write(zeros); err != nil {
					return
				}
			}
		case "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			for {
				if _, err := w.Write(packed.Bytes()); err != nil {
					return
				}
			}
		case "/secret":
			http.Error(w, "password=hunter2", http.StatusInternalServerError)
		case "/json":
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, `{"message":"Internal: password=hunter2"}`)
		case "/escape":
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, "{\"message\":\"\\u001b[2Jhunter2\"}")
		}
	}))
	t.Cleanup(server.Close)
	c := newTestClient(t, ClientConfig{ConnectTimeout: patience, RequestTimeout: patience})
	for path, want := range map[string]string{
		"/redirect": "got response 302 Found", "/endless": "over 33554432 bytes", "/bomb": "over 33554432 bytes",
		"/secret": "got response 500 Internal Server Error", "/json": "got response 403 Forbidden", "/escape": "got response 403 Forbidden",
	} {
		var v any
		err := c.Get(t.Context(), server.URL+path, &v)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
		var refused *StatusError
		if errors.As(err, &refused) && strings.Contains(refused.Message(), "\x1b") {
			t.Errorf("%s: a control character is shown", path)
		}
	}
	if led.Load() > 0 {
		t.Error("a redirect was followed")
	}
}

// TestManyEndlessAnswersTakeLittle: a hundred of them at once are not a hundred times 32 MiB, and a short answer is not held up.
func TestManyEndlessAnswersTakeLittle(t *testing.T) {
	zeros := make([]byte, 1<<16)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.URL.Path == "/endless" {
			if _, err := w.Write(zeros); err != nil {
				return
			}
		}
		io.WriteString(w, `{}`)
	}))
	t.Cleanup(server.Close)
	c := newTestClient(t, ClientConfig{ConnectTimeout: patience, RequestTimeout: patience})
	endless, enough := context.WithCancel(t.Context())
	var asks sync.WaitGroup
	for range 100 {
		asks.Go(func() {
			if err := c.Get(endless, server.URL+"/endless", nil); err == nil {
				t.Error("an endless answer came to an end")
			}
		})
	}
	for range 20 {
		if err := c.Get(t.Context(), server.URL+"/short", nil); err != nil {
			t.Error(err)
		}
	}
	runtime.GC() // what is garbage already does not count
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 1<<30 { // a hundred times 32 MiB are three times that
		t.Errorf("%d MiB are in use", m.HeapAlloc>>20)
	}
	enough()
	asks.Wait()
}
