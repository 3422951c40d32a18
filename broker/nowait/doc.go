// Package nowait reads and writes sockets without waiting, and without a word to the scheduler.
//
// It owns these two system calls. It never waits, and never knows whose socket it is: the caller waits by the connection's own means when there is
// nothing to read, or no room, and keeps the file descriptor open meanwhile, as syscall.RawConn does.
package nowait
