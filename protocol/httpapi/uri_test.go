package httpapi

import (
	"net/url"
	"testing"
)

// TestLoggedURI: what a request says of the content of messages stays out of logs, however it is spelled; the rest is as it came.
func TestLoggedURI(t *testing.T) {
	for raw, want := range map[string]string{
		"/ping": "/ping",
		"/topic/messages?topic=t&contains=a%40example.com&limit=5": "/topic/messages?topic=t&contains=...&limit=5",
		"/topic/messages?con%74ains=secret&contains=secret":        "/topic/messages?con%74ains=...&contains=...",
		"/pub?topic=t&key=secret&dedup=secret%3D1&acks=1":          "/pub?topic=t&key=...&dedup=...&acks=1",
		"/pub?topic=t&dedup=&key":                                  "/pub?topic=t&dedup=&key",
		"/pub?topic=%zz&&=x":                                       "/pub?topic=%zz&&=x",
	} {
		u, err := url.ParseRequestURI(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := LoggedURI(u); got != want {
			t.Errorf("%s is logged as %s, want %s", raw, got, want)
		}
	}
}
