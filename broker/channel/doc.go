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
// # What a Machine is told, and asked
//
// These are all its methods; a test holds that. Some return something that goes on, whose methods are called as the machine's: Burial, Pulled, Restoring.
// Some return a look, which is taken under the lock and read without it: Backlog, Schedule, Located, Snapshot, and each inflight.Snapshot.
//
//	life              Init Exit Exiting Trim Clear Check
//	publishing        Accept DeferPlace Show Withdraw (a log); Offer OfferSome Force Hold WantsRoom (memory)
//	consumers         Join SetReady Take Answer Rest Leave Abandon Timeout Resettle Consumers
//	reading bodies    BeginFill EndFill
//	time              Deadline Sweep LookOn DropWaiting DropReturned
//	options           SetPolicy Policy EnforcePolicy MakeRoom Measure
//	queue on disk     Spill EndSpill MoveOn SpilledToDrop DropSpilled InMemory Unload
//	dead letters      StartBurial BeginBurial Leaving EachBuried; Whereabouts Pull
//	a topic's own     HandOver Inherit Forgo
//	by hand           Again Rewind Skip Cancel Release FinishByHand
//	looks             Backlog Schedule Locate DeferredHolding Flights EachOut Waiting Backlogged First Void
//	other lives       Left After Snapshot Restore SetOffered TakeIn Adopt TakeWaiting
//	figures           Stats Fullness Used Gone Held InFlight Bytes Bound
//
// # Where to look
//
//	machine, effects, counters, stats   what a channel is, leaves, and counts
//	publish, handover                   what comes to it; what moves from a topic to its channels
//	deliver, delivery, dispatch, fill   what a consumer gets, who is woken for it, and what is read first
//	answer, retry, burial               what consumers say; what comes back, and what becomes of a dead letter
//	order, aging, expired, jumps        turns of keys; times to live
//	bounds, overflow, options           what a channel may hold; the queue on disk behind it
//	rewind, byhand, deferred, pull      what people do to it
//	look, locate                        what they ask
//	snapshot, restore                   what a checkpoint says of it, and what an earlier life has left
package channel
