package httpd

import (
	"net/http"
	"testing"

	"brokerd/admin/access"
)

// TestDocumentationIsServedAsThePagesAre: below the base path, with the headers that pages have, to those who have not signed in too.
func TestDocumentationIsServedAsThePagesAre(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.BasePath = "/nsq" }, access.Config{UsersFile: usersFile(t)})
	page, _ := f.send(http.MethodGet, "/nsq/", "")
	for _, path := range []string{"/nsq/docs/", "/nsq/docs/guarantees", "/nsq/docs/reference/brokerd", "/nsq/docs/docs.css", "/nsq/docs/openapi/brokerd.json"} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			got, _ := f.send(method, path, "")
			if got.StatusCode != http.StatusOK {
				t.Errorf("%s %s: %s", method, path, got.Status)
			}
			for _, name := range []string{"Content-Security-Policy", "X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy"} {
				if want := page.Header.Get(name); want == "" || got.Header.Get(name) != want {
					t.Errorf("%s %s: %s is %q, the pages' is %q", method, path, name, got.Header.Get(name), want)
				}
			}
		}
	}
	for _, path := range []string{"/nsq/docs/nosuch", "/docs/", "/nsq/docs/%2e%2e/handler.go"} {
		if got, _ := f.send(http.MethodGet, path, ""); got.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s, not 404", path, got.Status)
		}
	}
}
