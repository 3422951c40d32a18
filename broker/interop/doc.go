// Package interop holds no code, only tests of whole processes: brokers and lookups that are started, killed and started
// again as an operator would, with stock clients, and NSQ's own daemons in the place of ours where they are to be had.
//
// It owns what can only be seen from outside of a process: that a cluster loses nothing while its daemons come and go, that
// both makes of daemons mix in one cluster, and that both makes serve each other's data folders. It never imports a daemon's
// code.
//
// The processes are those of cmdtest. A test that needs a daemon of NSQ's which is not on PATH is skipped and says so; make interop
// counts that as a failure.
package interop
