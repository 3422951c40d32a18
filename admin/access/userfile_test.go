package access

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// hashOf is a cheap hash, for tests that try passwords.
func hashOf(t testing.TB, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

const someHash = "$2a$04$abcdefghijklmnopqrstuuSmBmXmlkcYWZUVpv0hl8CbyLbqXuSyi"

func TestParseUsers(t *testing.T) {
	users, err := ParseUsers([]byte("# people\n\nalice:" + someHash + ":operator\r\n  bob:" + strings.Replace(someHash, "$2a", "$2y", 1) + "\ncarol:" + someHash + ":viewer"))
	if err != nil || len(users) != 3 || users[0].Name != "alice" || users[0].Roles != "operator" || users[1].Roles != "viewer" || users[2].Roles != "viewer" {
		t.Errorf("%+v, %v", users, err)
	}
	for text, want := range map[string]string{
		"alice":                             "line 1: not NAME:HASH:ROLE",
		"\nalice:secret:operator":           "line 2: the second field is no bcrypt hash",
		"alice:" + someHash + ":root":       `line 1: "root" is neither viewer, reader nor operator`,
		"alice:" + someHash + ":viewer:x":   "line 1: not NAME:HASH:ROLE",
		"al ice:" + someHash:                "line 1: a name has no colon, space",
		":" + someHash:                      "line 1: a name has 1 to",
		"a:" + someHash + "\na:" + someHash: "line 2: a was there before",
		"a:" + someHash + "x":               "line 1: the second field is no bcrypt hash",
	} {
		if _, err := ParseUsers([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// FuzzParseUsers: what is taken is written and read again as the same.
func FuzzParseUsers(f *testing.F) {
	f.Add([]byte("alice:" + someHash + ":operator\n# x\nbob:" + someHash))
	f.Add([]byte("a:b:c"))
	f.Fuzz(func(t *testing.T, text []byte) {
		users, err := ParseUsers(text)
		if err != nil {
			return
		}
		var again []byte
		for _, u := range users {
			again = AppendUser(again, u)
		}
		if got, err := ParseUsers(again); err != nil || !reflect.DeepEqual(got, users) {
			t.Errorf("%q became %q: %v", text, again, err)
		}
	})
}

// TestSetUser: a user is added or changed, whatever else stands in the file stays, and nobody else can read it.
func TestSetUser(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	if err := setUser(path, "alice", "first password", "viewer", bcrypt.MinCost); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	bob := "bob:" + someHash + ":operator"
	if err := os.WriteFile(path, append([]byte("# ours\n"), append(text, bob...)...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := setUser(path, "alice", "second password", "operator", bcrypt.MinCost); err != nil {
		t.Fatal(err)
	}
	if err := setUser(path, "carol", "third password", "viewer", bcrypt.MinCost); err != nil {
		t.Fatal(err)
	}
	text, err = os.ReadFile(path)
	if err != nil || !bytes.HasPrefix(text, []byte("# ours\nalice:")) || !bytes.Contains(text, []byte(bob+"\ncarol:")) {
		t.Fatalf("%v: %s", err, text)
	}
	users, err := ParseUsers(text)
	if err != nil || len(users) != 3 || roleOf(users[0].Grants) != Operator || bcrypt.CompareHashAndPassword(users[0].Hash, []byte("second password")) != nil {
		t.Errorf("%+v, %v", users, err)
	}
	if state, err := os.Stat(path); err != nil || state.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", state.Mode(), err)
	}
	for _, wrong := range []struct{ name, password string }{
		{"", "good password"}, {"a:b", "good password"}, {"alice", "short"}, {"alice", strings.Repeat("x", 73)},
	} {
		if setUser(path, wrong.name, wrong.password, "viewer", bcrypt.MinCost) == nil {
			t.Errorf("%+v was taken", wrong)
		}
	}
	if setUser(path, "alice", "good password", "root", bcrypt.MinCost) == nil {
		t.Error("a role that is none was taken")
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, text) {
		t.Errorf("a refused user changed the file: %v", err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestTheFileMayChange: a change counts soon, and a file that is wrong or gone leaves the last good one in force.
func TestTheFileMayChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := openUsers(path, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a file that is not there was taken at the start")
	}
	write("alice:" + someHash + ":operator\n")
	var log bytes.Buffer
	f, err := openUsers(path, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	has := func(name string) bool {
		now = now.Add(checkEvery)
		_, ok := f.find(name, now)
		return ok
	}
	if !has("alice") || has("bob") {
		t.Error("the first file")
	}
	write("bob:" + someHash + ":viewer\n\n")
	if has("alice") || !has("bob") {
		t.Error("the second file")
	}
	write("nonsense")
	if !has("bob") || !strings.Contains(log.String(), "line 1") {
		t.Errorf("a wrong file; log %s", &log)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if !has("bob") {
		t.Error("a file that is gone")
	}
	write("carol:" + someHash + ":viewer\n")
	if !has("carol") {
		t.Error("a file that is there again")
	}
}

// TestWhatIsWrongWithTheFileIsSaidOnce, and not each second: one that everybody can write counts no more from then on, also when nothing else has
// changed of it.
func TestWhatIsWrongWithTheFileIsSaidOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, []byte("alice:"+someHash+":operator\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	f, err := openUsers(path, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, step := range []struct {
		name   string
		change func() error
		says   string // of the log, once
		user   string // whom the file has then
	}{
		{"chmod", func() error { return os.Chmod(path, 0o602) }, "can be written by everybody", "alice"},
		{"written by everybody", func() error { return os.WriteFile(path, []byte("mallory:"+someHash+":operator\n"), 0) }, "can be written by everybody", "alice"},
		{"put right", func() error { return os.Chmod(path, 0o600) }, "", "mallory"},
		{"gone", func() error { return os.Remove(path) }, "no such file", "mallory"},
		{"a folder", func() error { return os.Mkdir(path, 0o700) }, "no regular file", "mallory"},
		{"gone again", func() error { return os.Remove(path) }, "no such file", "mallory"},
		{"there again", func() error { return os.WriteFile(path, []byte("bob:"+someHash+":viewer\n"), 0o600) }, "", "bob"},
	} {
		if err := step.change(); err != nil {
			t.Fatal(err)
		}
		log.Reset()
		for range 5 {
			now = now.Add(checkEvery)
			if _, ok := f.find(step.user, now); !ok {
				t.Errorf("%s: %s is not known", step.name, step.user)
			}
		}
		if n := strings.Count(log.String(), "\n"); n > 1 || n == 0 == (step.says != "") || !strings.Contains(log.String(), step.says) {
			t.Errorf("%s: the log has %d lines\n%s", step.name, n, &log)
		}
	}
}

// TestNobodyWaitsForWhoReadsTheUsers: a disk that does not answer holds up the one that looks, and others are known as they were before.
func TestNobodyWaitsForWhoReadsTheUsers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, []byte("alice:"+someHash+":operator\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := openUsers(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	f.look.Lock() // as who reads does
	defer f.look.Unlock()
	if _, ok := f.find("alice", time.Now().Add(time.Hour)); !ok {
		t.Error("alice is not known meanwhile")
	}
}
