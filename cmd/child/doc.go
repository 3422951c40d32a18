// Package child runs a daemon or a tool as a child of this process: on loopback addresses of its own, with its output in files,
// until it is told to end, by its process id.
//
// It owns the life of one process: that a start returns once the child answers, that a start which fails leaves nothing, that
// whoever waits for its end is told, and that nothing is left of it when its parent is gone (on Linux, where the system sees to
// that). It knows a child by its flags, its addresses and its /ping only, and never decides what one is for.
//
// Addresses are taken below the range from which the system serves itself, so that nobody takes the port of a child that is down
// for a moment. The demo and the standard scenarios use it as it is; tests through cmdtest.
package child
