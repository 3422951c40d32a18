// Package load puts load on one broker that speaks NSQ's protocol V2, and measures what comes of it.
//
// It owns the connections, the pacing, the counting and the clocks of a measurement: a Spec says what to do, Run does it
// and returns a Result. It knows nothing of flags, tables or processes.
//
// # What is measured
//
// Every message carries the time from which its latency counts and a number of its own. With a rate, that time is when
// the message should have been sent, not when it was: if the broker stalls, or the generator, the messages that had to
// wait show it (no coordinated omission). How late the generator itself was is told as Lag. A deferred message carries the
// time at which it is due. Arrival is when the read from the socket returned.
//
// Every message is counted by its number in every channel, so that a lost one, one that came twice and one of somebody
// else's are told apart. A batch counts as sent once the broker has answered OK.
//
// # Being light
//
// A publisher writes its frames from one buffer that it made beforehand and only stamps; a consumer parses what a read
// brought and answers all of it in one write. Nothing is allocated per message and nothing is shared but counters, so that
// on a small machine the broker is what is measured.
//
// # Message body
//
//	8 bytes  nanoseconds since the Unix epoch from which latency counts
//	8 bytes  16 bits that stand for the run, 48 bits of number
//	n bytes  letters, to the size asked for
package load
