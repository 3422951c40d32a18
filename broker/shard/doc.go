// Package shard is the topics of one group of replicas on one node: a standby while another node leads, served while this one does.
//
// It owns the standby, which every replica keeps, and the reign: when this node begins to serve, when it may deliver, and when it stops. It
// decides nothing about the map, which package cluster does, and nothing about entries, which package replica does; it never knows sockets.
//
// # A reign
//
// Once all is applied that was committed before this node came to lead, live topics are made of the standby, and served. What they say runs
// ahead of what is committed: a publish is answered, and shown, when its record is. The standby follows behind, on the leader too, so that
// nothing needs to be undone: when the lead is lost the live topics are dropped, under their consumers, and the standby is what was committed.
// That costs who leads the applying of records and their bodies a second time; it has one way to be in a state, not two.
//
// A record that cannot be appended ends the reign, as the topics have run ahead of the log by then; also when the lead itself is not lost, as
// while it is handed over. When all is applied that the reign has appended, another one begins.
//
// # Lease
//
// Nothing is delivered while nobody knows whether this node still leads: each take asks. Publishes need no lease, as they wait for the commit.
//
// # Goroutines and locks
//
// One goroutine begins and ends reigns, and does what the map asks for; the group's own one applies. Shard.mu is held while an entry is
// applied, and across no wait.
package shard
