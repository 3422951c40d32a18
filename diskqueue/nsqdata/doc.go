// Package nsqdata is nsqd's data folder: an nsqd can be started on a folder that this package wrote, and the other way
// round.
//
// It owns the folder's lock, the metadata file and the disk queues, which it keeps through go-diskqueue, and one file of
// its own, the bound of the message ids. It never decides which topics exist, which message goes to disk or what is done
// with one that comes back, and it never deletes what it cannot read: damaged files stay beside the good ones as ".bad".
//
// # Files
//
//	nsqd.dat                        topics, channels and their pause state, JSON (Metadata)
//	<queue>.diskqueue.meta.dat      "depth\nreadFile,readPos\nwriteFile,writePos\n", decimal
//	<queue>.diskqueue.NNNNNN.dat    records, at least six digits, counted from 000000
//	<data file>.bad                 a data file from which nothing more could be read
//	brokerd.ids                     the id bound (IDs); nsqd does not look at it
//
// A queue is named after its topic, or topic:channel (topic;channel on Windows). A record is a big-endian int32 length
// and that many bytes, laid out like a message's payload on the wire: timestamp 8, attempts 2, id 16 hex digits, body.
// Every file has mode 0600. Files that are replaced whole are written beside their name, synced, renamed, and the folder
// is synced.
//
// List finds the queues of a folder by the names of its files, whoever knows of them. Scan reads a queue that nobody has open without changing it; PutAside moves its files to another folder.
//
// # After an unclean stop
//
// go-diskqueue writes a queue's meta file only now and then, so that after a crash its records are ahead of it. Open brings
// the meta file up to date with the data files before go-diskqueue reads it, so that every record is found and counted:
// bytes behind the known write position are counted as records, a data file that is shorter than announced is not written
// to any more, and data files without a readable meta file are read from the first one on. Records that had been taken
// since the meta file was written come again.
//
// # Locks
//
// A Queue's take, then its put, then its account. Nothing is logged or called back under account; it is never held across
// I/O, so that Depth never waits for the disk.
package nsqdata
