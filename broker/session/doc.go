// Package session is one client connection: what it says, what it is told, its credit and its buffers.
//
// A Server owns the sessions. A session has one goroutine, its reader, which parses commands and answers them. Heartbeats cost
// neither a goroutine nor a timer: they are the deadline of the reader's read.
//
// Messages are taken and sent by whoever has the duty, one goroutine at a time and none while there is nothing to send. That is
// the reader of a publisher, or of the consumer itself, when it has brought the work and would only wait for its peer otherwise;
// it never waits for the consumer. All else, and what could wait, is for a goroutine that is started and ends when all is sent.
// The session's reader returns only after the last one has ended.
//
// The reader works through all that is in its buffer before it answers: FIN, REQ and TOUCH that follow each other are applied
// under one lock, publishes to one topic are appended together, and the answers leave in one write, before the reader would
// wait for more. The order of answers is that of the commands.
//
// Messages leave when there is nothing more to send, or when a buffer is full. A client that asks for an output buffer
// timeout other than NSQ's default of 250 ms gets it as a batching delay; the default itself is what every stock client
// sends without being asked, so it is taken as no wish.
//
// A session that is told to end reads on as long as there is something to read, for a quarter of a second at most. A client that
// still has messages is shown the end by closing one direction; its answers count for as long again.
//
// Buffers come from pools: a connection that waits for its peer holds none, unless it is compressed or encrypted.
package session
