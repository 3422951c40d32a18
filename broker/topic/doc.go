// Package topic is the path of a message: topics, their channels, and the consumers' subscriptions. What a channel does with
// a message is the matter of its machine (package channel), which moves it between its states. Here is what goes around that:
// the lock of each channel, what time it is, where messages are kept and read from, and who is told what became of them.
//
// A topic is one sequence: publishing appends whole frames to a chain of nodes that all its channels share. A channel is
// what it still has to deliver of that sequence, and what it has delivered and not yet seen finished. A message has a position,
// its number in its topic; an id is a label that consumers answer with. What is kept in the log is shown to consumers once it
// is as safe as its level says, see watermark.
//
// There is no goroutine and no timer for a topic or channel: one sweeper for the registry sleeps until the earliest deadline
// of any channel. Consumers take from a channel, many messages at a time, when they have credit (RDY); who finds nothing is
// parked and woken by whoever brings something.
//
// A topic without channels, or paused, or whose channels are still being learnt from the lookups, keeps its messages in a
// backlog of its own, which is a channel that nobody can subscribe to.
//
// # Overflow
//
// A channel keeps up to Config.MemQueueSize messages in memory. A publish that finds it full waits a little when consumers
// are draining the channel (see pace.go), and otherwise goes to the channel's queue on disk; from then on everything goes
// there until that queue has been read empty, so that first deliveries stay in order. Ephemeral ones have no disk: they
// discard.
//
// # Locks
//
// Registry.mu, Topic.pub, watermark.mu, Channel.mu, sweeper.mu, in that order. Topic.pub serializes publishing and the list of channels,
// and is held over writes to disk; Channel.mu is never held over I/O, sending, logging or a callback.
package topic
