// Package segment keeps one topic's overflow on disk: blocks of whole message frames, written one behind the other, read at
// random by reference, and given up whole.
//
// It owns the files of one folder. It never decides which messages are written, read or no longer needed, starts no
// goroutine, and never deletes a file in which it found damage: that one is renamed when nobody needs the rest of it.
//
// # Files
//
//	NNNNNN.seg       blocks, at least six decimal digits, counted from 000001, mode as the file system gives it
//	NNNNNN.seg.bad   a file with damage whose readable blocks are not needed any more, unless Options.Aside puts it elsewhere
//
// Numbers grow; that of a file that is there, good or bad, is not used again. A file is written until it would exceed
// Options.FileSize; a block that is larger than that gets a file of its own. Each Open begins a new file, and so does the
// Append after one that failed: what was written once is never written over.
//
// # Format
//
// All numbers are big-endian. Every sum is a CRC-32C (Castagnoli) that is started not from 0 but from
//
//	start(file, offset) = file * 2654435761 + offset    modulo 2^32
//
// with the number of the file and the offset in it of the header or block that the sum belongs to, so that bytes which were
// copied from elsewhere, by a file system or as the body of a message, do not pass for what should be in this place.
//
// A file is a file header and blocks without gaps. The first 16 bytes of the header are the same in every version:
//
//	 0  magic    4  "bseg"
//	 4  version  4  2
//	 8  file     4  the number in the file's name
//	12  sum      4  of bytes 0 to 11, started from start(file, 0)
//	16  folder   8  the first bytes of the data folder's id
//	24  topic    4  the topic's number in the log
//	28  sum      4  of bytes 0 to 27, started from start(file, 0)
//
// A block is a header, where offset counts from the start of the file, its messages without gaps, and its sections:
//
//	 0  magic    4  "blk" and the version, 2
//	 4  sum      4  of bytes 8 to 35, started from start(file, offset)
//	 8  first    8  position of the first message; the others count on from it
//	16  count    4  messages, 1 or more
//	20  span     4  positions that the block speaks of: count, or more when section 1 says which of them it has
//	24  length   4  bytes of the messages
//	28  extra    4  bytes of the sections
//	32  sum      4  of the sections, started from start(file, offset); 0 without any
//
// A section is its kind, one byte, the length of its data, three bytes, and the data. docs/FORMATS.md has the kinds.
// Kind 1 says which of its positions a block has messages of: for each run of them the distance of its first from the end of the one
// before, which is the block's first at the beginning, and its length, uvarints.
//
// A message is its frame as protocol.AppendMessageHeader lays it out, but for the type, which is 2 in each of them and whose
// place holds the sum:
//
//	 0  size      4  bytes behind this field: 30 and those of the body
//	 4  sum       4  of the whole frame with 2 in this place, started from start(file, offset of the block), exclusive-or
//	                 the lower 32 bits of the message's position
//	 8  time      8
//	16  attempts  2
//	18  id       16  lower-case hex digits
//	34  body
//
// So each message proves, without a byte more than on the wire, that it is whole and which one it is. Where a size is
// damaged the next message is found by trying which bytes prove a position that the block still lacks.
//
// # Files as a whole
//
// A file of which all that is needed goes together can be needed as a whole (Join): then its blocks are not remembered, and an Open that is told of
// it does not look into it. Its place is a Ref whose offset is 0. Whoever reads there asks for its blocks (Blocks).
//
// # What Open makes of a file
//
// A file of another folder, of another topic, of another number or of another version is left alone. An error of the disk is no damage: it is tried
// again, and then Open, or Read, fails with it. What looks like damage is read once more, from the disk and not from memory, before it
// is believed.
//
// Open reads headers only. A file may end in the middle of a header or block, or in zeros: that is what a crash or a failed
// write leaves of an append that was not synced, and the rest of the file is passed over. Whether all is there that was
// synced is for the caller to compare with what it knows. Anything else that is no header is damage: it reaches to the next
// valid header of the file. Zeros that are followed by a valid header are damage too, although a power cut can leave them of
// writes that were not synced; Damage.What tells them apart. Messages are verified when they are read.
//
// The same position may be in two blocks, when a block was written again and the old one was not dropped before a
// crash, or when an Append failed after all its bytes had arrived. A caller must therefore never give the numbers of a
// failed Append to other messages; then either copy is as good.
//
// # Failures
//
// A write that fails ends its file: what was appended to it before stays readable, nothing more is written to it. A failed
// sync leaves the blocks in doubt that it was for. Sync returns that error for as long as one of them is needed; the caller
// appends them anew (Doubtful), syncs and drops the old ones.
//
// # Locks
//
// Append, Sync, BeginSync, EndSync, Doubtful, Drop, Release, Close and RemoveAll are called by one goroutine at a time, which
// the caller sees to with its topic's publishing lock. Read, ReadFrame, Bytes and Syncing.Run may be called beside them, as may Blocks.
// Store.mu guards what they share, the table of files and the open readers; no file is touched under it.
package segment
