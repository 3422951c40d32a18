package brokerctl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"brokerd/protocol/grant"
)

// TestTokenVerbs: a token is printed once and then known to a daemon that reads the file; it is listed without its secret, and goes.
func TestTokenVerbs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	code, out, errs := runTool(t, "token", "add", path, "orders-app", "publish:orders.*", "consume:x", "--expires=1h")
	token := strings.TrimSpace(out)
	if code != 0 || !grant.Looks(token) {
		t.Fatalf("exit %d: %s %s", code, out, errs)
	}
	if text, err := os.ReadFile(path); err != nil || strings.Contains(string(text), token) {
		t.Errorf("the file holds the token: %s %v", text, err)
	}
	if code, out, _ := runTool(t, "token", "list", path); code != 0 || !strings.Contains(out, "publish:orders.* consume:x") || strings.Contains(out, token) {
		t.Errorf("exit %d: %s", code, out)
	}
	for name, args := range map[string][]string{
		"twice": {"add", path, "orders-app", "read"}, "no such scope": {"add", path, "b", "write"}, "no grant": {"add", path, "b"},
		"a bad id": {"add", path, "a b", "read"}, "none of that id": {"remove", path, "nobody"}, "no file": {"list", path + "-none"},
	} {
		if code, out, errs := runTool(t, append([]string{"token"}, args...)...); code == 0 || errs == "" {
			t.Errorf("%s: exit %d, %s %s", name, code, out, errs)
		}
	}
	if code, _, errs := runTool(t, "token", "remove", path, "orders-app"); code != 0 {
		t.Errorf("exit %d: %s", code, errs)
	}
	if list, err := grant.List(path); err != nil || len(list) != 0 {
		t.Errorf("%v %v", list, err)
	}
}

func runTool(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	got := say(t, t.TempDir(), nil, args...)
	return got.code, got.out, got.errors
}
