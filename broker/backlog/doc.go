// Package backlog holds what waits, in order: messages in memory, shared by all channels of a topic, and then what has
// overflowed.
//
// Tail is where a topic appends: a chain of nodes, each some hundred KiB of whole message frames, written once and never
// changed or moved afterwards. Queue is what one channel still has to deliver: a list of ranges of such nodes. A message is
// stored once however many channels wait for it, and a node goes with the last range or delivery that refers to it: nodes are
// linked only where their owner evicts what is not to stay, as whoever holds the first of linked nodes holds all.
//
// The bytes of an evicted node go to a later one, unless somebody had them who may keep them: see Node.Frames and Node.Brief.
//
// A frame in a node is ready to be sent: it carries the number of its next attempt. Neither type locks: a Tail is guarded
// by its topic's publishing lock, a Queue by its channel's. A queue reads bytes of a node only up to what was appended
// before the queue was told of them, so that appending behind them is no race.
package backlog
