package deploytest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
)

const deploy = "../../deploy"

var daemons = []string{"brokerd", "lookupd", "admind"}

func TestMain(m *testing.M) {
	cmdtest.Main(m, "cmd/brokerd", "cmd/lookupd", "cmd/admind", "apps/brokerctl")
}

// tool returns the path of a program that the test cannot do without.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("NOT RUN: there is no %s on PATH; make deploy-test has it", name)
	}
	return path
}

// run runs a command that must succeed and returns what it printed.
func run(t *testing.T, command string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), command, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", command, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// read returns a file of deploy/.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deploy, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// shutdownTimeout is how long a daemon takes for a stop at most, as it says itself.
func shutdownTimeout(t *testing.T, daemon string) time.Duration {
	t.Helper()
	help := strings.Join(strings.Fields(run(t, cmdtest.Find(t, daemon), "--help")), " ")
	found := regexp.MustCompile(`--shutdown-timeout=DURATION [^(]*\(default ([0-9a-z]+)\)`).FindStringSubmatch(help)
	if found == nil {
		t.Fatalf("%s --help does not tell the default of --shutdown-timeout", daemon)
	}
	d, err := time.ParseDuration(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestUnitsAreGood: systemd takes them, they are hardened, and their stop is longer than the daemon's, so that it never becomes a kill.
func TestUnitsAreGood(t *testing.T) {
	analyze := tool(t, "systemd-analyze")
	dir := t.TempDir()
	for _, name := range daemons {
		unit := read(t, "systemd/"+name+".service")
		path := filepath.Join(dir, name+".service")
		here := strings.ReplaceAll(strings.ReplaceAll(unit, "/usr/bin/"+name, cmdtest.Find(t, name)), "Documentation=man:", "# man:") // not installed
		if err := os.WriteFile(path, []byte(here), 0o600); err != nil {
			t.Fatal(err)
		}
		stop := regexp.MustCompile(`(?m)^TimeoutStopSec=(\d+)$`).FindStringSubmatch(unit)
		if stop == nil {
			t.Errorf("%s has no TimeoutStopSec", name)
			continue
		}
		if seconds, _ := strconv.Atoi(stop[1]); time.Duration(seconds)*time.Second < shutdownTimeout(t, name)+10*time.Second {
			t.Errorf("%s is killed after %s s, and takes up to %v", name, stop[1], shutdownTimeout(t, name))
		}
		for _, line := range []string{"User=brokerd", "Restart=on-failure", "RestartPreventExitStatus=2", "LimitNOFILE=262144", "NoNewPrivileges=yes", "ExecReload=/bin/kill -HUP $MAINPID"} {
			if !strings.Contains(unit, "\n"+line+"\n") {
				t.Errorf("%s lacks %s", name, line)
			}
		}
	}
	for _, name := range daemons {
		path := filepath.Join(dir, name+".service")
		if out := run(t, analyze, "verify", path); strings.Contains(out, dir) {
			t.Errorf("%s", out)
		}
		run(t, analyze, "security", "--offline=true", "--threshold=25", path) // 0 is best, 100 worst; fails above the threshold
	}
}

// TestUnitsFailWhenTheirFileIsMissing: exit code 2, after which the units are not started again, and the reason names the file.
func TestUnitsFailWhenTheirFileIsMissing(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.toml")
	for _, name := range daemons {
		p := cmdtest.Tool(t, name, "--config="+missing)
		if code := p.Wait(t, 0); code != 2 || !strings.Contains(p.LastWords(), missing) {
			t.Errorf("%s: exit code %d, %s", name, code, p.LastWords())
		}
	}
}

// TestPackagedSettingsAreUnderstood: each daemon takes its file as the package brings it, knows every key, and serves this machine only.
func TestPackagedSettingsAreUnderstood(t *testing.T) {
	for _, name := range daemons {
		text := read(t, "etc/"+name+".toml")
		for _, address := range regexp.MustCompile(`(?m)^\w+_address = "([^"]*)"`).FindAllStringSubmatch(text, -1) {
			if !strings.HasPrefix(address[1], "127.0.0.1:") {
				t.Errorf("%s listens on %s unasked", name, address[1])
			}
		}
		// An address of its own for each keeps it from the ports that another test or a daemon has.
		args := []string{"--config=" + filepath.Join(deploy, "etc", name+".toml"), "--http-address=127.0.0.1:0"}
		switch name {
		case "brokerd":
			args = append(args, "--tcp-address=127.0.0.1:0", "--https-address=", "--data-path="+t.TempDir())
		case "lookupd":
			args = append(args, "--tcp-address=127.0.0.1:0")
		}
		p := cmdtest.Tool(t, name, args...)
		cmdtest.Eventually(t, name+" serves", 0, func() bool {
			return p.Ended() || regexp.MustCompile(`msg="?(serving|lookup started|admin started)`).MatchString(p.LastWords())
		})
		words := regexp.MustCompile(`(?m)^.*do not outlive this container.*$`).ReplaceAllString(p.LastWords(), "") // where the test runs in one
		if strings.Contains(words, "level=WARN") || p.Ended() {
			t.Errorf("%s: %s", name, p.LastWords())
		}
		p.Stop(t)
	}
}
