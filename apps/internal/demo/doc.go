// Package demo sends real data through a real broker to real clients, and counts.
//
// It starts a brokerd of its own on free ports and an empty temporary folder, publishes every line of every file of the Go
// library's source as path:number:text through stock go-nsq producers to one topic, and consumes the topic in two
// channels with stock go-nsq consumers: in each channel some steady ones, one that requeues a message in a hundred, and
// one in a process of its own that is killed half-way with its hands full.
//
// It exits 0 only if, in each channel, the multiset of the lines that were finished equals the multiset of the lines that were
// published. A line counts when a consumer finished its message, and once per message id: a message that was on its way when
// its consumer was killed is handled again, by another consumer, under the same id. The killed consumer tells of each
// message before it finishes it, and neither tells of nor finishes those that it dies with.
//
// In a second act two channels come late, when everything is finished: one begins at the beginning of what the topic has kept, the other at the
// time of the middle message of the first act. Each must finish exactly the lines that came from there on.
//
// On a terminal it draws while it runs where messages are, by the broker's own figures, and the life of one message as its consumers tell it: of
// one that a consumer gives back, or that was with the killed one. Elsewhere it prints a line of progress now and then.
//
// The demo uses the broker as any client does: over TCP through go-nsq, and over HTTP. It knows nothing of its insides.
package demo
