// Package storage keeps the topics of a level above memory on disk: it opens the node's log and recovers from it, writes
// checkpoints so that the log stays short, lets go what nobody needs any more, and watches the space on the disk.
//
// It decides when, never what: what a checkpoint says and which messages are needed is for package topic to know.
//
// # The folder
//
//	manifest              what belongs to the folder, see diskqueue/manifest
//	journal/              the node's log, see diskqueue/wal
//	segments/ID/          overflow of the topic with that number in the log, see diskqueue/segment
//	checkpoint.NNNNNN     the manifest names the two that count, so that a damaged one costs nothing: the log reaches back to the
//	                      older one. A file with another number is unfinished, or about to be removed
//	reserve               zeros: room on the disk for what must be written when there is none left
//	set-aside/            files that nobody knows, and damaged ones that are not needed any more, under the paths that they had; for
//	                      people. What cannot be moved, as it is on another file system, has .set-aside behind its name instead
//
// A checkpoint's file is a header of 32 bytes, integers big-endian, and what diskqueue/journal writes:
//
//	 0  magic     8  "brkdckpt"
//	 8  version   4  2
//	12  folder    8  the first bytes of the folder's id
//	20  number    8  the one in the name
//	28  checksum  4  CRC-32C of the 28 bytes before
//
// Its size and checksum stand in the manifest.
//
// # A start
//
// The version of every file is looked at before anything is touched: one of another version refuses the start. Files of segments that the
// checkpoint names as a whole, as they are only kept, are not looked into, as there may be very many: they must be there, and no shorter than they were,
// and one whose size is another is looked into after all. Then all must be there
// that the manifest and the checkpoint name: one of the two checkpoints, the log from its place on without a gap, up to the newest file
// whose name was synced and after a clean stop up to its end, and the files of segments in which the checkpoint has messages that are
// still needed. If not, the start refuses with ErrIncomplete, which says what is missing, what would be lost, and how to go on without it;
// nothing is changed by then. An error of the disk is tried again and then refuses as well: it is no damage. Damage is what was read
// twice and does not prove to be what was written; it costs what it touches, and the rest is served.
//
// What a crash can take of the last second before it, a log file whose name was not entered yet, cannot be told from a power cut that
// has forgotten it: that is the limit of it.
//
// A start need not write anything before it can serve. What of the log and of segments is newer than the checkpoint, and may never have been
// synced, it writes once more where it is, as a system that has refused a sync takes it for written; when that fails, publishes are refused until a
// checkpoint has made up for it. The manifest is written with the first lease of numbers for log files, in the background
// or at the latest with the first record that is written.
//
// Nothing is deleted because nobody knows it: it goes to set-aside/. The folder of a topic that the checkpoint and the log do not have is
// removed when both were read whole and its number was given away before: then it was deleted.
//
// # Order of writes
//
// A checkpoint is begun at a place of the log. First every message that is needed goes to its topic's segments, which are
// synced; then the log is synced, which must not have lost anything meanwhile; then the checkpoint is written, synced and renamed
// to its name, the folder is synced, and the manifest is replaced and its folder synced; only then is anything removed: older
// checkpoints, and the log up to the place of the checkpoint before it. What is dropped from segments was given up before the log was
// synced, which says that its messages are finished. At a clean stop the checkpoint is written twice, so that both count and next to
// nothing of the log is left.
//
// # Compaction
//
// Files of segments of which less than half is needed are written together anew, in the background at 16 MiB/s, after a checkpoint and
// when nothing happens any more. What is needed is looked up in one moment for each channel; since then it can only have become less. A
// node keeps its positions and gets another place; its block has only the messages that were needed. The old one goes after three more
// checkpoints, when neither that counts refers to it. After a crash both may be there: the one counts that the checkpoint names.
//
// # When the log loses records
//
// Most records are written lazily, so that a log that fails, or cannot begin a file, loses some that nobody waits for. Publishes
// are refused from then on until the log has proven itself by a write and a sync and a new checkpoint has made up for what is
// missing; the node is unhealthy until then. There is one way with everything that can keep a write from being made (WriteTrouble): it
// heals by itself. When what lacks is room the reserve is given up for what must be written.
package storage
