package main

import (
	"path/filepath"
	"strings"
	"testing"

	"brokerd/cmd/cmdkit"
	"brokerd/cmd/cmdtest"
)

// TestVerbs: what check and export answer to right and wrong arguments.
func TestVerbs(t *testing.T) {
	empty, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
	for _, c := range []struct {
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{[]string{"check", empty}, cmdkit.ExitOK, "no damage", ""},
		{[]string{"export", empty, out}, cmdkit.ExitOK, "0 topics, 0 messages", ""},
		{[]string{"export", empty, filepath.Dir(out)}, cmdkit.ExitFailed, "", "is not an empty folder"},
		{[]string{"check", filepath.Join(empty, "none")}, cmdkit.ExitFailed, "", "no such file"},
		{[]string{"check"}, cmdkit.ExitUsage, "", "usage: brokerd check DATA-PATH"},
		{[]string{"export", empty}, cmdkit.ExitUsage, "", "usage: brokerd export DATA-PATH OUT-PATH"},
		{[]string{"check", "--fast", empty}, cmdkit.ExitUsage, "", "-fast"},
		{[]string{"check", "--help"}, cmdkit.ExitOK, "Usage: brokerd check DATA-PATH", ""},
		{[]string{"trace", empty, "t", "1"}, cmdkit.ExitFailed, "", `the folder has no topic "t"`},
		{[]string{"trace", empty, "t"}, cmdkit.ExitUsage, "", "usage: brokerd trace DATA-PATH TOPIC MESSAGE"},
		{[]string{"repair", empty}, cmdkit.ExitOK, "nothing is missing", ""},
		{[]string{"repair", empty, "--accept-loss"}, cmdkit.ExitOK, "nothing is missing", ""},
		{[]string{"repair", "--accept-loss", "--", empty}, cmdkit.ExitOK, "nothing is missing", ""},
		{[]string{"repair", "--accept-loss"}, cmdkit.ExitUsage, "", "usage: brokerd repair DATA-PATH [--accept-loss]"},
		{[]string{"repair", empty, "--lossy"}, cmdkit.ExitUsage, "", "-lossy"},
		{[]string{"--help"}, cmdkit.ExitOK, "brokerd export DATA-PATH OUT-PATH", ""},
		{[]string{"compact", empty}, cmdkit.ExitUsage, "", `"compact" is not a flag`},
	} {
		code, stdout, stderr := cmdtest.Call(run, c.args, nil)
		if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) || c.stderr == "" && stderr != "" {
			t.Errorf("%q: exit code %d\n%s%s", c.args, code, stdout, stderr)
		}
	}
}
