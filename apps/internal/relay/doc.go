// Package relay is nsq_to_nsq's equal: it consumes topics and publishes what comes to other brokers.
//
// One process carries any number of topics, each with a consumer of its own, to any number of targets. A message is
// finished at its source only after a target has acknowledged it. One that a target did not take goes to another target that
// works, if the mode leaves a choice, and otherwise back to its source, to be delivered later; meanwhile the consumer asks
// for less. So a target that is down slows the relay and loses nothing, and a message can arrive twice, never not at all.
//
// Goroutines: each target has two senders, which publish what waits in the target's queue together, one batch being on its
// way while the next is made. Handlers of go-nsq only choose a target and put the message into its queue.
//
// Only a message that the JSON flags leave out is finished without being relayed.
package relay
