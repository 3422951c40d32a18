package httpapi

import (
	"errors"
	"io"
	"net/http"
	"testing"
	"time"
)

// TestDo: bodies go and come as they are, with any method, and a refusal is a *StatusError.
func TestDo(t *testing.T) {
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path == "/refused" {
			RespondV1(w, 400, "INVALID_VALUE")
			return
		}
		RespondV1(w, 200, r.Method+" "+string(body))
	})
	c := newTestClient(t, ClientConfig{RequestTimeout: 10 * time.Second})
	for method, body := range map[string]string{http.MethodPut: "debug", http.MethodGet: "", http.MethodPost: `["a:1"]`} {
		answer, err := c.Do(t.Context(), method, addr, []byte(body))
		if want := method + " " + body; err != nil || string(answer) != want {
			t.Errorf("got %q, %v, want %q", answer, err, want)
		}
	}
	var refused *StatusError
	if _, err := c.Do(t.Context(), http.MethodPut, addr+"/refused", nil); !errors.As(err, &refused) || refused.Code != 400 {
		t.Errorf("got %v, want a refusal", err)
	}
}
