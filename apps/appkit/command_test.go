package appkit

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
	"brokerd/protocol/release"
)

func TestMain(m *testing.M) { cmdtest.Main(m, "cmd/brokerd", "cmd/lookupd") }

// outcome is what one run of a command left.
type outcome struct {
	code           int
	stdout, stderr string
}

func runCommand(c Command, signals chan os.Signal, args ...string) outcome {
	var stdout, stderr bytes.Buffer
	code := Run(c, Process{Args: args, Stdout: &stdout, Stderr: &stderr, Signals: signals})
	return outcome{code, stdout.String(), stderr.String()}
}

// hello is the command of the package's comment with more flags.
func hello() Command {
	return Command{
		Name: "hello", Summary: "print a greeting", Help: "hello prints a greeting.", Example: "hello --to=world",
		Setup: func(flags *flag.FlagSet) RunFunc {
			var also Strings
			to := flags.String("to", "", "the `name` to greet")
			pause := flags.Duration("some-pause", time.Second, "how long to wait")
			flags.Var(&also, "also", "another `name`")
			return func(_ context.Context, env *Env) error {
				if *to == "" {
					return Usagef("--to is required")
				}
				if *to == "ghost" {
					return Missingf("there is no %s", *to)
				}
				if *to == "nobody" {
					return errors.New("nobody is there")
				}
				_, err := fmt.Fprintln(env.Stdout, "hello", *to, also, *pause)
				return err
			}
		},
	}
}

