// Package cluster is the map of a cluster of brokers: its nodes, the groups of replicas and where they are, and which
// topic is in which group.
//
// Package broker/member keeps it among brokers.
//
// It is pure: a State changes by Commands alone, in the order in which group 0 has committed them, so that it is the
// same on every node; a Command that is refused changes nothing. There is no clock, chance or disk in it: what a
// decision needs is in the Command. It never knows messages.
//
// # Nodes
//
// A node is its data folder, by the folder's random id; an address is only where it was last. Each has a number from
// 0 to 1023, the prefix of the ids that it gives to messages, which is given to another node a day after its own was
// removed. A node that asks to join waits as a candidate until an operator admits it, or has it take the place of
// another one.
//
// # Groups
//
// A cluster of N nodes begins with 2N groups, laid round the ring of nodes so that each is to lead two; zones differ
// where they can. A replica's id is used once. A replica moves in one step of the map, which gives the new one its
// id; the group does the rest, and says when it is done. A node is in one move at a time.
//
// # Topics
//
// A topic has a group and in it a number that no other ever has, so that what is meant for a topic that was deleted
// is never taken by one that was made again under its name. Only the word deleting deletes: what a map does not
// mention is reported, never removed.
//
// # Founding
//
// Nodes that are given the same name and list of peers found a cluster when all of them can be reached, none has ever
// been a member, and all have computed the same first state. A majority is not enough: two nodes that were wiped
// could found a second cluster beside the first. See Decide.
package cluster
