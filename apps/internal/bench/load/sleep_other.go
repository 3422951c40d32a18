//go:build !linux

package load

import "time"

// preciseSleep sleeps as precisely as the runtime can.
func preciseSleep(d time.Duration) { time.Sleep(d) }
