// Package keeper keeps the topics of a level above memory on disk: it opens the node's log and recovers from it, writes
// checkpoints so that the log stays short, lets go what nobody needs any more, and watches the space on the disk.
//
// It decides when, never what: what a checkpoint says and which messages are needed is for package topic to know.
//
// # The folder
//
//	journal/              the node's log, see diskqueue/wal
//	segments/ID/          overflow of the topic with that number in the log, see diskqueue/segment
//	checkpoint.NNNNNN     see diskqueue/journal; the two newest are kept, so that a damaged one costs nothing: the log reaches
//	                      back to the older one
//	checkpoint.NNNNNN.bad one that could not be read
//	reserve               zeros: room on the disk for what must be written when there is none left
//
// # Order of writes
//
// A checkpoint is begun at a place of the log. First every message that is needed goes to its topic's segments, which are
// synced; then the checkpoint is written, synced and renamed to its name, and the folder is synced; only then is the log
// released, up to the place of the checkpoint before it. What is dropped from segments goes after the log is synced, which
// says that its messages are finished.
package keeper
