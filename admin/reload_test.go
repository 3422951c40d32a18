package admin_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"brokerd/admin"
	"brokerd/protocol/grant"
	"brokerd/protocol/httpapi"
)

// TestReloadChangesWhoMayDoWhat: a token file, users, roles behind a proxy and the audit log are taken by a reload, all or nothing.
func TestReloadChangesWhoMayDoWhat(t *testing.T) {
	var opts admin.Options
	n := startAdmin(t, func(o *admin.Options) {
		o.NSQDHTTPAddresses = []string{"127.0.0.1:1"}
		opts = *o
	})
	opts.HTTPAddress = "127.0.0.1:0"
	dir := t.TempDir()
	tokens, acts := filepath.Join(dir, "tokens"), filepath.Join(dir, "acts")
	grants, err := grant.ParseGrants([]string{"read"})
	if err != nil {
		t.Fatal(err)
	}
	token, err := grant.Add(tokens, "prometheus", grants, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	expect := func(want int, path string, headers ...string) {
		t.Helper()
		if status, body := n.ask("GET", path, "", headers...); status != want {
			t.Errorf("%s %s: %d %s, want %d", path, headers, status, body, want)
		}
	}
	expect(200, "/api/search?q=")
	for want, spoil := range map[string]func(*admin.Options){
		"token file":  func(o *admin.Options) { o.TokenFile = "/nowhere" },
		"users file":  func(o *admin.Options) { o.UsersFile = "/nowhere" },
		"--user-role": func(o *admin.Options) { o.UserRoles = []string{"alice:king"} },
		"--audit-log": func(o *admin.Options) { o.AuditLog = "/nowhere/acts" },
	} {
		fresh := opts
		fresh.AllowedHosts = []string{"spoiled.example"}
		spoil(&fresh)
		if err := n.Reload(fresh, httpapi.Origins{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, wanted one about %s", err, want)
		}
		if _, body := n.ask("GET", "/config/http_allow_hosts", ""); strings.Contains(body, "spoiled") {
			t.Errorf("%s: something has changed: %s", want, body)
		}
	}
	opts.TokenFile, opts.AuditLog = tokens, acts
	if err := n.Reload(opts, httpapi.Origins{}); err != nil {
		t.Fatal(err)
	}
	expect(401, "/api/search?q=")
	expect(200, "/api/session")
	expect(200, "/ping")
	expect(200, "/api/search?q=", "Authorization", "Bearer "+token)
	if status, _ := n.ask("POST", "/api/topics", `{"topic":"x"}`, "Authorization", "Bearer "+token); status != 403 {
		t.Errorf("who may read makes a topic: %d", status)
	}
	if text, err := os.ReadFile(acts); err != nil || !strings.Contains(string(text), `"user":"token prometheus"`) || !strings.Contains(string(text), `"result":"refused"`) {
		t.Errorf("the audit log: %s %v", text, err)
	}
	opts.UserRoles, opts.ACLHeader = []string{"alice:operator=orders"}, "X-User"
	if err := n.Reload(opts, httpapi.Origins{}); err != nil {
		t.Fatal(err)
	}
	if _, body := n.ask("GET", "/api/session", "", "X-User", "alice"); !strings.Contains(body, `"role":"operator"`) || !strings.Contains(body, `"manages":["orders"]`) {
		t.Errorf("alice is %s", body)
	}
}
