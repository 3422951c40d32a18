package interop

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"brokerd/cmd/cmdtest"
)

func TestMain(m *testing.M) {
	os.Exit(cmdtest.Run(func() int {
		code := m.Run()
		if err := removeLibraries(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return max(code, 1)
		}
		return code
	}, "cmd/brokerd", "cmd/lookupd", "cmd/admind"))
}

// newBroker prepares a broker, under a name for tables, over a folder.
func newBroker(t *testing.T, name, label, folder string, args ...string) *cmdtest.Process {
	t.Helper()
	b := cmdtest.NewBroker(t, name, folder, args...)
	b.Label = label
	return b
}

// atLevel adds to a broker's flags what gives it a level of durability. nsqd has but one, which is memory here.
func atLevel(name, level string, flags ...string) []string {
	flags = slices.Clone(flags)
	if name == "brokerd" {
		flags = append(flags, "--durability="+level)
	}
	return flags
}
