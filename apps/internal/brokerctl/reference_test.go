package brokerctl

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"brokerd/apps/appkit"
	"brokerd/cmd/cmdtest"
)

// TestThePageOfCommandsIsWhatHelpSays: the page has the help of each command that is not hidden.
func TestThePageOfCommandsIsWhatHelpSays(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Commands of brokerctl\n\nWhat `--help` prints of each command. This page is made of it; [Tools](../APPS.md) tells what they are for.\n")
	commands(t, &b, New(), nil)
	_, common, _ := strings.Cut(help(t, []string{"topic", "list"}), commonFlags)
	fmt.Fprintf(&b, "\n## Flags of every command\n\n```text\n%s\n```\n", strings.Trim(common, "\n"))
	cmdtest.Document(t, "docs/reference/brokerctl.md", []byte(b.String()))
}

// commonFlags begins the part of a help that all commands have.
const commonFlags = "\nFlags of every command:\n"

// commands writes the help of a command and of those below it.
func commands(t *testing.T, b *strings.Builder, c appkit.Command, path []string) {
	if c.Hidden {
		return
	}
	text, _, _ := strings.Cut(help(t, path), commonFlags)
	if len(path) == 0 {
		fmt.Fprintf(b, "\n```text\n%s```\n", text)
	} else {
		fmt.Fprintf(b, "\n%s %s\n\n```text\n%s```\n", strings.Repeat("#", min(1+len(path), 3)), strings.Join(path, " "), text)
	}
	for _, sub := range c.Sub {
		commands(t, b, sub, append(path[:len(path):len(path)], sub.Name))
	}
}

// help is what --help prints, the same on every machine.
func help(t *testing.T, path []string) string {
	t.Helper()
	var out strings.Builder
	proc := appkit.Process{Name: "brokerctl", Args: append(path[:len(path):len(path)], "--help"), Stdin: strings.NewReader(""), Stdout: &out, Stderr: io.Discard}
	if code := appkit.Run(New(), proc); code != appkit.ExitOK {
		t.Fatalf("brokerctl %q --help: exit code %d", path, code)
	}
	text := out.String()
	if host, err := os.Hostname(); err == nil {
		text = strings.ReplaceAll(text, "(default "+host+")", "(default the host's name)")
	}
	if text = strings.TrimRight(text, "\n"); text == "" {
		t.Fatalf("brokerctl %q --help prints nothing", path)
	}
	return text + "\n"
}
