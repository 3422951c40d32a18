package interop

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"brokerd/cmd/cmdtest"
)

// libraries are client libraries that are not Go's. A script over one is a process, without its arguments; where the library cannot be had the
// test is skipped.
var libraries = []library{{"nsqjs", nsqjsScript}, {"pynsq", pynsqScript}}

type library struct {
	name   string
	script func(t *testing.T, name string) *exec.Cmd // name is in testdata, as order/reader
}

// nsqjsVersion is the one that the page on Node.js installs.
const nsqjsVersion = "0.13.0"

// nsqjsFolder is where nsqjs was installed, for all tests; empty: nowhere.
var nsqjsFolder string

// installNsqjs sees to it, once, that node finds nsqjs: where NODE_PATH names it, or in nsqjsFolder.
var installNsqjs = sync.OnceValue(func() error {
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is not on PATH", program)
		}
	}
	if exec.Command("node", "-e", `require("nsqjs")`).Run() == nil {
		return nil
	}
	dir, err := os.MkdirTemp("", "nsqjs-")
	if err != nil {
		return err
	}
	nsqjsFolder = dir
	install := exec.Command("npm", "install", "--silent", "--no-fund", "--no-audit", "--no-optional", "nsqjs@"+nsqjsVersion)
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		return fmt.Errorf("npm cannot install nsqjs here: %w\n%s", err, out)
	}
	return nil
})

func removeLibraries() error {
	if nsqjsFolder == "" {
		return nil
	}
	return os.RemoveAll(nsqjsFolder)
}

func nsqjsScript(t *testing.T, name string) *exec.Cmd {
	t.Helper()
	if err := installNsqjs(); err != nil {
		t.Skipf("NOT RUN: %v", err)
	}
	cmd := exec.Command("node", scriptPath(name, ".js"))
	if nsqjsFolder != "" {
		cmd.Env = append(os.Environ(), "NODE_PATH="+filepath.Join(nsqjsFolder, "node_modules"))
	}
	return cmd
}

func pynsqScript(t *testing.T, name string) *exec.Cmd {
	t.Helper()
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.CommandContext(t.Context(), python, "-c", "import nsq; nsq.Reader").Run() == nil {
			return exec.Command(python, scriptPath(name, ".py"))
		}
	}
	t.Skip("NOT RUN: no python3 here has pynsq: install it, or name its folder with PYTHONPATH")
	return nil
}

func scriptPath(name, suffix string) string {
	return filepath.Join("testdata", filepath.FromSlash(name)+suffix)
}

// startScript starts a script and calls line with each line that it prints. It ends with the test, or by end, which returns once all was told.
func startScript(t *testing.T, cmd *exec.Cmd, line func(text string)) (end func()) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs printed
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			line(lines.Text())
		}
	}()
	end = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		<-done
		_ = cmd.Wait()
	})
	t.Cleanup(func() {
		end()
		if t.Failed() {
			t.Logf("%s said\n%.2000s", strings.Join(cmd.Args, " "), errs.String())
		}
	})
	return end
}

// printed is what a process has printed so far.
type printed struct{ cmdtest.Screen }

// lines returns how often each line was printed.
func (p *printed) lines() map[string]int {
	n := map[string]int{}
	for line := range strings.Lines(p.String()) {
		n[strings.TrimSuffix(line, "\n")]++
	}
	return n
}
