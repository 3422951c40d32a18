package docs

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"brokerd/admin/docs/build"
)

// within bounds how long anything on a page may take: a build on a busy machine, a package that is fetched.
const within = 10 * time.Minute

// shell is a reader's terminals on one page: one for the blocks in order, and one for each in the background.
type shell struct {
	dir        string // where blocks run; a block may change it, for those behind it
	state      string // file with the variables that blocks leave
	env        []string
	output     string // of the last block
	background []*terminal
	network    chan func() // runs what needs the machine's own network, on a thread that has it
}

// terminal is a command in the background.
type terminal struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	mu   sync.Mutex
	text bytes.Buffer
	fed  chan struct{} // has a token when there is more
}

func (t *terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case t.fed <- struct{}{}:
	default:
	}
	return t.text.Write(p)
}

func (t *terminal) printed() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// newShell opens a terminal in the project itself, or elsewhere with its commands on PATH.
func newShell(t *testing.T, checkout string, inside bool) *shell {
	t.Helper()
	s := &shell{dir: checkout, state: filepath.Join(t.TempDir(), "state"), network: make(chan func())}
	search := os.Getenv("PATH")
	if !inside {
		s.dir = t.TempDir()
		search = filepath.Join(checkout, "bin") + string(filepath.ListSeparator) + search
	}
	out, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	caches := strings.Fields(string(out))
	s.env = []string{"PATH=" + search, "HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir(), "TERM=dumb", "LC_ALL=C.UTF-8",
		"GOCACHE=" + caches[0], "GOMODCACHE=" + caches[1], "GOPROXY=" + os.Getenv("GOPROXY"),
		"GOFLAGS=" + strings.TrimSpace(os.Getenv("GOFLAGS")+" -trimpath")} // or all that was compiled for make test, with it, were compiled once more
	for _, name := range []string{"npm_config_registry", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "http_proxy", "https_proxy", "no_proxy"} {
		if value, ok := os.LookupEnv(name); ok {
			s.env = append(s.env, name+"="+value)
		}
	}
	go func() {
		for f := range s.network {
			f()
		}
	}()
	t.Cleanup(func() { close(s.network) })
	return s
}

// write puts a file where blocks run.
func (s *shell) write(t *testing.T, name, text string) {
	t.Helper()
	to := filepath.Join(s.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// command is bash with a script, in a group of its own, so that it can be ended with all that it started.
func (s *shell) command(script string) *exec.Cmd {
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir, cmd.Env = s.dir, s.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.WaitDelay = 5 * time.Second // for what it left running, which holds its output
	return cmd
}

// has reports whether a command succeeds.
func (s *shell) has(t *testing.T, probe string) bool {
	t.Helper()
	return s.command(probe).Run() == nil
}

// run runs a block, and fails the test unless it ends as it should. It returns why a block that needs the network could not be run.
func (s *shell) run(t *testing.T, where string, b build.Block) (notRun string) {
	t.Helper()
	if b.Has("stopped") {
		s.stop(t)
	}
	if b.Has("background") {
		s.start(t, where, b)
		return ""
	}
	began := time.Now()
	script := "set -eo pipefail\n[ ! -f '" + s.state + "' ] || . '" + s.state + "'\n" + b.Text + "\n{ export -p; echo \"cd '$PWD'\"; } > '" + s.state + "'\n"
	cmd := s.command(script)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	var err error
	if b.Has("network") {
		done := make(chan struct{})
		s.network <- func() { err = ended(cmd); close(done) }
		<-done
	} else {
		err = ended(cmd)
	}
	s.output = out.String()
	if err != nil && b.Has("network") && regexp.MustCompile(`(?i)network|resolve|ENOTFOUND|dial tcp|timed? ?out|EAI_AGAIN|ECONNREFUSED`).MatchString(s.output) {
		return "the network does not give what it needs: " + lastLine(s.output)
	}
	if failed := err != nil; failed != b.Has("fails") {
		t.Errorf("%s: %v\n%s%s", where, err, b.Text, s.output)
		for _, other := range s.background {
			t.Logf("meanwhile in the other terminal:\n%s", other.printed())
		}
	}
	t.Logf("%s: %.1f s", where, time.Since(began).Seconds())
	return ""
}

// ended runs a command to its end, or ends it with all that it started when it takes too long.
func ended(cmd *exec.Cmd) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	cmd.WaitDelay = 10 * time.Second // behind the end of the script, for what it has left running and would be waited for until within
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }()                         // nothing of a block outlives it; mostly there is nothing
	stop := context.AfterFunc(ctx, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }) // it is gone otherwise
	defer stop()
	return errors.Join(cmd.Wait(), ctx.Err())
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// start runs a block in a terminal of its own and returns once it has printed what the page waits for.
func (s *shell) start(t *testing.T, where string, b build.Block) {
	t.Helper()
	ready, err := regexp.Compile(b.Value("ready"))
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	script := "set -eo pipefail\n[ ! -f '" + s.state + "' ] || . '" + s.state + "'\n" + b.Text
	term := &terminal{cmd: s.command(script), done: make(chan struct{}), fed: make(chan struct{}, 1)}
	term.cmd.Stdout, term.cmd.Stderr = term, term
	if err := startToInterrupt(term.cmd); err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	go func() {
		_ = term.cmd.Wait() // stop looks at the state
		close(term.done)
	}()
	s.background = append(s.background, term)
	deadline := time.After(within)
	for !ready.MatchString(term.printed()) {
		select {
		case <-term.fed:
		case <-term.done:
			t.Fatalf("%s: it ended:\n%s%s", where, b.Text, term.printed())
		case <-deadline:
			t.Fatalf("%s: it never printed %q:\n%s", where, ready, term.printed())
		}
	}
	s.output = term.printed()
}

// startToInterrupt starts a command that Ctrl-C ends, also when this process was started to ignore it, as nohup and a script's & do: a
// shell that inherits that cannot trap it.
func startToInterrupt(cmd *exec.Cmd) error {
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, os.Interrupt)
	defer signal.Stop(heard)
	return cmd.Start()
}

// stop ends what is in the background as Ctrl-C does. It must end in order.
func (s *shell) stop(t *testing.T) {
	t.Helper()
	for i := len(s.background) - 1; i >= 0; i-- {
		term := s.background[i]
		_ = syscall.Kill(-term.cmd.Process.Pid, syscall.SIGINT) // it has ended otherwise
		select {
		case <-term.done:
		case <-time.After(within):
			_ = syscall.Kill(-term.cmd.Process.Pid, syscall.SIGKILL)
			<-term.done
			t.Errorf("%q did not end after Ctrl-C:\n%s", term.cmd.Args[2], term.printed())
		}
		if code := term.cmd.ProcessState.ExitCode(); code > 0 && code != 130 { // 130 is a shell's own word for Ctrl-C
			t.Errorf("%q ended with %d after Ctrl-C:\n%s", term.cmd.Args[2], code, term.printed())
		}
	}
	s.background = nil
}
