package appkit

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"testing"
)

// teller is a group with a command that prints its flags and arguments.
func teller() Command {
	tell := Command{Name: "tell", Aliases: []string{"say"}, NSQ: "nsq_tell", Summary: "tell", Args: "[WORD...]", Setup: func(flags *flag.FlagSet) RunFunc {
		x, on, n := flags.String("x", "", ""), flags.Bool("on", false, ""), flags.Int("n", 0, "")
		long := flags.String("long-name", "", "")
		return func(_ context.Context, env *Env) error {
			_, err := fmt.Fprintf(env.Stdout, "x=%s on=%v n=%d long=%s %q", *x, *on, *n, *long, env.Args)
			return err
		}
	}}
	return Command{Name: "all", Summary: "everything", Sub: []Command{tell, {Name: "deep", Summary: "deeper", Sub: []Command{tell}}}}
}

// TestFlagsInAllOfGosForms: NSQ's flags are Go's, and scripts write them in each of three ways, in front of arguments and behind them.
func TestFlagsInAllOfGosForms(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"tell -long-name=v", "x= on=false n=0 long=v []"},
		{"tell -long-name v", "x= on=false n=0 long=v []"},
		{"tell --long-name=v", "x= on=false n=0 long=v []"},
		{"tell --long-name v", "x= on=false n=0 long=v []"},
		{"tell a --x=1 b -on c", `x=1 on=true n=0 long= ["a" "b" "c"]`},
		{"tell --x 1 a --on", `x=1 on=true n=0 long= ["a"]`},
		{"tell -on=false -n 5 -x -n", "x=-n on=false n=5 long= []"},
		{"tell -n -5 -x=a=b", "x=a=b on=false n=-5 long= []"},
		{"tell --x=1 a -- --y b", `x=1 on=false n=0 long= ["a" "--y" "b"]`},
		{"tell -", `x= on=false n=0 long= ["-"]`},
		{"say -x tell tell", `x=tell on=false n=0 long= ["tell"]`},
		{"deep tell -x 1 tell", `x=1 on=false n=0 long= ["tell"]`},
		{"tell -x=", "x= on=false n=0 long= []"},
	} {
		if got := runCommand(teller(), nil, strings.Fields(c.args)...); got.code != ExitOK || got.stdout != c.want {
			t.Errorf("%s: got %+v, want %s", c.args, got, c.want)
		}
	}
	for args, want := range map[string]string{
		"tell -y": "unknown flag: --y", "tell -x": "flag needs an argument: --x", "tell a --unknown": "unknown flag: --unknown",
		"tell -n many": "many", "tel": `unknown command "tel", did you mean tell`, "deep fly": `all deep: unknown command "fly"`,
	} {
		if got := runCommand(teller(), nil, strings.Fields(args)...); got.code != ExitUsage || !strings.Contains(got.stderr, want) {
			t.Errorf("%s: got %+v, want %s", args, got, want)
		}
	}
}

// TestNSQsNamesAreCommands: called by the name of NSQ's tool the program is that tool.
func TestNSQsNamesAreCommands(t *testing.T) {
	for args, want := range map[string]string{
		"-x 1": "x=1 on=false", "--version": "nsq_tell v" + Version + "\n", "-help": "Usage: nsq_tell [--flag=value ...] [WORD...]",
		"-h": "nsq_tell: tell",
	} {
		var out strings.Builder
		code := Run(teller(), Process{Name: "nsq_tell", Args: strings.Fields(args), Stdout: &out, Stderr: &out})
		if code != ExitOK || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %d, %s", args, code, &out)
		}
	}
}
