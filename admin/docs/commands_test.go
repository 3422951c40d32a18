package docs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"brokerd/admin/docs/build"
	"brokerd/cmd/cmdtest"
)

func TestMain(m *testing.M) { cmdtest.Main(m) }

// TestCommandsOfThePages runs every command block of the project's texts as a reader would: page by page, in order, on the ports that stand
// there. Each page has a network of its own, with nothing but loopback, so that those ports are free and nothing can reach out. What a
// page says is printed must be printed. Blocks that say why they are not run are counted, and so are those that need what this machine
// does not have: go test -v shows the counts.
func TestCommandsOfThePages(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT RUN: it takes a minute")
	}
	if err := ownNetwork(func() {}); err != nil {
		t.Skip("NOT RUN: the pages' commands need a network of their own: ", err)
	}
	checkout := copyProject(t)
	pages, err := build.Pages(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	var total count
	t.Run("README.md", func(t *testing.T) {
		runPage(t, checkout, "README.md", &total)
		seeNoWarning(t, filepath.Join(checkout, "data", "logs"))
	})
	made := sync.OnceValue(func() error { // README.md has made it already, unless it was left out
		out, err := exec.Command("make", "-C", checkout, "build").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	})
	t.Run("pages", func(t *testing.T) {
		for _, file := range pages {
			t.Run(path.Base(file), func(t *testing.T) {
				t.Parallel()
				if err := made(); err != nil {
					t.Fatal(err)
				}
				runPage(t, checkout, file, &total)
			})
		}
	})
	t.Logf("command blocks of all pages: %d run, %d marked as not run, %d not run for want of something", total.run.Load(), total.marked.Load(),
		total.wanting.Load())
	if total.run.Load() == 0 && !t.Failed() {
		t.Log("no page had a command to run")
	}
}

// seeNoWarning looks at what make run has left in the logs: from its start to Ctrl-C nothing was wrong, so nothing says so.
func seeNoWarning(t *testing.T, folder string) {
	logs, err := filepath.Glob(filepath.Join(folder, "*.log"))
	if err != nil || len(logs) != 3 {
		t.Errorf("make run has left the logs %q, %v", logs, err)
	}
	for _, name := range logs {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") {
				t.Errorf("%s: %s", filepath.Base(name), line)
			}
		}
	}
}

// count is how many blocks were run, and how many not.
type count struct{ run, marked, wanting atomic.Int64 }

// inside are the texts whose commands are for the project's folder; those of others are for any folder, with the commands on PATH.
var inside = []string{"README.md", "docs/install.md"}

// runPage runs the blocks of one page.
func runPage(t *testing.T, checkout, file string, total *count) {
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := build.Blocks(text)
	if err != nil {
		t.Fatal(err)
	}
	s := newShell(t, checkout, slices.Contains(inside, file))
	if err := ownNetwork(func() { runBlocks(t, s, file, blocks, total) }); err != nil {
		t.Fatal(err)
	}
}

func runBlocks(t *testing.T, s *shell, file string, blocks []build.Block, total *count) {
	defer s.stop(t)
	missing := ""
	for _, b := range blocks {
		where := fmt.Sprintf("%s:%d", file, b.Line)
		switch {
		case b.Value("file") != "":
			s.write(t, b.Value("file"), b.Text)
		case b.Language == "text" && b.Has("output") && missing == "":
			if wrong := differs(b.Text, s.output); wrong != "" {
				t.Errorf("%s: %s\n--- the page says\n%s--- it printed\n%s", where, wrong, b.Text, s.output)
			}
		case b.Language != "sh":
		case b.Has("not-run"):
			total.marked.Add(1)
			t.Logf("%s: not run: %s", where, b.Value("not-run"))
		default:
			if missing == "" && b.Value("needs") != "" && !s.has(t, b.Value("needs")) {
				missing = b.Value("needs")
			}
			if missing != "" {
				total.wanting.Add(1)
				t.Logf("%s: NOT RUN: this machine fails %q", where, missing)
				continue
			}
			if reason := s.run(t, where, b); reason != "" {
				missing = reason
				total.wanting.Add(1)
				t.Logf("%s: NOT RUN: %s", where, reason)
				continue
			}
			total.run.Add(1)
		}
		if t.Failed() {
			return
		}
	}
}

