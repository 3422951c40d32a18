// Package stall knows which calls to a disk are out for so long that the disk does not answer: a file system that is frozen, a server
// or an array that is gone. Such a call fails with no error, and may come back at any time.
//
// It tells the log, and whoever asks; it ends no call, refuses nothing and waits for no disk. Calls are of two sorts: those that
// publishes wait for, and all others.
//
// A Slot is for what is done very often: an atomic addition before and after, and no clock. What happens in slots is looked at every
// 250 ms while something does, and by whoever asks. Anything else is a Call, which has a timer of its own while it is out. With nothing
// out nothing runs.
//
// Watch.mu comes last, and is held over no call and no line of the log.
package stall
