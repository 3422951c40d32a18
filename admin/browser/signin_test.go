package browser

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
	"brokerd/protocol/grant"
)

func TestSignIn(t *testing.T) {
	needBrowser(t)
	users := filepath.Join(t.TempDir(), "users")
	addUser(t, users, "alice", "operator", "correct horse")
	addUser(t, users, "bob", "viewer", "battery staple")
	c := shop(t, 1, "--users-file="+users)
	p := openTab(t, c.base)
	p.mayWrite("401")

	p.visit("topics/orders")
	p.see("Sign in")
	if text := p.text(); strings.Contains(text, "billing") {
		t.Errorf("figures are shown to somebody who has not signed in:\n%s", text)
	}
	p.fill("User", "bob")
	p.fill("Password", "wrong")
	p.press("Sign in")
	p.see("not the password")
	p.fill("Password", "battery staple")
	p.press("Sign in")
	p.see("bob", "viewer", "billing", "Producers")
	for _, act := range []string{"Publish", "Pause", "Empty", "Delete", "Create channel", "Tombstone"} {
		if eval[bool](p, "Boolean("+find(act)+")") {
			t.Errorf("a viewer sees %s", act)
		}
	}

	p.press("Sign out")
	p.see("Password")
	p.fill("User", "alice")
	p.fill("Password", "correct horse")
	p.press("Sign in")
	p.see("alice", "operator", "Publish")
	p.press("Pause")
	p.agree("Pause")
	p.told("Paused orders.")
}

// TestAnOperatorOfSomeTopics sees the others, if he may, and has no button for what would be refused; a token signs in as well.
func TestAnOperatorOfSomeTopics(t *testing.T) {
	needBrowser(t)
	users, tokens := filepath.Join(t.TempDir(), "users"), filepath.Join(t.TempDir(), "tokens")
	addUser(t, users, "carol", "viewer,operator=ord[a-f]r?", "battery staple")
	token := addToken(t, tokens, "reader", "read:clicks")
	c := shop(t, 1, "--users-file="+users, "--token-file="+tokens)
	p := openTab(t, c.base)
	p.mayWrite("401")
	p.mayWrite("403")
	p.mayWrite("Autofocus")

	p.visit("topics/orders")
	p.see("Password or token")
	p.fill("User", "carol")
	p.fill("Password or token", "battery staple")
	p.press("Sign in")
	p.see("carol", "operator of some topics", "Publish", "Pause")
	p.visit("topics/clicks")
	p.see("metrics#ephemeral", "carol")
	for _, act := range []string{"Publish", "Unpause", "Empty", "Delete", "Create channel", "Tombstone"} {
		if eval[bool](p, "Boolean("+find(act)+")") {
			t.Errorf("who may not act on a topic sees %s", act)
		}
	}

	p.press("Sign out")
	p.see("Password or token")
	p.fill("User", "whoever")
	p.fill("Password or token", token)
	p.press("Sign in")
	p.see("token reader", "viewer of some topics")
	p.visit("")
	p.see("1 topic", "clicks")
	if text := p.text(); strings.Contains(text, "orders") {
		t.Errorf("a topic is shown that he may not see:\n%s", text)
	}
}

func TestABannerWarnsOfAPublicAdminWithoutSignIn(t *testing.T) {
	c := newCluster(t, 1)
	p := openTab(t, c.base)
	p.visit("")
	p.see("No topic yet")
	// admind listens on the loopback here; what it would say on another address comes with the session.
	eval[bool](p, `import(document.querySelector("script[type=module]").src.replace("main.js", "lib/session.js")).then((m) => (m.adopt({ ...m.session, warnings: ["admind listens on 0.0.0.0:4171"] }), true))`)
	p.see("admind listens on 0.0.0.0:4171")
	p.press("Nodes")
	p.see("admind listens on 0.0.0.0:4171")
}

// addUser writes a user into a file with admind's own command.
func addUser(t *testing.T, file, name, role, password string) {
	t.Helper()
	add := exec.Command(cmdtest.Find(t, "admind"), "user", "add", file, name, role)
	add.Stdin = strings.NewReader(password + "\n")
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// addToken adds a token to a file.
func addToken(t *testing.T, file, id, text string) string {
	t.Helper()
	grants, err := grant.ParseGrants([]string{text})
	if err != nil {
		t.Fatal(err)
	}
	token, err := grant.Add(file, id, grants, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return token
}
