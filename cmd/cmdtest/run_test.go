package cmdtest

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"brokerd/cmd/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// TestNothingIsLeftOfARun: whatever the tests do, the folder goes; and a run that leaves something there has failed.
func TestNothingIsLeftOfARun(t *testing.T) {
	for _, c := range []struct {
		name  string
		tests func() int
		code  int
	}{
		{"all well", func() int { return 0 }, 0},
		{"failed", func() int { return 2 }, 2},
		{"a file", func() int { touch(t, os.TempDir()); return 0 }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("TMPDIR", dir)
			if code := Run(c.tests); code != c.code {
				t.Errorf("exit code %d", code)
			}
			if left, err := os.ReadDir(dir); len(left) > 0 || err != nil {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}

// touch makes a file in a folder.
func touch(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestEventually(t *testing.T) {
	asked := 0
	Eventually(t, "asked three times", time.Minute, func() bool { asked++; return asked == 3 })
	if asked != 3 {
		t.Errorf("asked %d times", asked)
	}
}