func TestExitCodesAndTexts(t *testing.T) {
	for _, c := range []struct {
		name           string
		args           string
		code           int
		stdout, stderr string // parts of them
	}{
		{"work", "--to=world -also a --also=b", ExitOK, "hello world [a b] 1s", ""},
		{"settings that do not fit", "", ExitUsage, "", "hello: --to is required: see hello --help"},
		{"a failure", "--to=nobody --log-format=json", ExitFailed, "", `"level":"FATAL","msg":"failed","error":"nobody is there"`},
		{"a failure in plain words", "--to=nobody", ExitFailed, "", "hello: nobody is there\n"},
		{"something that is not there", "--to=ghost", ExitMissing, "", "hello: there is no ghost\n"},
		{"an unknown flag", "--frm=world", ExitUsage, "", "unknown flag: --frm"},
		{"a bad value", "--some-pause=soon", ExitUsage, "", "soon"},
		{"a bad level", "--log-level=loud", ExitUsage, "", "must be debug, info, warn, error or fatal"},
		{"an empty list value is none", "--to=world --also= --also=b", ExitOK, "hello world [b] 1s", ""},
		{"arguments", "--to=world here there", ExitUsage, "", "unknown arguments: here there"},
		{"version", "--version", ExitOK, "hello " + release.This().String() + "\n", ""},
		{"help", "--help", ExitOK, "Example:\n  hello --to=world\n", ""},
		{"help of a list", "-h", ExitOK, "--also=NAME", ""},
		{"help of a default", "-h", ExitOK, "how long to wait (default 1s)", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := runCommand(hello(), nil, strings.Fields(c.args)...)
			if got.code != c.code || !strings.Contains(got.stdout, c.stdout) || !strings.Contains(got.stderr, c.stderr) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// fullDisk is an output that takes a few bytes.
type fullDisk struct{ room int }

func (f *fullDisk) Write(p []byte) (int, error) {
	if f.room -= len(p); f.room < 0 {
		return 0, errors.New("no space left")
	}
	return len(p), nil
}

// TestOutputThatIsNotTaken has a tool fail, also one that does not look at each error.
func TestOutputThatIsNotTaken(t *testing.T) {
	careless := Command{Name: "careless", Summary: "print lines", Setup: func(*flag.FlagSet) RunFunc {
		return func(_ context.Context, env *Env) error {
			for range 3 {
				fmt.Fprintln(env.Stdout, "a line")
			}
			return nil
		}
	}}
	for room, want := range map[int]int{100: ExitOK, 10: ExitFailed} {
		var stderr bytes.Buffer
		code := Run(careless, Process{Stdout: &fullDisk{room}, Stderr: &stderr})
		if code != want || (code != ExitOK) != strings.Contains(stderr.String(), "careless: writing out: no space left\n") {
			t.Errorf("with room for %d bytes: exit code %d, %q", room, code, &stderr)
		}
	}
}

// TestListsOfTheEnvironment have commas between their values; those whose values have commas themselves are one a line.
func TestListsOfTheEnvironment(t *testing.T) {
	var names Strings
	var headers Lines
	var options clientOptions
	c := Command{Name: "hello", Setup: func(flags *flag.FlagSet) RunFunc {
		flags.Var(&names, "name", "")
		flags.Var(&headers, "header", "")
		flags.Var(&options, "consumer-opt", "")
		return func(context.Context, *Env) error { return nil }
	}}
	var stderr bytes.Buffer
	code := Run(c, Process{Stdout: io.Discard, Stderr: &stderr, Environ: []string{"BROKERCTL_NAME=a, b,", "BROKERCTL_HEADER=Accept: text/plain, text/html\n X: y\n",
		"BROKERCTL_CONSUMER_OPT=max_attempts,5\nmax_backoff_duration,5s"}})
	got := fmt.Sprintf("%q %q %q", names, headers.Strings, options)
	if want := `["a" "b"] ["Accept: text/plain, text/html" "X: y"] ["max_attempts,5" "max_backoff_duration,5s"]`; code != ExitOK || got != want {
		t.Errorf("exit code %d, %s, want %s\n%s", code, got, want, &stderr)
	}
}

func TestGroup(t *testing.T) {
	group := Command{Name: "all", Summary: "everything", Sub: []Command{hello()}}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"hello --to=world", ExitOK, "hello world"},
		{"hello", ExitUsage, "all hello: --to is required: see all hello --help"},
		{"hello --version", ExitOK, "all " + release.This().String()},
		{"", ExitUsage, "Commands:\n  hello        print a greeting"},
		{"--help", ExitOK, "Commands:\n  hello        print a greeting"},
		{"goodbye", ExitUsage, `all: unknown command "goodbye"`},
	} {
		got := runCommand(group, nil, strings.Fields(c.args)...)
		if got.code != c.code || !strings.Contains(got.stdout+got.stderr, c.want) {
			t.Errorf("%q: got %+v", c.args, got)
		}
	}
}

func TestFileOfSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "settings")
	for _, c := range []struct{ name, text, args, want string }{
		{"file", "to = 'you'\nalso = ['a', 'b']\nsome_pause = 1500\nunknown = 1", "", "hello you [a b] 1.5s"},
		{"flags before file", "to = 'you'\nalso = ['a', 'b']\nsome_pause = '2m'", "--to=me --also=c", "hello me [c] 2m0s"},
		{"a list for one value", "to = ['you']", "", "--to is one value, not a list"},
		{"a wrong value", "some_pause = 'soon'", "", `--some-pause cannot be "soon": parse error (from ` + file},
		{"no TOML", "to: you", "", "--config must be a readable TOML file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got := runCommand(hello(), nil, append(strings.Fields(c.args), "--config="+file)...)
			if !strings.Contains(got.stdout+got.stderr, c.want) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// patient is a command that reports what signals reach it.
func patient(catch bool, told chan string, release chan struct{}) Command {
	return Command{Name: "patient", Hangup: catch, Setup: func(*flag.FlagSet) RunFunc {
		return func(ctx context.Context, env *Env) error {
			told <- "running"
			for {
				select {
				case <-env.Hangup:
					told <- "hung up"
				case <-ctx.Done():
					told <- "stopping"
					<-release
					return ctx.Err()
				}
			}
		}
	}}
}

func TestSignals(t *testing.T) {
	for _, c := range []struct {
		name    string
		catch   bool
		signals []os.Signal
		told    []string
		code    int
	}{
		{"an end", false, []os.Signal{syscall.SIGTERM}, []string{"stopping"}, ExitOK},
		{"a hang-up is an end", false, []os.Signal{syscall.SIGHUP}, []string{"stopping"}, ExitOK},
		{"a hang-up is a wish", true, []os.Signal{syscall.SIGHUP, os.Interrupt}, []string{"hung up", "stopping"}, ExitOK},
		{"twice an end", true, []os.Signal{os.Interrupt, os.Interrupt}, []string{"stopping"}, ExitFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			told, release, signals := make(chan string, 9), make(chan struct{}), make(chan os.Signal)
			ended := make(chan int)
			go func() { ended <- runCommand(patient(c.catch, told, release), signals).code }()
			<-told
			for i, signal := range c.signals {
				signals <- signal
				if i < len(c.told) {
					if got := <-told; got != c.told[i] {
						t.Errorf("told %q, wanted %q", got, c.told[i])
					}
				}
			}
			if c.code == ExitOK {
				close(release)
			}
			if code := <-ended; code != c.code {
				t.Errorf("exit code %d", code)
			}
			if c.code != ExitOK {
				close(release)
			}
		})
	}
}

func TestProgressKeepsBelowTheLog(t *testing.T) {
	var screen bytes.Buffer
	c := newConsole(&screen)
	c.terminal = true
	env := &Env{Stderr: c, console: c}
	c.show("1 of 2")
	fmt.Fprintln(env.Stderr, "a line of the log")
	c.leave("2 of 2")
	fmt.Fprintln(env.Stderr, "the end")
	want := clearLine + "1 of 2" + clearLine + "a line of the log\n" + "1 of 2" + clearLine + "2 of 2\nthe end\n"
	if screen.String() != want {
		t.Errorf("the screen got %q", screen.String())
	}
}

func TestProgressElsewhere(t *testing.T) {
	work := func(told chan<- *Progress, wait <-chan struct{}) Command {
		return Command{Name: "work", Progress: true, Setup: func(*flag.FlagSet) RunFunc {
			return func(_ context.Context, env *Env) error {
				p := env.Progress("messages", func() (int64, bool) { return 7, true })
				p.Done.Add(5)
				told <- p
				<-wait
				p.Stop()
				return nil
			}
		}}
	}
	for args, want := range map[string]string{"": "", "--status-interval=1h": "msg=progress messages=5"} {
		told, wait := make(chan *Progress, 1), make(chan struct{})
		close(wait)
		if got := runCommand(work(told, wait), nil, strings.Fields(args)...); got.code != ExitOK ||
			!strings.Contains(got.stderr, want) || want == "" && got.stderr != "" {
			t.Errorf("%q: got %+v", args, got)
		}
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567"} {
		if got := Grouped(n); got != want {
			t.Errorf("%d is %s, wanted %s", n, got, want)
		}
	}
}
