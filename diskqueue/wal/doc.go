// Package wal is a node's log: records appended one after the other, written and synced in groups, read back in order when
// it is opened.
//
// It owns the files of its folder. It never knows what a record means, never deletes a file that it was not told to release
// and that it could not read whole, and never tries a failed write or sync again.
//
// # Format, version 2
//
// Integers are little-endian. A checksum is a CRC-32C (Castagnoli).
//
//	NNNNNNNNNNNNNNNN.wal     a file of the log; the number, 16 decimal digits, counts up and is never used twice
//	NNNNNNNNNNNNNNNN.spare   a file that will be overwritten, released or new; its content means nothing
//
// Numbers may be left out. They are leased: no file has a number at or above the limit that Options.Lease has made durable, and a log
// that is opened goes on at that limit, since a power cut can forget the names of the last files but not take back what a file that
// is overwritten later holds of them. More are leased in the background when 500 are left. A file has a header of 64 bytes, of which
// the magic, the version and the checksum stay where they are in every version:
//
//	 0  magic     8  "brkdwal\n"
//	 8  version   4  2
//	12  unproven  4  of so many numbers before its own a sync has failed, and none has proven the names of the files: a power cut may
//	                 take them, and later ones stay; mostly 0
//	16  number    8  the file's own; a header with another one is of an earlier life and says nothing
//	24  previous  8  number of the file that the log was in before, 0 for none
//	32  end       8  offset at which that one ends: no record of it lies beyond
//	40  size      8  bytes that the file was preallocated to
//	48  folder    8  the first bytes of the data folder's id: a file with others is not this log's
//	56  reserved  4  0
//	60  checksum  4  of the 60 bytes before
//
// Records follow without gaps. A record never crosses files; one that is larger than a file gets a larger file of its own.
//
//	 0  checksum  4  of the file's number (8 bytes), the record's offset in the file (8 bytes) and the 9 bytes that follow
//	 4  length    4  of the data
//	 8  kind      1  1 to 239 are the caller's; 240 to 255 are the log's own; 0 is none, so that zeros are no record
//	 9  data sum  4  checksum of the data
//	13  data
//
// Since the first checksum covers where the record is, no bytes of an earlier life of a recycled file, and none copied from
// elsewhere, pass for a record: file numbers differ within 32 bits of each other, which a CRC-32 always notices. Checksums
// guard against accidents, not against forgers.
//
// Kind 255 is a mark, 24 bytes: since (file number, 8), file number and offset (8 each): what lies between the beginning of
// file since and that offset had been synced when the mark was written. Files that a start has read, synced and found without
// damage are covered by the marks that it writes. Readers pass over other kinds from 240 on.
//
// # What a reader concludes
//
// A file's records end where the next file's header says, and else, in the last file, before the first thing that is no
// record and has none behind it. What is unreadable before that end is passed over up to the next record. It is damage if
// a mark covers it, and otherwise what a power cut leaves of writes that were never synced, out of order as they may be.
// A file that the header of a later one leaves out (its number is between that one's and its previous) holds what failed to
// be written: it is not read. Opening a log never appends to a file that is there; the next record begins another one.
//
// What Need asks for must be there: the file in which it begins, every file from there on that a header goes on behind, unless that was unproven
// and no mark covers it, the newest one whose name was synced, and the end that a clean stop has left. Else the log is refused with ErrMissing. An error of the disk is
// no damage: the read is tried again, and then refuses the log. What is no record where one could be is read once more, from the disk
// and not from memory, before it is believed.
//
// ReadAt reads one record again by its offset, and holds no lock while it does. Since a record's checksums say where it is, a file that is
// released, or overwritten, meanwhile is noticed.
//
// # Groups
//
// Append puts a record into a buffer, or refers to data that is large. Whoever commits first while no write is in progress writes the
// whole buffer, with one call unless there is large data in between; those who come meanwhile wait, and one of them writes for all. Syncs are shared in the same way, independently, so
// that commits of level Written never wait for a sync. Before a small write those get a chance to append that could run now.
//
// Syncing bytes that overwrite others costs less than syncing such as make a file grow into space that was only set aside for it.
// Files are therefore used again, and where commits wait for many syncs the next file is written full of zeros beforehand.
//
// # Failures
//
// A file that cannot be begun (created, preallocated, renamed, no number for it: a full disk, too many open files) fails the records that were
// meant for it, and those appended since; the log is in order and the next commit tries again by itself. Any other failed
// write or sync is final: all that was not yet written, or not yet synced, fails with that first error, and so does
// everything later, until Recover has proven by a write and a sync that a new file works. An offset is never given to two
// records, so that Commit always answers for the record it was asked about. A file that somebody has removed or replaced is noticed
// when it is synced, and is a failed sync. Names that a sync of the folder was for which failed are not durable, whatever a later one says: the files that
// were begun with them are not synced, and one that was renamed is renamed anew before it is written over. Stats.Lost counts records that were appended and
// lost so, and those that were written and not synced when a sync failed; whoever appended without committing
// looks at it and appends its state anew.
//
// # Goroutines and locks
//
// Start starts three goroutines, Close ends them: one writes what nobody commits, one syncs what nobody waits for, one leases numbers and prepares spare files. Release has
// a lock of its own, held across I/O. Entering a round of syncs comes before entering one of writes; Log.mu comes last and is
// never held across I/O, logging or a call out.
package wal
