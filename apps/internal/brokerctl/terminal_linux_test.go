package brokerctl

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/apptest"
	"brokerd/cmd/cmdtest"
)

// atTerminal runs brokerctl with a person in front of it, who answers the question with a line. It returns the exit code and all that
// stood on the screen.
func atTerminal(t *testing.T, columns int, answer string, environ []string, args ...string) (code int, screen string) {
	t.Helper()
	terminal := cmdtest.OpenTerminal(t, columns, 24)
	read := make(chan string)
	go func() {
		var all strings.Builder
		reader := bufio.NewReader(terminal.Person)
		for {
			r, _, err := reader.ReadRune()
			if err != nil || r == 0x04 {
				read <- all.String()
				return
			}
			all.WriteRune(r)
			if answer != "" && strings.HasSuffix(all.String(), "to go on: ") {
				io.WriteString(terminal.Person, answer+"\n") // a failure shows as a test that hangs until its deadline
			}
		}
	}()
	code = appkit.Run(New(), appkit.Process{Args: args, Environ: slices.Concat(cmdtest.Unhurried, environ), Stdin: terminal.Tool, Stdout: terminal.Tool, Stderr: terminal.Tool})
	fmt.Fprint(terminal.Tool, "\x04") // ends what is read
	return code, strings.ReplaceAll(<-read, "\r\n", "\n")
}

// TestWhatDestroysAsksFirst: on a terminal each of these asks, and only yes goes on; --yes answers beforehand; without a terminal
// --yes must be there.
func TestWhatDestroysAsksFirst(t *testing.T) {
	broker := cmdtest.Broker(t, "brokerd", nil)
	at := "--nsqd-http-address=" + broker.HTTP
	for _, verb := range []string{"channel delete orders billing", "channel empty orders billing", "topic empty orders", "topic delete orders"} {
		args := append(strings.Fields(verb), at)
		broker.Create(t, "orders", "billing")
		apptest.Publish(t, broker, "orders", "one")
		before := func() bool { return broker.Channel(t, "orders", "billing").Depth == 1 }
		cmdtest.Eventually(t, "the channel has the message", 0, before)
		code, screen := atTerminal(t, 80, "no", nil, args...)
		if code != appkit.ExitFailed || !strings.Contains(screen, "? Type yes to go on: no") || !strings.Contains(screen, "nothing was done") || !before() {
			t.Errorf("%s, answered no: %d, %s", verb, code, screen)
		}
		if got := ctl(t, appkit.ExitUsage, args...); !strings.Contains(got, "add --yes") || !before() {
			t.Errorf("%s without a terminal: %s", verb, got)
		}
		if got := ctl(t, appkit.ExitOK, append(args, "--dry-run")...); !strings.Contains(got, "POST http://") || !before() {
			t.Errorf("%s as a dry run: %s", verb, got)
		}
		if code, screen := atTerminal(t, 80, "yes", nil, args...); code != appkit.ExitOK {
			t.Errorf("%s, answered yes: %d, %s", verb, code, screen)
		}
		broker.Create(t, "orders", "billing")
		if code, screen := atTerminal(t, 80, "", nil, append(args, "--yes")...); code != appkit.ExitOK || strings.Contains(screen, "?") {
			t.Errorf("%s --yes: %d, %s", verb, code, screen)
		}
		if verb != "topic delete orders" {
			broker.Act(t, "/topic/delete", "orders", "")
		}
	}
}

// TestTablesFitTheTerminal: no line is wider than the terminal, what is left out is named, and nothing is where there is room, or no
// terminal.
func TestTablesFitTheTerminal(t *testing.T) {
	broker := cmdtest.Broker(t, "brokerd", nil)
	long := strings.Repeat("long-", 12) + "name"
	broker.Create(t, long, strings.Repeat("channel-", 8))
	at := "--nsqd-http-address=" + broker.HTTP
	plain := []string{"NO_COLOR=1"}
	for _, args := range [][]string{{"topic", "stats", at}, {"node", "stats", at}, {"node", "list", at}} {
		for _, columns := range []int{30, 60, 80, 120, 300} {
			code, screen := atTerminal(t, columns, "", plain, args...)
			cut := strings.Contains(screen, "…") || strings.Contains(screen, "not shown: ")
			widest := 0
			for line := range strings.Lines(screen) {
				widest = max(widest, len([]rune(strings.TrimSuffix(line, "\n"))))
			}
			if code != appkit.ExitOK || widest > columns || columns == 300 && cut || columns <= 60 && !cut {
				t.Errorf("%q in %d columns: code %d, widest %d, cut %v\n%s", args, columns, code, widest, cut, screen)
			}
		}
		if out := ctl(t, appkit.ExitOK, args...); strings.Contains(out, "…") || strings.Contains(out, "not shown") {
			t.Errorf("%q in a pipe: %s", args, out)
		}
	}
}

// TestColoursAreOnTerminalsOnly, and not where NO_COLOR is set.
func TestColoursAreOnTerminalsOnly(t *testing.T) {
	args := []string{"topic", "pause", "orders", "--nsqd-http-address=" + cmdtest.FreeAddress(t)}
	for _, c := range []struct {
		environ []string
		want    bool
	}{{nil, true}, {[]string{"NO_COLOR=1"}, false}, {[]string{"NO_COLOR="}, true}, {[]string{"TERM=dumb"}, false}} {
		code, screen := atTerminal(t, 80, "", c.environ, args...)
		if code != appkit.ExitFailed || strings.Contains(screen, "\x1b[") != c.want {
			t.Errorf("%q: %d, %q", c.environ, code, screen)
		}
	}
	if out := ctl(t, appkit.ExitFailed, args...); strings.Contains(out, "\x1b") {
		t.Errorf("in a pipe: %q", out)
	}
}
