// Package tohttp is nsq_to_http's equal: it consumes a topic and makes an HTTP request of each message.
//
// A message is finished after a target has answered 2xx. One that a target did not take goes at once to another target that
// works, if the mode leaves a choice, and otherwise back to its broker, to be delivered later; meanwhile the consumer asks for
// less. So a target that is down slows everything and loses nothing, and a request can be made twice, never not at all.
// An answer of 4xx speaks about the message, not about the target: it is requeued too, but others do not wait for it, unless
// nothing else comes back.
//
// In the mode multicast a message that only some targets took is delivered again to the others only, as long as it comes back to
// the same process.
//
// Handlers of go-nsq put messages into a queue; --n workers take from it and wait for answers. So however long targets take, the
// broker's heartbeats are answered and its messages touched.
package tohttp
