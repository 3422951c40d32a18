package member

import (
	"context"

	"brokerd/broker/cluster"
	"brokerd/broker/replica"
)

// Shard is what the entries of a group of topics add up to on this node. shard.Shard is one.
type Shard interface {
	replica.Owner
	// Start begins, with the group, which is started afterwards; Close ends, once the group is closed.
	Start(*replica.Group)
	Close()
	// Tend has it bring its topics to what a map says.
	Tend(*cluster.State)
	// Content returns what a checkpoint holds, and the point that it stands for; counts is called once the manifest names that checkpoint. Point, Bytes and
	// Frees say whether it is worth it: bytes of messages that it would have, of all entries that were ever applied, and of the disk that it would free;
	// moved says that Compact has written something anew, so that these come free.
	Content() (content []byte, at replica.Point, counts func(), err error)
	Point() replica.Point
	Bytes() (held, applied int64)
	Frees() (bytes int64, moved bool)
	// Compact writes anew what is needed of files of which little is. read is told how many bytes are about to be read, and returns when they may be.
	Compact(ctx context.Context, read func(bytes int) error) (done bool, err error)
	// Full reports whether there is no room in memory for more entries, see replica.Options.
	Full() bool
	// Send gives all that it holds, piece by piece, for a Receiver on another node, and the point that it stands for. Pieces are not kept.
	Send(put func(at replica.Point, part []byte) error) error
	// Discard ends one that was not started, and removes what it has on the disk: nothing names that.
	Discard() error
	// Waiting returns topics that cannot be served here although this node leads them, and why. serves says that it does the others.
	Waiting() (waiting map[string]string, serves bool)
}

// ShardOf makes the shard of a group from what a checkpoint holds, nil for a new group. stop is told, at any time, that it is not what was
// committed; it does not wait.
type ShardOf func(group uint32, content []byte, at replica.Point, stop func(error)) (Shard, error)

// Receiver makes a shard of what another node's Send has given. In the end Shard is called, or Close, which gives it up.
type Receiver interface {
	Write(part []byte) error
	Shard(at replica.Point, stop func(error)) (Shard, error)
	Close() error
}
