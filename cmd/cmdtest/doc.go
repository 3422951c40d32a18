// Package cmdtest lends tests the commands of this project, and NSQ's, as real processes: built once for a test's package, started
// on free loopback addresses, stopped, killed and started again, with the end of their logs shown when a test fails.
//
// It owns that nothing is left of a run, however it ends. All of a package's tests live in one temporary folder, with the binaries;
// [Main] removes it, and fails when a test left a file or a goroutine. A run that is killed takes its processes with it (on
// Linux), and its folder, with what is mounted there, is cleared by the next run of any package.
//
// NSQ's own binaries are looked for on PATH; a test that needs one which is not there is skipped and says so, which make interop
// counts as a failure. The package knows daemons by their flags, ports and HTTP APIs only, and only tests import it.
package cmdtest
