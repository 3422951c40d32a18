// Package targets chooses which of several addresses a message goes to, and keeps the figures of each.
//
// The modes are those of nsq_to_http and nsq_to_nsq:
//
//   - round-robin: one after another, whatever their state.
//   - hostpool: one after another among those that work. A failure puts a target aside for 30 seconds; each time it is
//     tried again without success that time doubles, up to 15 minutes; a success brings it back. When all are aside, all
//     are taken back and the first is next.
//   - epsilon-greedy: as hostpool, but mostly the one that has been fastest in the last 5 minutes; now and then, with a
//     probability that falls from 30 to 1 percent, any other, so that a target that became faster is found.
//   - multicast: every one. The package does not choose then; it keeps the figures.
//
// It opens no connection, starts no goroutine and reads no clock: the time is an argument. A Pool has one lock, held for no
// longer than a choice takes.
package targets
