// Package peer is the links between brokers of a cluster: who is at the other end, frames, lanes, how far away it is
// and how its clock differs.
//
// It owns connections, the handshake, frames, and the queue of what is to be sent. It never knows what a frame says,
// and never decides who is a member: it asks.
//
// # Lanes
//
// Between two nodes there is a connection for each lane, made again when it breaks. When both have dialled, that of
// the node whose folder's id is the lower one stays. What is sent over a lane keeps its order, and is lost with the
// connection. Control carries heartbeats, votes and answers, and waits behind nothing that is large; Bulk carries what is
// large, and no faster than is allowed.
//
// # Questions
//
// A node that is in no cluster yet, or has lost what it was, asks by a connection of its own: the same handshake, one
// frame, one frame back. Such a Hello may be of any cluster; who answers knows what it says.
//
// # Frames
//
// Integers are big-endian.
//
//	 0  length    4  of the payload, 16 MiB at most
//	 4  checksum  4  CRC-32C (Castagnoli) of what follows: memory and networks have faults that TCP's sum does not notice
//	 8  kind      1  0 to 15 are the link's own; from 16 on it is for those above to say
//	 9  stream    4  to which of those above it belongs
//	13  payload
//
// # Who has which kinds
//
//	 0 to  15  the link's own
//	16 to  31  broker/member: entries of groups, commands of the map, checkpoints on their way
//	32 to  39  broker/member: questions between nodes that need not be members
//	40 to  47  broker/forward: publishes and acts that another node leads
//	48 to  63  broker/relay: consumers of a topic that another node leads
//
// # Handshake, version 1
//
// Each side says who it is in a Hello (JSON): the version, the cluster's id, the folder's id, which start of the
// folder this is, the node's name, the lane, and 32 random bytes. The one who was dialled answers with its own Hello,
// and with its proof that it knows the secret, if there is one; the other with its proof; and it is welcome, or
// refused with a reason that both log. A proof is an HMAC-SHA256 of the side's word ("dialled" or "accepted") and
// both Hellos, so that none can be used again, nor sent back. Whoever is asked to judge a Hello keeps what it says of
// the start, synced, before he lets the peer in.
//
// # Who may
//
// With TLS (1.3, both sides show a certificate of the cluster's own CA) that is what counts, and names are checked by
// who judges. Without it a shared secret proves that the other knows it; it hides nothing, and who can change packets
// on the way can take a connection over. Without either only loopback is allowed.
//
// # Goroutines and locks
//
// A link has one goroutine that reads and one that writes; a small frame that somebody waits for is written by who sends it, if that needs no waiting
// and nobody else writes. Small frames that nobody waits for, such as heartbeats and pings, leave together when Node.Beat is called, and are written by who calls it. Node has one for each listener and for each lane to a peer
// that it dials. Node.mu guards the links; it is held across no I/O.
package peer
