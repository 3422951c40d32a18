package broker

import (
	"bytes"
	"cmp"
	"os"
	"strconv"
)

// leastMemory is the limit in bytes where nothing is known of the machine.
const leastMemory = 256 << 20

// memoryLimit returns how many bytes of messages the node keeps in memory: what was set or, when that is 0, a quarter of what the
// process may have: of its control group's limit, or of the machine's memory.
func memoryLimit(set int64) int64 {
	if set > 0 {
		return set
	}
	have := int64(0)
	for _, name := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if n, err := strconv.ParseInt(string(bytes.TrimSpace(read(name))), 10, 64); err == nil && n > 0 {
			have = n
			break
		}
	}
	if total := memTotal(read("/proc/meminfo")); total > 0 && (have == 0 || total < have) {
		have = total
	}
	return cmp.Or(have/4, leastMemory)
}

// memTotal returns the machine's memory in bytes out of Linux's meminfo, 0 when it does not say.
func memTotal(info []byte) int64 {
	for line := range bytes.Lines(info) {
		if rest, ok := bytes.CutPrefix(line, []byte("MemTotal:")); ok {
			n, err := strconv.ParseInt(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte("kB")))), 10, 64)
			if err == nil {
				return n << 10
			}
		}
	}
	return 0
}

// read returns a file of the system, empty when there is none.
func read(name string) []byte {
	b, _ := os.ReadFile(name) // what is not there is not known
	return b
}
