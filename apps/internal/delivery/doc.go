// Package delivery is what the tools share that hand messages on to somebody else: holding them until the other side has
// answered, giving them to workers, and telling how it goes.
//
// A message that a consumer was given is in Hands until it is finished, requeued or returned. While it is there the broker is
// told again and again that it is being worked on, so that a target that hangs makes nobody else do the same work. Workers
// take messages from a Queue, which is bounded by what the consumers want in flight and by nothing else.
//
// Nothing here drops a message. The locks are Hands' and Queue's own; nothing is sent or called under them.
package delivery
