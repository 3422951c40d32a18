// Package registrar tells the lookups which topics and channels this broker has, and asks them what channels a topic has
// elsewhere.
//
// It owns one connection to each lookup. It never decides what exists and never reaches into topics: it is given a Source,
// and is told that something changed, not what. Each connection compares what it has registered with the whole Source, so
// that no order or loss of notices leaves a lookup with a wrong picture.
//
// # Goroutines
//
// Each address has a goroutine of its own, with one more that reads while it is connected, so that a lookup which is slow,
// hangs or is gone delays nobody: not Changed, not Start, not another lookup. Start begins them; SetAddresses ends those of
// addresses that are left out; Close ends and joins all.
//
// # A connection
//
//	magic, IDENTIFY; REGISTER for each topic without channels and each channel; then
//	REGISTER and UNREGISTER as the Source changes, PING every 15 seconds
//
// Commands are sent in batches, and each is answered before the next batch. A deleted topic's channels are unregistered
// before the topic. Dialling, writing and each answer have a second. An end of the connection is seen at once; the next
// attempt follows after a tenth of a second, then ever later up to 15 seconds, with jitter. Close hangs up: a lookup drops
// what a broker registered when its connection ends.
package registrar
