// Package attention says what in a cluster an operator should look at, in words.
//
// It owns the rules and since when each of them holds. It has no goroutine and no clock; Judge is called with each new state of
// the cluster, by one caller.
//
// Each item is a cause: what follows from it stands inside, and what a dead broker had is no trouble of its channels. A channel is one item,
// with the worst of it first; more than a few of a kind are one (Fold).
//
// # Rules
//
//   - unbalanced: what became of a channel's messages does not add up on a broker. Critical.
//   - node_stale: a broker does not answer, or a lookup dropped it. Critical.
//   - node_unhealthy: a broker says that it cannot keep messages. Critical.
//   - disk_low: a broker's disk has less free than its minimum (critical), or less than twice that or than a
//     twentieth of the disk (a warning).
//   - lookup_failing: a lookup does not answer. Critical when no other one does.
//   - no_consumers: messages wait on a channel that has no consumer and is not paused.
//   - stuck: consumers have messages of a channel and finished none for two minutes, while more wait.
//   - depth_growing: at least 100 messages wait on a channel, a fifth and 100 more than two minutes before.
//   - key_blocked: on an ordered topic one message of a key has been out for over a minute while others of the key wait
//   - timeouts_rising, requeues_rising: over the last 30 seconds, more than one in twenty deliveries, or more than two in a
//     second and twice what it was before.
package attention
