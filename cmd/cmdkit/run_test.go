package cmdkit

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"brokerd/cmd/leaktest"
	"brokerd/protocol/loglevel"
	"brokerd/protocol/release"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// TestRun is a command from its arguments to its exit code.
func TestRun(t *testing.T) {
	two := errors.Join(errors.New("--size is wrong"), errors.New("--count is wrong"))
	for _, c := range []struct {
		name         string
		args         []string
		wrong, start error
		code         int
		want         string // in stderr
		lines        int    // of it
	}{
		{"until a signal", []string{"--log-level=info"}, nil, nil, ExitOK, "level=INFO msg=stopping signal=terminated", 2},
		{"silent", []string{"--log-level=error"}, nil, nil, ExitOK, "", 0},
		{"wrong", nil, two, nil, ExitUsage, "relay: --size is wrong; --count is wrong\n", 1},
		{"a name with control characters", nil, errors.New("open \x1b[31mred"), nil, ExitUsage, `relay: open \x1b[31mred` + "\n", 1},
		{"no time to stop", []string{"--shutdown-timeout=0s"}, nil, nil, ExitUsage,
			`relay: --shutdown-timeout must be more than 0, not "0s" (from the flag)`, 1},
		{"cannot start", nil, nil, errors.New("no certificate"), ExitFailed, `level=FATAL msg="cannot start" error="no certificate"`, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProgram(newFake(), c.start)
			p.Validate = func(Resolved) error { return c.wrong }
			signals := make(chan os.Signal, 1)
			signals <- syscall.SIGTERM
			var out, log bytes.Buffer
			code := p.Run(Process{Args: c.args, Stdout: &out, Stderr: &log, Signals: signals})
			if code != c.code || !strings.Contains(log.String(), c.want) || strings.Count(log.String(), "\n") != c.lines || out.Len() > 0 {
				t.Errorf("code %d, stdout %q, stderr %s", code, &out, &log)
			}
		})
	}
}

// newProgram returns a program that can be run, whose daemon is d.
func newProgram(d Daemon, err error) Program {
	level, format, timeout := "info", "text", time.Second
	s := defaults()
	p := program(&s)
	p.Settings = append(p.Settings, Setting{Name: "log-level", Value: &level}, Setting{Name: "shutdown-timeout", Value: &timeout})
	p.LogLevel, p.LogFormat, p.ShutdownTimeout = &level, &format, &timeout
	p.Validate = func(Resolved) error { return nil }
	p.New = func(Launch) (Daemon, error) { return d, err }
	return p
}

func TestRefuse(t *testing.T) {
	s := defaults()
	p := program(&s)
	for _, c := range []struct {
		err       error
		code      int
		out, line string
	}{
		{ErrVersion, ExitOK, "relay " + release.This().String() + "\n", ""},
		{ErrHelp, ExitOK, p.Help(), ""},
		{errors.New("--size is wrong"), ExitUsage, "", "relay: --size is wrong\n"},
		{errors.New("open \x1b[31mred: no such file"), ExitUsage, "", `relay: open \x1b[31mred: no such file` + "\n"},
	} {
		var out, line bytes.Buffer
		if code := p.Refuse(Process{Stdout: &out, Stderr: &line}, c.err); code != c.code || out.String() != c.out || line.String() != c.line {
			t.Errorf("%v: code %d, stdout %q, stderr %q", c.err, code, out.String(), line.String())
		}
	}
}

func TestAskingForText(t *testing.T) {
	for args, want := range map[string]error{"--help": ErrHelp, "-h": ErrHelp, "-version": ErrVersion, "--version": ErrVersion} {
		s := defaults()
		if _, err := program(&s).Resolve([]string{args}, nil); !errors.Is(err, want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// The help is for eyes: this holds what they look for, and that it fits a terminal of 120 columns.
func TestHelp(t *testing.T) {
	s := defaults()
	help := program(&s).Help()
	for _, want := range []string{
		"\nAddresses\n  --tcp-address=VALUE                         where to listen (default \"0.0.0.0:1\")\n",
		"(may be repeated, key peers, default default:1)",
		"\nLimits\n  --wait-time=DURATION                        how long (default 1m)\n",
		"  --on                                        whether (default false)\n",
		"  --mode[=VALUE]",
		"RELAY_LOG_LEVEL",
		"--config=FILE",
	} {
		if !strings.Contains(help, want) {
			t.Errorf("the help lacks %q:\n%s", want, help)
		}
	}
	for line := range strings.Lines(help) {
		if len(line) > 120 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
}

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	level := new(slog.LevelVar)
	log := NewLogger(&out, "json", level)
	log.Debug("hidden")
	level.Set(slog.LevelDebug)
	log.Debug("shown")
	level.Set(loglevel.Fatal)
	log.Error("hidden")
	LogFatal(log, "end", errors.New("no reason"))
	got := out.String()
	if strings.Contains(got, "hidden") || !strings.Contains(got, `"level":"DEBUG","msg":"shown"`) || !strings.Contains(got, `"level":"FATAL","msg":"end","error":"no reason"`) {
		t.Error(got)
	}
}
