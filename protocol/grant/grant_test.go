package grant

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func parse(t *testing.T, text string) *Table {
	t.Helper()
	table, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// TestGrantsAllowWhatTheySay: each scope alone, patterns of whole names, and what belongs to no topic.
func TestGrantsAllowWhatTheySay(t *testing.T) {
	for _, c := range []struct {
		grants string
		scope  Scope
		topic  string
		want   bool
	}{
		{"publish:orders", Publish, "orders", true},
		{"publish:orders", Publish, "notorders2", false},
		{"publish:orders", Publish, "orders2", false},
		{"publish:orders", Consume, "orders", false},
		{"publish:orders", Read, "orders", false},
		{"publish:orders.*", Publish, "orders.eu", true},
		{"publish:orders.*", Publish, "orders", false},
		{"publish,consume:a,b?", Consume, "bb", true},
		{"publish,consume:a,b?", Manage, "bb", false},
		{"read", Read, "anything", true},
		{"read", Admin, "anything", false},
		{"admin", Manage, "anything", true},
		{"admin:orders", Publish, "orders", true},
		{"admin:orders", Publish, "other", false},
		{"publish:orders consume:orders", Consume, "orders", true},
		{"read", Read | Consume, "anything", true},
	} {
		grants, err := ParseGrants(strings.Fields(c.grants))
		if err != nil {
			t.Fatal(err)
		}
		if got := grants.On(c.scope, c.topic); got != c.want {
			t.Errorf("%s: %s on %q is %v", c.grants, c.scope, c.topic, got)
		}
		again, err := ParseGrants(strings.Fields(grants.String()))
		if err != nil || again.String() != grants.String() {
			t.Errorf("%s reads back as %s, %v", grants, again, err)
		}
	}
	some, err := ParseGrants([]string{"manage:orders.*", "read"})
	if err != nil {
		t.Fatal(err)
	}
	if !some.Anywhere(Manage) || some.Everywhere(Manage) || !some.Everywhere(Read) || some.Anywhere(Publish) || Grants(nil).Anywhere(Read) {
		t.Error("a scope without a topic is judged wrong")
	}
}

// TestTableTellsWhoItIs: tokens, certificates and nobody in particular, who all have what anonymous has.
func TestTableTellsWhoItIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	head := "# who may what\n\nanonymous read:public.*\ncert *.billing.example publish:invoices\ncert eu.* consume:invoices\n"
	if err := os.WriteFile(path, []byte(head), 0o640); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	publish := Grants{{scopes: Publish, patterns: []string{"orders"}}}
	token, err := Add(path, "orders-app", publish, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	short, err := Add(path, "short", publish, now.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	file, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	table := file.Table()
	c, err := table.ByToken(token, now)
	if err != nil || c.String() != "token orders-app" || !c.May(Publish, "orders") || !c.May(Read, "public.x") || c.May(Read, "orders") {
		t.Errorf("%v %v", c, err)
	}
	if c, err := table.ByToken(short, now); err != nil || table.Again(c, now.Add(59*time.Second)) == nil || table.Again(c, now.Add(time.Minute)) != nil {
		t.Errorf("%v %v, or its end is not kept to", c, err)
	}
	for text, want := range map[string]error{
		token[:len(token)-1] + "A": ErrUnknown, strings.Replace(token, "orders-app", "other", 1): ErrUnknown,
		"": ErrNoToken, "brokerd_x": ErrNoToken, token + "=": ErrNoToken, "brokerd__" + token[len(token)-secretLen:]: ErrNoToken,
	} {
		if text == token {
			continue // one chance in 64: the last character was A
		}
		if _, err := table.ByToken(text, now); !errors.Is(err, want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := table.ByToken(short, now.Add(time.Hour)); !errors.Is(err, ErrExpired) {
		t.Error(err)
	}
	cert, ok := table.ByCertificate([]string{"svc", "eu.billing.example"})
	if !ok || cert.String() != "certificate eu.billing.example" || !cert.May(Publish, "invoices") || !cert.May(Consume, "invoices") {
		t.Errorf("%v %v", cert, ok)
	}
	if _, ok := table.ByCertificate([]string{"", "stranger"}); ok {
		t.Error("a certificate that no line fits was taken")
	}
	if a := table.Anonymous(); !a.May(Read, "public.x") || a.May(Publish, "public.x") {
		t.Error("anonymous is judged wrong")
	}
	if parse(t, "").Anonymous().Grants.Anywhere(Admin) {
		t.Error("an empty file lets somebody in")
	}
}

// TestFileChanges: what is added, removed or made anew counts at the next look, and a wrong file changes nothing, told once.
func TestFileChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	all := Grants{{scopes: Publish, patterns: []string{"*"}}}
	token, err := Add(path, "a", all, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if state, err := os.Stat(path); err != nil || state.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", state.Mode(), err)
	}
	file, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := file.Table().ByToken(token, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if changed, err := file.Refresh(); changed || err != nil {
		t.Error("a file that is the same was read again", err)
	}
	if _, err := Add(path, "a", all, time.Time{}); !errors.Is(err, ErrThere) {
		t.Error(err)
	}
	if err := Remove(path, "a"); err != nil {
		t.Fatal(err)
	}
	if err := Remove(path, "a"); !errors.Is(err, ErrNotThere) {
		t.Error(err)
	}
	if _, err := Add(path, "a", all, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if changed, err := file.Refresh(); !changed || err != nil {
		t.Error(changed, err)
	}
	if file.Table().Again(c, time.Now()) != nil {
		t.Error("a token that was made anew is taken for the old one")
	}
	good := file.Table()
	if err := os.WriteFile(path, []byte("token a nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Refresh(); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Error(err)
	}
	if _, err := file.Refresh(); err != nil {
		t.Error("told twice:", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Refresh(); err == nil {
		t.Error("a file that is gone is no news")
	}
	if _, err := file.Refresh(); err != nil || file.Table() != good {
		t.Error("the last good table does not count:", err)
	}
}

// TestFileThatEverybodyCanWrite is refused, as is what is no file.
func TestFileThatEverybodyCanWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "can be written by everybody") {
		t.Error(err)
	}
	if _, err := Open(filepath.Dir(path)); err == nil {
		t.Error("a folder was taken")
	}
	if _, err := Open(path + "-none"); err == nil {
		t.Error("a file that is not there was taken")
	}
}

// TestWrongLines: each is refused with a text that names the line.
func TestWrongLines(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	for _, line := range []string{
		"user a", "token", "token a", "token a sha256=12 read", "token a sha1=" + hash + " read", "token a_b sha256=" + hash + " read",
		"token a sha256=" + hash + " expires=soon read", "token a sha256=" + hash + " write", "token a sha256=" + hash + " read:",
		"token a sha256=" + hash + " read:[", "cert a", "cert [ read", "anonymous readd", "anonymous read\nanonymous read",
		"token a sha256=" + hash + " read\ntoken a sha256=" + hash + " read",
	} {
		_, err := Parse([]byte("# first\n" + line))
		if err == nil || !strings.Contains(err.Error(), "line ") {
			t.Errorf("%q: %v", line, err)
		}
		if err != nil && strings.Contains(err.Error(), hash) {
			t.Errorf("%q: the error shows the hash: %v", line, err)
		}
	}
}

// TestEditKeepsTheRest: comments, other lines, and the link that the path may be.
func TestEditKeepsTheRest(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "real"), filepath.Join(dir, "tokens")
	if err := os.WriteFile(path, []byte("# keep me\nanonymous read"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Add(link, "a", Grants{{scopes: Consume, patterns: []string{"x"}}}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	list, err := List(link)
	if err != nil || len(list) != 2 || list[0].Kind != Anonymous || list[1].Name != "a" || list[1].Grants.String() != "consume:x" {
		t.Errorf("%+v %v", list, err)
	}
	if err := Remove(link, "a"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || string(text) != "# keep me\nanonymous read\n" {
		t.Errorf("%q %v", text, err)
	}
	if state, err := os.Lstat(link); err != nil || state.Mode().Type() != os.ModeSymlink {
		t.Error("the link was replaced")
	}
	if state, err := os.Stat(path); err != nil || state.Mode().Perm() != 0o640 {
		t.Error("the rights were changed")
	}
}

// FuzzParse: no text makes it panic, and what it takes has callers that can be asked.
func FuzzParse(f *testing.F) {
	f.Add("token a sha256=" + strings.Repeat("ab", 32) + " expires=2027-01-31T12:00:00Z publish,consume:a,b*\ncert *.x admin\nanonymous read:[a-z]\n")
	f.Fuzz(func(t *testing.T, text string) {
		table, err := Parse([]byte(text))
		if err != nil {
			return
		}
		table.Anonymous().May(Read, "x")
		if c, ok := table.ByCertificate([]string{"a"}); ok && table.Again(c, time.Now()) == nil {
			t.Error("a certificate was forgotten")
		}
		for id, c := range table.tokens {
			if _, err := table.ByToken(prefix+id+"_"+strings.Repeat("A", secretLen), time.Now()); err == nil {
				t.Errorf("%v was let in", c)
			}
		}
	})
}
