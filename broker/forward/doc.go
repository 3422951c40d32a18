// Package forward takes publishes to replicated topics on any node of a cluster, and has who leads a topic carry them out: once each, however
// often the lead changes meanwhile.
//
// It owns the publishes of this node that are unanswered, and the way of those of other nodes to the topics that this node leads. It never
// decides who leads, knows no clients, and keeps nothing on disk: which publishes were taken stands in the records of the topics.
//
// # Taken once
//
// Each start of a node is an origin, a random number, and counts its publishes by group of replicas. Those that come to the node that leads
// have such a number as well: it may lose the lead before they are committed. A publish says which is the lowest number that is unanswered, so
// that the others can be forgotten. Whoever leads knows from the records which ones were taken, and of those that it has appended itself; one
// that comes again is answered when the first is committed.
//
// # The way to the leader
//
// Publishes of a group go to its leader one behind the other, several at a time, over the lane for clients, in an epoch: it begins with a probe,
// is over with the first thing that goes wrong (nothing can be lost within it without being noticed), and the next one begins with what is
// unanswered, in order and before anything new. Who leads is known from the node's own replica of the group; a node without one asks those that
// have one, and the others when whom it has asked something says nothing for a while. A publish that is unanswered after Options.Wait is given up, and
// not sent again: it may be carried out all the same.
//
// # Answered early
//
// With acks 0 a publish is answered once this node has it in memory, with acks 1 once who leads has it on its disk. It goes the same way, under its number,
// until it is known to be committed: also when this node leads, where it is begun, shown when it is committed, and begun again, here or elsewhere, when the
// lead is lost before. What was answered is placed in its order, and nothing that came later before it: while it is not known what has become of what was begun
// here in a reign that is over, nothing is begun or sent. See early.go.
//
// # Frames
//
// Integers are big-endian; the stream of all is the group, but of acts and their answers, where it is a number of the act.
//
//	40  publish  origin u64, epoch u64, seq u32, number u64, low u64, topic u32, flags u8, delay i64, due i64, count u32, message frames;
//	             a probe, which has seq 0, ends behind that. Flags: 1 the answer is a receipt, 2 and 4 acks (0 unsaid, 1 to 3 are 0, 1, all),
//	             8 it is answered already; then acks
//	             is 0 when none of a higher number was begun anywhere before this one was taken or refused
//	41  answers  origin u64, epoch u64, and for each: seq u32, code u8, size u32, data
//	42  act      group u32, a request of the HTTP API, see package httpd; without one it is asked who leads
//	43  acted    code u8: 0, the answer follows; 1, this node does not lead, and who does follows, if that is known
//
// # Goroutines and locks
//
// Each group has a goroutine while publishes are unanswered, another one while some that were begun here early are not committed; and each node that sends
// publishes of a group has two here meanwhile: one appends, one waits for commits and answers, and a third if some are to be answered before that. The locks:
// group.mu, incoming.mu, and Forwarder.mu, which comes last; none is held across anything that waits.
package forward
