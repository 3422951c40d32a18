package broker

import (
	"fmt"

	"brokerd/diskqueue/vfs"
)

// Reading is how much a tool has read of a stopped broker's folder so far. The zero value is ready.
type Reading struct{ meter vfs.Meter }

// Text says it for people, and what was read last; "" before anything was. It is safe while the tool reads.
func (r *Reading) Text() string {
	bytes, last := r.meter.Read()
	if last == "" {
		return ""
	}
	return fmt.Sprintf("%.1f GB read, now %s", float64(bytes)/1e9, last)
}
