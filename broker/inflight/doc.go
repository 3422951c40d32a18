// Package inflight holds what is out with consumers or deferred, and until when.
//
// Set finds a message that is in flight by its id and by its deadline. DeferredMemory orders messages by the time at which they
// are due; DeferredIndex does so for messages of which only the place is known, and PlaceQueue keeps such in the order in which they came.
// All are pure: no lock, no clock, no goroutine. Times are arguments, nanoseconds on one clock that never goes back; their
// owner, a channel, calls them under its lock. A Snapshot of a DeferredIndex or PlaceQueue alone may be read outside it.
//
// A set finds an id through pages of slot numbers of ids that follow each other, and a hash table of pages: both hold no
// pointers. Deadlines are kept in lanes, one for
// each distinct timeout: what is delivered later on a lane is due later on it, so that a lane is a linked list and needs no
// heap.
package inflight
