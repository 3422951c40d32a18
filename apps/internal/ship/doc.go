// Package ship follows log files and publishes each line to a topic of a broker, as tail -F piped into to_nsq would, without what
// that loses when a file is rotated, a process is started again, or the broker is away.
//
// A tracker finds files by their patterns, each poll interval, also while the broker is away, and keeps each one open from then on.
// A pump reads what is new, in portions, publishes it in batches, and when the broker has acknowledged a batch writes the positions
// down: killed, it repeats at most that batch, and misses nothing.
//
// # What a file is
//
// Neither its name nor its inode alone: an entry is one life of a file's contents, known by inode and by the print, its first bytes, up
// to 1024. A file that is renamed away is read on, to its end, until nothing has come for the rotate wait; then its last line is
// published, also when no newline ends it, and it is forgotten. A file that is shorter than it was, or whose print has changed, was
// truncated: what is new in it is another entry, and what was not read yet is looked for in a copy beside it, a file with the same
// print, as logrotate's copytruncate makes one. The print is compared after each read, so that nothing is read across a truncation.
//
// A start looks for each entry of the state under its name, then beside it. Files that were made and rotated away between two looks,
// or while nobody looked, are read as well: they have a followed name with a number or a date behind it, were written to since, and are
// neither done with nor a copy, by their prints, of what is followed. So files must differ in their first 1024 bytes.
//
// # State
//
// The state file is JSON, replaced as a whole after each acknowledgement, synced: {"version":1, "seen":TIME of the last look, in
// nanoseconds, "files":[{"path", "device", "inode", "offset": bytes acknowledged, "print_length": bytes, "print": hex of SHA-256}], "done": the same of
// files that are done with}. It is locked, by
// a file beside it with .lock behind its name. A state that cannot be understood is an error; it is never replaced.
//
// # Messages
//
// A message is a line without its newline, or several joined by the multi-line patterns with newlines between them. Empty ones are
// left out, as brokers refuse them. What is longer than a message may be becomes several messages.
//
// Lock: tracker.mu guards the entries; it is held to look and to read, never to publish or to write the state.
package ship
