// Package apptest lends tests of tools what they need: real daemons and tools as processes that are started, killed and started
// again, stock clients, and waiting without sleeping.
//
// Binaries are built once for a test's package, by [Main]. NSQ's own are looked for on PATH; a test that needs one which is not
// there is skipped and says so, which make interop counts as a failure. Every port is one of the loopback's, below the range
// from which the system serves itself, so that nobody takes the port of a daemon that is down for a moment.
//
// The package knows daemons by their flags, ports and HTTP APIs only, and is used by tests only.
package apptest
