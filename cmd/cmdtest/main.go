package cmdtest

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"brokerd/cmd/leaktest"
)

// prefix begins the names of the folders of all runs.
const prefix = "brokerd-test-"

// binaries is the folder of what was built, set once before any test runs.
var binaries string

// builtVariable names, in the environment, a folder where whoever runs the tests has just built all commands: make test does that once
// for all packages.
const builtVariable = "TEST_BINARIES"

// Main builds commands, each named by its folder as in cmd/brokerd, runs the tests and ends the process. It builds nothing where the
// environment has TEST_BINARIES, a folder with all commands. It fails when a test leaves a goroutine, or a file in the temporary
// folder.
func Main(m *testing.M, commands ...string) { os.Exit(Run(m.Run, commands...)) }

// Run is Main for a package that has something to do before its tests or behind them: run does that, and runs them. It returns the
// exit code.
func Run(run func() int, commands ...string) int {
	home, err := os.MkdirTemp("", prefix)
	if err != nil {
		return failed(err)
	}
	release, err := hold(home)
	if err != nil {
		return failed(errors.Join(err, os.RemoveAll(home)))
	}
	defer release()
	clearOld(os.TempDir())
	code := runIn(home, run, commands)
	if err := os.RemoveAll(home); err != nil {
		return max(code, failed(err))
	}
	return code
}

// runIn runs the tests with home for everything temporary.
func runIn(home string, run func() int, commands []string) int {
	binaries = cmp.Or(os.Getenv(builtVariable), filepath.Join(home, "bin"))
	temporary := filepath.Join(home, "tmp")
	if err := errors.Join(build(commands), os.Mkdir(temporary, 0o700), os.Setenv("TMPDIR", temporary),
		os.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "config")), // whoever runs the tests may have contexts of brokerctl
		setAll(Unhurried)); err != nil {
		return failed(err)
	}
	code := run()
	if code != 0 {
		return code
	}
	if err := errors.Join(leftIn(temporary), leaktest.Find()); err != nil {
		return failed(err)
	}
	return code
}

// Unhurried is the environment of tools that wait for daemons as long as a busy machine may need. Processes that tests start have it; a tool that
// runs within the test is given it. A flag counts more.
var Unhurried = []string{
	"BROKERCTL_HTTP_CLIENT_CONNECT_TIMEOUT=" + Patience.String(), "BROKERCTL_HTTP_CLIENT_REQUEST_TIMEOUT=" + Patience.String(),
	"BROKERCTL_RETRY=" + Patience.String(),
}

func setAll(environ []string) (err error) {
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		err = errors.Join(err, os.Setenv(name, value))
	}
	return err
}

// failed says why the tests did not run, or what they left, and returns the exit code for that.
func failed(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// build builds commands, unless that is done.
func build(commands []string) error {
	if len(commands) == 0 || os.Getenv(builtVariable) != "" {
		return nil
	}
	args := []string{"build", "-o", binaries + string(filepath.Separator)}
	for _, c := range commands {
		args = append(args, "brokerd/"+c)
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("build %q: %w\n%s", commands, err, out)
	}
	return nil
}

// leftIn returns an error that names what is in a folder.
func leftIn(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		return err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return fmt.Errorf("the tests left %q in the temporary folder", names)
}

// Find returns the path of a command that was built. The test is skipped when it is one of NSQ's that is not on PATH.
func Find(t testing.TB, name string) string {
	t.Helper()
	if !strings.HasPrefix(name, "nsq") && name != "to_nsq" {
		path := filepath.Join(binaries, name)
		if _, err := os.Stat(path); err != nil { // the look also has go test run again what it has run over other binaries
			t.Fatalf("no %s was built for this test: %v", name, err)
		}
		return path
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("NOT RUN: %s is not on PATH; it is one of NSQ's own", name)
	}
	return path
}
