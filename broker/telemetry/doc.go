// Package telemetry watches the broker: the heap, how long messages take, and statsd.
//
// It owns the numbers and their statsd form. It never steers: nothing in the broker decides by what is measured here, and a
// statsd daemon that is gone costs a line in the log. A Pusher's goroutine is its caller's: Run returns when its context
// ends.
//
// # statsd lines
//
//	<prefix><metric>:<integer>|c    what was counted since the round before; the first round counts from the start
//	<prefix><metric>:<integer>|g    a level
//
// Each ends in a newline; as many as fit make one datagram, a longer one is a datagram of its own. Metrics are topic.T.X,
// topic.T.channel.C.X and mem.X.
//
// # Locks
//
// An Observer's lock is a leaf: nothing is called under it.
package telemetry
