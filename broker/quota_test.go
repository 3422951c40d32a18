package broker_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"brokerd/broker"
)

// TestQuotaOverHTTP: 429 with Retry-After for the token that is over it, and for no other; /ping always answers.
func TestQuotaOverHTTP(t *testing.T) {
	t.Parallel()
	f := newTokens(t)
	one, other := f.add("one", "publish", "read"), f.add("other", "publish")
	for name, change := range map[string]func(*broker.Options){
		"publishes": func(o *broker.Options) { o.QuotaPublishes = 10 },
		"bytes":     func(o *broker.Options) { o.QuotaBytes = 1000 },
		"commands":  func(o *broker.Options) { o.QuotaCommands = 10 },
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, func(o *broker.Options) { f.use(o); change(o) })
			send := func(token, path, body string) *http.Response {
				req, err := http.NewRequestWithContext(t.Context(), "POST", n.url(path), strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Authorization", "Bearer "+token)
				resp, err := n.http.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				return resp
			}
			batch := strings.Repeat(strings.Repeat("x", 99)+"\n", 100)
			refused := send(one, "/mpub?topic=t", batch) // ten seconds' worth
			for i := 0; refused.StatusCode == 200 && i < 1000; i++ {
				refused = send(one, "/mpub?topic=t", batch)
			}
			after, err := strconv.Atoi(refused.Header.Get("Retry-After"))
			if refused.StatusCode != 429 || err != nil || after < 1 || after > 31 {
				t.Errorf("%d, Retry-After %q", refused.StatusCode, refused.Header.Get("Retry-After"))
			}
			if got := send(other, "/pub?topic=t", "x").StatusCode; got != 200 {
				t.Errorf("another token: %d", got)
			}
			for range 50 {
				if n.get("/ping") != "OK" {
					t.Fatal("/ping")
				}
			}
		})
	}
}
