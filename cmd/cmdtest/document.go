package cmdtest

import (
	"os"
	"path/filepath"
	"testing"
)

// Document holds a text of docs/ that is made of code to what the code says: file is its path from the root of the project, text what it
// should hold. With the variable UPDATE_DOCS, as make docs sets it, the file is written instead.
func Document(t testing.TB, file string, text []byte) {
	t.Helper()
	to := filepath.Join(projectRoot(t), filepath.FromSlash(file))
	if os.Getenv("UPDATE_DOCS") != "" {
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(to)
	if err != nil || string(got) != string(text) {
		t.Errorf("%s does not say what the code says: run make docs", file)
	}
}

// projectRoot returns the folder that has go.mod.
func projectRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	t.Fatalf("there is no go.mod above the test: %v", err)
	return ""
}