// TestCommandsAreCalledSo: a block of the pages that is called text, and so not run, has no commands. Those of the references are in the help texts, from
// which the pages are made.
func TestCommandsAreCalledSo(t *testing.T) {
	pages, err := build.Pages(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	commands := []string{"brokerd", "lookupd", "admind", "brokerctl", "make", "curl", "docker", "kubectl", "helm", "nsqd", "sudo"}
	for _, file := range append(pages, "README.md") {
		if strings.HasPrefix(file, "docs/reference/") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		blocks, err := build.Blocks(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blocks {
			first, _, _ := strings.Cut(strings.TrimSpace(b.Text), " ")
			if b.Language != "sh" && !b.Has("output") && b.Value("file") == "" && slices.Contains(commands, first) {
				t.Errorf("%s:%d: commands are called %q, and so are not run", file, b.Line, b.Language)
			}
		}
	}
}

// copyProject returns a folder with the project as a fresh clone has it.
func copyProject(t *testing.T) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "brokerd")
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inner, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if inner == ".git" || inner == "bin" || inner == "data" {
				return filepath.SkipDir
			}
			return os.MkdirAll(filepath.Join(to, inner), 0o755)
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a file of a test that runs beside
		}
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, inner), text, info.Mode())
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// ownNetwork calls f on a thread that has a network of its own, and gives up the thread.
func ownNetwork(f func()) error {
	done := make(chan struct{})
	var err error
	go func() {
		defer close(done)      // also when f ends the test
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and its network with what was started there
		if err = newNetwork(); err == nil {
			f()
		}
	}()
	<-done
	return err
}

// differs says how an output is not what the page says: line by line, where ... stands for anything, and alone on a line for any lines.
func differs(page, output string) string {
	want, got := strings.Split(strings.TrimSpace(page), "\n"), strings.Split(strings.TrimSpace(output), "\n")
	if !matchLines(want, got) {
		return "it prints something else"
	}
	return ""
}

func matchLines(want, got []string) bool {
	if len(want) == 0 {
		return len(got) == 0
	}
	if strings.TrimSpace(want[0]) == "..." {
		for skip := 0; skip <= len(got); skip++ {
			if matchLines(want[1:], got[skip:]) {
				return true
			}
		}
		return false
	}
	return len(got) > 0 && matchLine(want[0], got[0]) && matchLines(want[1:], got[1:])
}

func matchLine(want, got string) bool {
	parts := strings.Split(strings.TrimSpace(want), "...")
	got = strings.TrimSpace(got)
	for i, part := range parts {
		at := strings.Index(got, part)
		switch {
		case at < 0, i == 0 && at > 0:
			return false
		case i == len(parts)-1 && i > 0:
			return strings.HasSuffix(got, part)
		}
		got = got[at+len(part):]
	}
	return got == ""
}

func TestOutputsAreCompared(t *testing.T) {
	for _, c := range []struct {
		page, output string
		same         bool
	}{
		{"OK", "OK\n", true},
		{"OK", "OK\nmore\n", false},
		{"a ... c\n", "a b c\n", true},
		{"a ... c", "a b d", false},
		{"a\n...\nz", "a\nb\nc\nz\n", true},
		{"a\n...", "a", true},
		{"a...", "ab", true},
		{"a", "ab", false},
		{"", "", true},
	} {
		if got := differs(c.page, c.output) == ""; got != c.same {
			t.Errorf("%q and %q: same %v, want %v", c.page, c.output, got, c.same)
		}
	}
}
