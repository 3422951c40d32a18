// Package manifest is the file that says what belongs to a node's data folder: which checkpoints, which part of the log, and which
// features a reader must know. A start that does not find all of it refuses.
//
// It owns the bytes and how they are replaced. It never looks at the files that it names, and never decides what goes into it.
//
// # Format, version 1
//
// The file is called manifest. It is text: one line, and behind it JSON.
//
//	brokerd manifest 1 crc32c 89abcdef
//	{...}
//
// The line has the version of the format and the CRC-32C (Castagnoli), eight hex digits, of all bytes behind the line's end. Fields
// that are not known are passed over and forgotten: what an older reader must not pass over is named in needs. A newer format has a
// higher number in the same place; the line begins alike for good.
//
//	needs        names of features that a reader must know, sorted; see docs/FORMATS.md
//	folder       random id of the folder, 32 hex digits, made with the first manifest; the log, segments and checkpoints carry
//	             its first 8 bytes
//	node_id      the node's number at the last start
//	starts       how often a broker has begun to write here
//	ids          no message id at or above this was given out: the copy of brokerd.ids
//	log.seen     the highest log file whose name was synced
//	log.limit    no log file has a number at or above this
//	log.end      where the log ends; only after a clean stop, when nothing was written since
//	log.gone     log files that a power cut took before their names were synced, and that later ones name
//	log.headless log files of which a power cut took the header and left records, each with the place that it goes on from
//	checkpoints  newest first, two at most: number, bytes, CRC-32C of the file, and the place from which on the log belongs to it
//	groups       groups of replicas that have one here: number, the place from which on the log belongs to it, its checkpoint
//	cluster      what the node must not forget as a member of a cluster; package broker/member says what
//
// # Replacing
//
// The new content goes to manifest.tmp, which is synced, renamed and its folder synced, so that a crash at any moment leaves the old
// or the new one. Until Write has returned nil either may be there.
package manifest
