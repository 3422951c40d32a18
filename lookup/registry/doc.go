// Package registry is what a lookup knows: which brokers are there, which topics and channels each of them has, and which of
// that consumers are to be told.
//
// It owns the registrations and their rules and is data only: no socket, no goroutine, no clock (time is an argument), nothing
// on disk. It checks no name: the rooms that read names from outside do, so that every name here is valid and none is a
// pattern.
//
// # What is kept
//
// A peer is one registration connection of a broker. A key is a topic, or a channel of a topic; a record says that a peer
// has it. A peer with a channel always has the topic too. Deleting a topic deletes its channels.
//
//   - A key outlives its records: a topic without brokers is still listed, until it is deleted over HTTP. An ephemeral key goes
//     when its last record goes, however it goes: by UNREGISTER or by the end of the connection. One that was made over HTTP
//     and never had a record stays until it is deleted.
//   - Registering again changes nothing: it neither lifts a tombstone nor counts as a sign of life. Only Join and Ping do.
//   - A peer silent for longer than InactiveTimeout is hidden until it pings again; its records stay.
//   - Two connections of one broker (same addresses and host name: the old one died unnoticed) are two peers, of which only
//     the one last heard is told.
//
// # Tombstones, and why a deleted topic stays away
//
// A tombstone hides one broker for one topic for TombstoneLifetime, so that consumers who were cut off by the broker's
// deletion of the topic do not come back and make it again. It belongs to the broker, named by broadcast address and HTTP
// port, and not to its connection: a broker that reconnects within the lifetime is hidden still.
//
// Deleting a topic or channel here comes before its brokers delete it, and in between they go on to talk of it: by making
// a channel under it, or by reconnecting and registering all they have. So a deletion leaves a tombstone for every broker
// that had a record. What such a broker registers is kept but hidden, and a key that only has such records is in no answer
// but Records: not in Topics, Channels, Nodes, nor Lookup. It ends in one of two ways:
//
//   - The broker says UNREGISTER: it has deleted the topic, its old life is over. The tombstone goes, nothing is left of
//     the key, and a REGISTER after that is a new life and told at once.
//   - The lifetime passes without that: the broker still has the topic, so that messages wait there, and it is told again.
//
// # Order
//
// All lists are sorted: names by byte, peers by broadcast address, ports, host name and age.
//
// # Locks
//
// Registry.mu guards everything but a peer's time of last update, which is atomic so that thousands of pings never wait for a
// reader. Queries copy names and pointers to peers under the lock and do the rest outside; a Peer's description never changes.
package registry
