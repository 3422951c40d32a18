// Package tofile is brokerd's nsq_to_file: it consumes topics and writes each message, followed by a newline, to files.
//
// A message is finished once it is in a file that is synced, with the folders that lead to it. What was received but not yet
// written when the tool ends, however it ends, was not finished, so that the broker delivers it again.
//
// # Writing
//
// Each topic has an archive. Messages wait in its batch, unanswered, until a sync is due: the sync interval is over, the consumer
// may receive no more, or the batch is large. Then one goroutine writes the whole batch in one piece behind what is in the file
// already, syncs, and finishes the messages, while the next batch fills. With gzip or zstd the piece is a member of its own, a
// complete stream, so that standard tools read the file to its last sync. Rotation is decided for each message by the time at which
// it came and by how much is before it in the file; it splits a batch.
//
// # Records of open files
//
// A file that is being written has a record in the folder .tofile of the work folder. It is locked while the file is open, and it
// names the file and, before a piece is written, the offsets between which it will lie. A start looks for records that nobody
// holds: a file that ends between the two offsets has part of a piece of unfinished messages at its end, which is cut off; then,
// if there is a work folder, the file is moved to the output folder; the record goes. A record is one text of two lines:
//
//	tofile 1 FROM TO REV       the numbers with 20, 20 and 10 digits
//	PATH                       relative to the folder, with <REV> where the revision stands
//
// It is written in one piece of at most a disk's page over the one before, and it is not synced: it is there for a process that is
// killed. After a loss of power the file has all that was finished, and at most a part of a piece behind it.
//
// # Full disks
//
// When there is no room the piece is cut off again, its messages go back to the broker unfinished, and the consumer takes nothing
// until as much room as was wanted, and some more, is there. Any other error of a write or sync ends the tool with its messages
// unfinished: what is in the file then is not known.
//
// # What it never does
//
// It never overwrites a file, never moves or cuts one that has no record, and never gives up a message unless --max-attempts says so.
package tofile
