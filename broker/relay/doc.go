// Package relay has consumers of replicated topics be where they have connected, whoever leads the topic: their sessions subscribe at the
// broker that leads, and go with the lead where it goes.
//
// It owns what a client has of a topic that others lead, and subscriptions here of clients elsewhere. It never decides who leads, and knows
// neither sockets nor the wire of clients but for message frames.
//
// # A client's side
//
// A Consumer is one client's subscription. It is here, a topic.Subscription, while this broker leads; there, a stream of the link to who
// leads; or it looks for who does. What the client has been given and not answered is noted, with until when it may. When the lead goes, that
// is old: the next leader is told of so much less credit, until the client has answered it, or its time is over, so that a client never has more
// than it asked for. An answer to what is old fails, as the next leader has not given it to this client: it comes again. Answers are passed on
// in the order in which the client gave them, by the goroutine that reads from it.
//
// Who leads is what this node's replica of the group says. A node without one asks those that have one, and believes who takes the subscription.
// Without a leader for Options.Patience the client's connection is closed.
//
// # A leader's side
//
// A guest is the consumer that stands for a client elsewhere: time in flight, attempts and its share are the channel's matter as with any other.
// It goes, and what it has goes back, when the client leaves or the link to its node ends.
//
// # Frames
//
// Over the lane for clients, kinds 48 to 63 of package peer. Integers are big-endian. The stream is a number that the client's node gives to each try
// to subscribe, and gives to no other for as long as it runs.
//
//	48  subscribe   a Subscription, JSON
//	49  ready       credit, u32
//	50  answers     each: what (0 finish, 1 requeue, 2 touch) u8, id u64, delay of a requeue in nanoseconds u64
//	51  leave
//	52  taken       bytes that the client has taken since the last one, u32
//	53  subscribed  a Welcome, JSON
//	54  refused     a Refusal, JSON
//	55  messages    message frames of the client wire, whole
//	56  failed      answers that failed: what u8, id u64, length of the reason u8, reason
//	57  gone        why: 0 the lead has moved, 1 the subscription was ended, u8
//
// # Bounds
//
// Of messages that a client has not taken, window bytes at most are on their way or wait at its node, and one delivery more. What is sent
// waits until little enough does before it, each stream for itself: nobody who reads from a link waits for anything. A client that sends faster
// than the link takes is not read from meanwhile.
//
// # Goroutines and locks
//
// One goroutine looks after what looks for a leader, and whether links and leaders are the same: it sleeps while nobody is relayed. A guest has
// one. The order of locks: Consumer.mu, Relay.mu; either before those of channels and links.
package relay
