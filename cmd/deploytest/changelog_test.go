package deploytest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestChangelogIsByProgram: make changelog puts fragments below the programs that they are about, in the files' order, and takes no fragment that
// names none. Those that are there can be taken.
func TestChangelogIsByProgram(t *testing.T) {
	awk := tool(t, "awk")
	dir := t.TempDir()
	fragment := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	a := fragment("a.md", "- brokerctl: one.\n- brokerd, lookupd: two,\n  on two lines.\n- docs: three.\n")
	b := fragment("b.md", "- brokerd: four.\n\n- admind: five: six.\n- lookupd: seven.\n- tail: eight.\n- brokerd: nine.\n- all daemons: ten.\n")
	want := `### All daemons

- brokerd, lookupd: two,
  on two lines.
- all daemons: ten.

### brokerd

- brokerd: four.
- brokerd: nine.

### lookupd

- lookupd: seven.

### admind

- admind: five: six.

### brokerctl and the tools

- brokerctl: one.
- tail: eight.

### Packages and documentation

- docs: three.
`
	program := filepath.Join(deploy, "changelog.awk")
	if got := run(t, awk, "-f", program, a, b); got != want {
		t.Errorf("got\n%s", got)
	}
	out, err := exec.CommandContext(t.Context(), awk, "-f", program, fragment("c.md", "Something about brokerd.\n")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "must begin with") {
		t.Errorf("a fragment without a program: %v %s", err, out)
	}
	there, err := filepath.Glob("../../changes/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range there {
		if filepath.Base(path) != "README.md" {
			run(t, awk, "-f", program, path)
		}
	}
}
