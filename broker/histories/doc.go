// Package histories judges what clients of one topic did and saw while brokers failed: could a queue that keeps its promises have done that?
//
// It is for tests only, of processes as of simulations, which write a History down while they run: every publish with its begin and its outcome,
// every delivery, every FIN, every fault with its begin and the end of its effect, and in the end what a channel that nobody worked on holds, in
// order. It reads time from the clock of whoever calls it, so that it works in virtual time.
//
// # What is judged
//
// By sets: what was acknowledged is in that channel, once, and was finished on the channel that was worked on. What was delivered was sent
// before, and is in that channel: nobody is shown what can still vanish. A publish of several messages is there whole or not at all. A message
// that comes again after its FIN is explained by a fault that the FIN was not long before, or behind whose begin it was said.
//
// By package porcupine: the topic as a list that publishes append to and deliveries read, linearizable; looks at the whole list, where a test makes
// some, say how long it is. A publish without a good answer is open to the end. Where each message stands in the list the untouched channel tells, so
// that the search has no choices to try out.
package histories
