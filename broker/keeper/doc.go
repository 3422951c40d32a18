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
// As long as a checkpoint or a file of the log is there that was put aside (.bad), nothing is removed from segments because
// nobody knows it. Else a start removes blocks and folders that the checkpoint and the log say nothing of: a crash came between
// the record that gave them up and the removal. A topic's number is never used again.
//
// # Order of writes
//
// A checkpoint is begun at a place of the log. First every message that is needed goes to its topic's segments, which are
// synced; then the log is synced, which must not have lost anything meanwhile; then the checkpoint is written, synced and renamed
// to its name, and the folder is synced; only then is the log released, up to the place of the checkpoint before it. What is
// dropped from segments was given up before the log was synced, which says that its messages are finished.
//
// # When the log loses records
//
// Most records are written lazily, so that a log that fails, or cannot begin a file, loses some that nobody waits for. Publishes
// are refused from then on until the log has proven itself by a write and a sync and a new checkpoint has made up for what is
// missing; the node is unhealthy until then.
package keeper
