package topic

import (
	"testing"
	"unsafe"
)

// What a broker with many idle topics pays is mostly these: a topic, its log, its own backlog and a channel each. The allocator rounds up to the
// sizes below, so a field more may cost 128 bytes; what few topics use belongs behind a pointer that is nil for the others.
func TestWhatAnIdleTopicIsMadeOfIsSmall(t *testing.T) {
	for _, part := range []struct {
		name       string
		size, most uintptr
	}{
		{"Topic", unsafe.Sizeof(Topic{}), 256},
		{"logStore", unsafe.Sizeof(logStore{}), 512},
		{"Channel", unsafe.Sizeof(Channel{}), 896},
	} {
		if part.size > part.most {
			t.Errorf("%s takes %d bytes, should be at most %d", part.name, part.size, part.most)
		}
	}
}
