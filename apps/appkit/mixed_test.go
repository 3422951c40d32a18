package appkit

import (
	"flag"
	"io"
	"slices"
	"testing"
)

// TestFlagsMayStandBehindArguments: as one would type them, and -- ends them.
func TestFlagsMayStandBehindArguments(t *testing.T) {
	for _, test := range []struct{ args, want []string }{
		{[]string{"a", "--x=1", "b", "-on", "c"}, []string{"a", "b", "c"}},
		{[]string{"--x", "1", "a", "--on"}, []string{"a"}},
		{[]string{"--x=1", "--on", "a", "--", "--y", "b"}, []string{"a", "--y", "b"}},
		{[]string{"--x=1", "--on"}, nil},
		{[]string{"--x=1", "--on", "--"}, nil},
	} {
		flags := flag.NewFlagSet("", flag.ContinueOnError)
		flags.SetOutput(io.Discard)
		x, on := flags.Int("x", 0, ""), flags.Bool("on", false, "")
		got, err := parseArgs(flags, test.args, false)
		if err != nil || !slices.Equal(got, test.want) || *x != 1 || !*on {
			t.Errorf("%q: %q, %v, x=%d, on=%v", test.args, got, err, *x, *on)
		}
	}
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	if _, err := parseArgs(flags, []string{"a", "--unknown"}, false); err == nil {
		t.Error("an unknown flag behind an argument was accepted")
	}
	on := flags.Bool("on", false, "")
	if got, err := parseArgs(flags, []string{"--on", "a", "--unknown"}, true); err != nil || !*on || !slices.Equal(got, []string{"a", "--unknown"}) {
		t.Errorf("another command's line became %q, %v", got, err)
	}
}
