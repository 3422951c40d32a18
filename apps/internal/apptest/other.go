package apptest

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// HTTP is a daemon that knows nothing: it answers every question with an empty object, and tells each one's Authorization, but for /ping,
// which asks whether it takes plain text. It returns the daemon's address.
func HTTP(t testing.TB, told func(authorization string)) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/ping" {
			told(req.Header.Get("Authorization"))
		}
		w.Header().Set("X-NSQ-Content-Type", "nsq; version=1.0")
		io.WriteString(w, "{}") // who asked has gone otherwise
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// Run runs a program to its end, without the variables of tools, and returns all that it printed, and its exit code.
func Run(t testing.TB, path string, args ...string) (output string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "BROKERCTL_") })
	out, err := cmd.CombinedOutput()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		code = ended.ExitCode()
	}
	return string(out), code
}
