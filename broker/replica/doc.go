// Package replica is one group of replicas: the same log of entries on several nodes, one of which leads.
//
// Brokers keep the map of their cluster in such a group, and replicated topics in others: see broker/member and broker/shard.
//
// It owns the engine (etcd's raft), what the engine stores in the node's log, how records become entries, which of
// them are committed, and for how long a leader may believe that it leads. It never opens a socket and never looks
// into a topic's records: messages between replicas are bytes that it gives to a Transport, records are bytes that it
// gives to an Owner.
//
// # Parts
//
// A machine is the whole of a replica but for time and threads: it is told of ticks, messages, writes that are done
// or failed, and says what is to be sent, waited for and told. A moment is an argument. Group is a thin shell around
// it: whoever has something for the machine runs it when it is nobody's turn, one goroutine does what is left to it, and one
// waits for the log, unless who has read the last message over Bulk does: he has nothing else to do then. A Clock tells all groups of a node of ticks. The simulator of the tests runs machines, so that a seed
// decides all that happens.
//
// # What a group costs that rests
//
// A node that rests is woken for ticks, and for what others send. So all its groups tick and beat at the same moments, by one goroutine, and what that brings about
// leaves in one write to each node, and the answers to heartbeats of others with it: they may be as late as the next beat, which costs the lease that much. Only the
// first one of a term is answered at once, as who leads anew delivers nothing before. A group in which nothing happens beats half as often.
//
// # What holds up whom
//
// What is urgent of all groups comes from a node over one connection, Control, their entries over another one, Bulk, and ticks come by one goroutine. So none of these waits
// for a group: where its turn is somebody's, or its owner may wait for a disk, they leave what they have to the group's own goroutine. Bulk alone may wait for a sync, of the newest
// entry that it has brought. When too much waits there, what has come
// over Control is lost, as links may lose it, and Bulk waits.
//
// # Storage
//
// The log of the node is the log of all its groups. A table has for each entry its term and place; the newest entries
// are in memory too, all that are not yet written among them, and older ones are read by their place. An entry that
// has the index of an earlier one replaces it and everything behind it; nothing is overwritten. What is committed
// here is written beside votes, never above what is safe on this disk, so that a start can tell what it has lost.
//
// # Order of answers
//
// A write to the log carries answers, to the leader or to a candidate, that may leave when it is as safe as the
// group's level says, or synced if it says a term or a vote. They leave in the order of the writes, whatever each
// waits for: an answer that is safe at level disk never passes one that waits for a sync.
//
// # Failed writes
//
// A write that failed ends the engine, since what it waits for will never come. Entries of that write and of all
// behind it are taken out of the table, and the term and vote are again those that are safe; then it is made anew as
// at a start. At level disk a sync that failed may have taken what was acknowledged: then the replica is forgetful.
//
// # A replica that has forgotten
//
// A forgetful replica may lack what it had acknowledged. It has no engine: it answers nothing and votes for nobody.
// It keeps what marks of the log vouch for, up to the last commit or checkpoint in there, and comes back under an id
// of its own that nobody has had, as a learner in place of what it was. Until then the others are the quorum.
//
// # A replica that is behind
//
// Checkpoints let go of the log, whatever a follower that is away may lack of it. It then begins behind a checkpoint of another
// node, with the votes that it has given: see Group.Rebase. The engine's leader does not find out by itself that a follower has
// more than it thought; the follower says so, when a heartbeat tells it what the leader thinks that it has.
//
// # Lease
//
// Each heartbeat carries the leader's time, which comes back with its answer. While a majority has answered one that
// was sent within three quarters of the election timeout nobody else has been elected by timeout: followers do not
// vote before that is over since they heard the leader, and a replica that has just started votes for nobody for as
// long. Only duplicates may depend on it, never what is stored.
//
// # Locks
//
// Group.mu guards what waiters look at, batch.mu the open entry, turn.mu what is to be done with the machine, queue.mu what waits for the log: none
// is held while another of the group's is taken, but batch.mu under Group.mu. They come last but for those of the log, and are held
// across no I/O and no call out.
package replica
