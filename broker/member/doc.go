// Package member makes a broker a member of a cluster: it founds one with others or asks one to be let in, keeps the map of it,
// which is the state of group 0, and has the other members' links.
//
// It owns what a node must not forget as a member, its replicas of group 0 and of groups of topics, and who is let in by a link. It decides
// nothing about the map, which package cluster does, and nothing about entries, which package replica does. What entries of a group of topics
// say is for its Shard to know; it never knows messages.
//
// # A node's way
//
//	asking     it is in no cluster. It asks all peers of its list who they are: it founds with them, or asks one that is in a
//	           cluster to be let in, and waits there as a candidate until an operator admits it
//	member     it has a replica of group 0, as a voter or a learner
//	forgetful  it has been a member and may lack what it had acknowledged: by damage, or as its folder is an old copy. It asks for
//	           another id for its replica and begins with the map of who lets it
//	removed    the cluster has it no more. It serves its own topics, and asks for nothing until it is started again
//
// # What is kept
//
// Field cluster of the manifest is a Saved as JSON: which cluster, this start of the folder and those before it, the newest starts
// of others that were seen, and where the replica of group 0 begins. The map itself is in the group's checkpoint, a file that holds
// the state and the point that it stands for together. Both count by the same replacement of the manifest.
//
// A checkpoint is written with each of the broker's own, and keeps the entries since the one before it: a group in which nothing
// happens holds back nothing of the node's log. A member that lacks older entries is sent the whole map by who leads, over the lane
// for what is large.
//
// # Groups of topics
//
// A group begins, on each of its nodes by itself, when the map gives it its first topic; from then on its replicas stay where they are. Its
// checkpoint is a file of all that its topics hold, written when that is worth it beside what was appended since. A replica that may have
// forgotten something stays out of its group.
//
// A replica that lacks entries is sent those, as long as who leads keeps them: all replicas keep them with it, for Options.Behind bytes of the log at most, since any of
// them may lead next. Else it is sent all that the group holds, at a pace that leaves publishers be; without it, when no majority of the others answers, nothing can be
// committed before it has that, and it is sent as fast as it can be. It says of each piece that it has it: so a transfer goes on over the next link when one ends, and
// ends at once when it cannot be taken. A replica, or a leader, that is started again begins anew.
//
// # Commands
//
// Whoever changes the map proposes a command at the leader of group 0, over the lane for clients if that is another node. It ends
// as done, refused, not done, or unknown: proposed, and nobody has said within Options.Wait what became of it. Nothing is proposed
// twice.
//
// # Goroutines and locks
//
// One goroutine walks a node's way and does what who leads has to do; the groups, their clock and the links have their own, and each command of
// another node has one, 64 at most. The order of locks: Member.changing, the manifest's, Member.mu. The last is held across no I/O.
package member
