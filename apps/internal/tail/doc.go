// Package tail is nsq_tail's equal: it consumes topics and prints their messages.
//
// A message is finished only after it was written out, and one that was consumed but not printed is given back, so that
// --n takes exactly so many messages from a channel. One goroutine prints; it writes what waits in one piece. While the
// output is blocked, by a pager for example, brokers' heartbeats are answered and their messages touched.
//
// Format: the topic and " | " with --print-topic, the body as it is, the delimiter. With --json one object a line:
// {"topic":"t","nsqd":"host:port","id":"...","timestamp":nanoseconds,"attempts":n,"body":"..."}, with body_base64 in the place
// of body where a body is no UTF-8.
package tail
