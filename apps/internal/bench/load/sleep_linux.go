package load

import (
	"time"

	"golang.org/x/sys/unix"
)

// preciseSleep sleeps in the kernel, which wakes within some tens of microseconds where the runtime's timers may take a
// millisecond. The slack of the kernel's timer is the thread's own; it is set each time since goroutines move.
func preciseSleep(d time.Duration) {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // without it, the sleep is 50 us longer
	left := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&left, nil) // a signal cuts it short: the message goes out a little early
}
