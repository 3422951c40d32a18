package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTroublesAreTheCodes: each answer and each line of a log that docs/troubleshooting.md tells of is one that the code, or the system, says.
func TestTroublesAreTheCodes(t *testing.T) {
	page := text(t, filepath.Join(root, "docs/troubleshooting.md"))
	said := map[string]bool{"address already in use": true, "permission denied": true} // the system's
	for row := range strings.Lines(page) {
		cells := strings.Split(row, " | ")
		if !strings.HasPrefix(row, "| ") || len(cells) < 3 {
			continue
		}
		for _, m := range regexp.MustCompile("`([A-Z_]{6,})`|\"([^\"]+)\"").FindAllStringSubmatch(cells[0], -1) {
			said[m[1]+m[2]] = said[m[1]+m[2]] || false
		}
	}
	if len(said) < 15 {
		t.Fatalf("the page tells of %d texts only", len(said))
	}
	for _, room := range []string{"apps", "broker", "cmd", "diskqueue", "protocol"} {
		err := filepath.WalkDir(filepath.Join(root, room), func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return err
			}
			code, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			for words, found := range said {
				said[words] = found || strings.Contains(string(code), words)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for words, found := range said {
		if !found {
			t.Errorf("docs/troubleshooting.md tells of %q, which nothing says", words)
		}
	}
}
