package cmdtest

import (
	"io"
	"net/http"
	"testing"
)

// Do sends a request that must be answered, and returns the answer with its body, which was read.
func Do(t testing.TB, client *http.Client, request *http.Request) (answer *http.Response, body string) {
	t.Helper()
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(text)
}
