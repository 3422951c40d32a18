package cmdtest

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Terminal is a terminal of a width and height, for a tool that looks whether it has one: the tool's side of it is read and written
// as its streams, the person's side is the other.
type Terminal struct {
	Tool   *os.File
	Person *os.File
}

// OpenTerminal opens one. The test closes it.
func OpenTerminal(t testing.TB, columns, rows int) *Terminal {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("NOT RUN: no terminal can be made here: %v", err)
	}
	t.Cleanup(func() { person.Close() }) // it was a test's, nothing can be lost
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tool, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tool.Close() })
	if err := unix.IoctlSetWinsize(int(tool.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(rows), Col: uint16(columns)}); err != nil {
		t.Fatal(err)
	}
	return &Terminal{Tool: tool, Person: person}
}
