package deploytest

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestPackageLife installs the Debian package, edits its settings, starts, publishes, upgrades with the backlog, stops, removes, installs
// again and purges, in a copy of this system that is thrown away, with a network of its own. There is no systemd in it: the scripts say how
// to start by hand, which is done then.
func TestPackageLife(t *testing.T) {
	debs := strings.Fields(os.Getenv("DEPLOY_DEBS")) // two, the older first
	switch {
	case runtime.GOOS != "linux" || os.Getuid() != 0:
		t.Skip("NOT RUN: it takes root on Linux")
	case len(debs) != 2:
		t.Skip("NOT RUN: no packages were made; make deploy-test does that")
	}
	tool(t, "dpkg")
	tool(t, "unshare")
	for i := range debs {
		path, err := filepath.Abs(filepath.Join("../..", debs[i]))
		if err != nil {
			t.Fatal(err)
		}
		debs[i] = path
	}
	script, err := filepath.Abs("testdata/package-life")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "bash", script, t.TempDir(), debs[0], debs[1])
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"There is no systemd here. To start brokerd:", "backlog of 3 after the upgrade", "a deferred message came back", "settings kept",
		"Queues stay in /var/lib/brokerd", "queues kept after purge", "started again on them: 3",
		"/var/lib/brokerd belongs to root, and brokerd runs as the user brokerd: chown -R brokerd:brokerd /var/lib/brokerd", "another owner stays", "an empty folder is its own",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q was not said", want)
		}
	}
}

// TestAnyUserAnyFolder: whoever a container runs as, a folder that cannot be written is one clear line that names it, and nothing in it
// changes its owner.
func TestAnyUserAnyFolder(t *testing.T) {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("NOT RUN: it takes root on Linux")
	}
	setpriv := tool(t, "setpriv")
	folder := foreign(t)
	program, data := filepath.Join(folder, "brokerd"), filepath.Join(folder, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), setpriv, "--reuid=12345", "--regid=12345", "--clear-groups", program,
		"--data-path="+data, "--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0", "--https-address=")
	out, err := cmd.CombinedOutput()
	text := string(out)
	if err == nil || strings.Count(text, "level=FATAL") != 1 || !strings.Contains(text, data) || !strings.Contains(text, "permission denied") {
		t.Errorf("%v\n%s", err, text)
	}
	if owner := run(t, "stat", "-c", "%u", data); strings.TrimSpace(owner) != "0" {
		t.Errorf("the folder belongs to %s now", owner)
	}
}
