// Package journal says what the records of a node's log mean, and what they add up to: the topics, their channels, and of
// each channel what waits, what is out and how often it was delivered.
//
// It is pure. Encoders append to a slice that they are given; State applies records one by one, and is what a checkpoint holds
// and what recovery starts from. Bodies stay in the log and in segments: State knows messages by their positions.
//
// # Records
//
// A record is a kind, one byte, and a payload. Integers of fixed size are big-endian; varints are those of encoding/binary.
//
//	Publish    topic u32, only u32, flags u16, first u64, count u32, what the flags say, frames
//	Delivered  topic u32, channel u32, after u64, runs    delivered once more each; one that waits leaves the backlog
//	Finished   topic u32, channel u32, runs
//	Deferred   topic u32, channel u32, then for each: position varint (difference), due varint (difference)
//	Change     JSON of type Change                        topics, channels, pauses, options, emptying
//	Void       topic u32, runs                            publishes that failed: nobody was shown them
//	Discarded  topic u32, channel u32, reason u8, runs    left the channel otherwise than by being finished
//	Aside      topic u32, channel u32, runs               left the backlog, undelivered, to wait for the turn of their key
//	Time       i64, Unix nanoseconds                      what time it was
//	By         topic u32, channel u32, consumer u64       the next record of the channel is that consumer's doing
//	Back       topic u32, channel u32, consumer u64, way u8, runs  came back from it: 1 requeued, 2 timed out, 3 disconnected
//	Consumer   topic u32, channel u32, consumer u64, name what it is called
//	Moved      topic u32, channel u32, reason u8, size u32, so many bytes of runs, then a Publish: those messages, in another topic
//
// first is the position of the first message; the others count on from it. only is the one
// channel that gets the messages, 0 for all, 2^32-1 for the topic's own backlog. Flag 1 is due i64, nanoseconds since the Unix epoch,
// of messages that are deferred, flag 4 is for each message the sum of its key, u32, 0 where it has none, flag 8 is since u64, the first position whose deduplication key is remembered from then on, and 16 bytes
// for each message, its key, zeros where it has none, flag 16 expires i64, the same, from when on they are of no use any more. Flag 32 is size u32 and so many
// bytes of what messages have beside their bodies: for each that has something the distance from the position behind the one before and
// the length, uvarints, and the properties: for each the length of its name, a uvarint, the name, and its value likewise. A flag that is
// not known is of a newer version. The attempts in a frame are those of its next
// delivery: more than 1 only in what is deferred, of a message that another broker has delivered. Runs are positions: for each run
// the difference of its first to the end of the one before, a varint, and its length, a uvarint.
//
// Every position is a message or void. A Void stands before any later Publish of its topic, so that a gap between two publishes that
// none explains is damage.
//
// Messages leave a backlog in order. What a record passes over has left by another one, which stands right behind it for what could not be
// read; where none says so it waits again. Beside an Aside of the same moment after is where the backlog is left by both. Only those whose
// time to live is over, that were cancelled, skipped or finished by hand, or that are set aside, leave from anywhere. after is the last
// message that had left the backlog when the record was written: when the state is not as far, records are missing, of a power cut or of
// writes that failed, and what they were about waits again rather than being lost.
//
// A Moved record is messages that leave one topic, or only one channel of it, and are in another: both or neither. When a Void says that
// their publish has failed they had not left; so they come back. Channel 2^32-1 is every channel that has them, and the topic's own backlog.
//
// Time, By, Back and Consumer are for people who ask what happened to a message, and for no state but the newest time. There is a Time a second
// while others are written. By, Back and Consumer are of topics with the option trace. Consumers are numbered anew in each life of a
// broker, and are named again behind each checkpoint.
//
// A record may be applied to a snapshot that has it already. Those of a channel are appended under its lock, so that their offsets
// decide. A publish is appended before the channels have it: a channel knows the last position that it was offered, and the last that
// it inherited from the topic's own backlog.
//
// # Groups of replicas
//
// A group keeps the same records on several nodes. What it writes to the log of each are records of its own; those about topics stand in its entries.
//
//	Entry  group u32, term u64, prev u64, index u64, type u8, data
//	Vote   group u32, term u64, vote u64, commit u64
//	Base   group u32, generation u64, index u64, term u64, record u64, members
//	Gone   group u32, replica u64                          this id has left the group, and is used up
//
// The data of an entry of type 0 is the number of its first record, u64, and for each record kind u8, length uvarint, payload; of type 1, a
// change of members, what the engine wrote; of type 2 there is none. prev is the term of the entry before it. An entry
// replaces one that has its index, and everything behind that: the later record counts. One whose predecessor is not there with that
// term is what a power cut left, and says nothing. Members are four lists, voters, learners, outgoing voters, and those of them that will
// be learners, for each its length u8 and so many u64, and u8 1 when the leader ends the change by itself. A Base counts when the
// manifest names its generation: the group's log begins behind it.
//
// # Checkpoint
//
// A file is the magic "BRKDCKP2", records, and an End record. Each record is a length u32 of kind and payload, CRC-32C u32 of
// them, kind u8, payload.
//
//	Head     JSON: the number of the next topic or channel, none is ever used twice, and where the log was
//	Topic    JSON: topic with the offset in the log that it is as of
//	Nodes    blocks of the topic before it that are in its segments: first u64, count u32, file u32, offset u32, length u32 each
//	Archive  files of segments of the topic before it that are only kept: first u64, count u32, file u32, bytes of frames u32, bytes of the
//	         file u32, when its first and its last message came i64 each, its lowest and its highest id u64 each; zeros: not known
//	Channel  JSON: channel of the topic before it, with its counts and the offset in the log that it is as of
//	Waiting  ranges of the channel before it: first u64, last u64 each
//	Dedup    deduplication keys of the topic before it, by position: 16 bytes, position u64, Unix seconds u32 each
//	Unshared positions of the topic before it that are kept and not for all channels: first u64, last u64 each
//	Expiry   messages of the topic before it that have a time to live of their own: first u64, count u32, Unix nanoseconds i64 each
//	Out      messages of the channel before it: position u64, due i64, attempts u16 each
//	End      u64 number of records before it
//
// Without a valid End the file is not a checkpoint. A newer format has another magic.
package journal
