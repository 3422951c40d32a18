// Package channel is a channel as a state machine: what waits, what is out with consumers, what is deferred, who has credit, and what becomes of each
// message. It is pure: it knows no lock, clock, log, disk or level of durability, and starts nothing. Package topic has a channel's lock, its topic,
// where its messages are and who is told what becomes of them.
//
// Whoever owns a Machine does the same for each call, under a lock of its own:
//
//	At       is the moment, which it sets: the time, what is shown, what the node has no room for
//	Left     is what has become of messages, which it keeps
//	Asks     is what the machine wants of it: to be called at a deadline, to have messages moved, to tell a publisher that there is room
//
// A message that is not done with is in exactly one place. Fresh ones, never delivered, are ranges of the topic's sequence (backlog.Queue). What comes
// back waits in lists, with its body or as a place of which the body must be read first; what consumers have, and what is deferred, is in package
// inflight. One method makes each move, so that after each
//
//	accepted = finished + discarded + backlog + deferred + in flight
//
// What must be read of a disk the machine says and does not read: BeginFill names it, and EndFill takes it in.
//
// # Where to look
//
//	machine, effects, counters   what a channel has, leaves, and counts
//	deliver, delivery, dispatch  what a consumer gets, and who is woken for it
//	answer, retry                what consumers say; what comes back, and when it is a dead letter
//	order, aging, expired        turns of keys; times to live
//	bounds, overflow, handover   what a channel may hold; the queue on disk behind it; what moves from a topic to its channels
//	rewind, byhand, deferred, pull, locate   what people do to it, and what they ask
//	restore                      what an earlier life has left
package channel
