package load

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// Usage is what the broker's process took while it was measured.
type Usage struct {
	CPUSeconds float64 `json:"cpu_seconds"`
	CPUMicros  float64 `json:"cpu_us_per_message"` // 0 when there were no messages
	Memory     int64   `json:"memory_bytes"`       // resident at the end
	Peak       int64   `json:"peak_memory_bytes"`  // most resident since the process began
	Disk       int64   `json:"disk_bytes"`         // of its data folder at the end, 0 when that was not given
}

// ErrNoUsage says why a broker's CPU and memory cannot be told.
var ErrNoUsage = errors.New("a broker's CPU and memory can only be told on Linux, and of a process on this machine")

// reading is a process's account at one moment.
type reading struct {
	cpu          float64 // seconds
	memory, peak int64   // bytes
}

const ticksPerSecond = 100 // of /proc/PID/stat, on every Linux

// readProcess reads the account of a process from /proc.
func readProcess(pid int) (r reading, err error) {
	if runtime.GOOS != "linux" {
		return r, ErrNoUsage
	}
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return r, fmt.Errorf("%w: %w", ErrNoUsage, err)
	}
	if r.cpu, err = parseStat(string(stat)); err != nil {
		return r, err
	}
	// Ticks are 10 ms; threads tell nanoseconds, but those that ended are not among them. The larger is right.
	r.cpu = max(r.cpu, threadSeconds(dir))
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return r, fmt.Errorf("%w: %w", ErrNoUsage, err)
	}
	r.memory, r.peak = parseStatus(string(status))
	return r, nil
}

// parseStat returns the CPU seconds of a line of /proc/PID/stat.
func parseStat(line string) (float64, error) {
	// The name of the program, in parentheses, may hold anything.
	fields := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("the kernel's account has %d fields, wanted 13", len(fields))
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return float64(user+system) / ticksPerSecond, errors.Join(err1, err2)
}

// parseStatus returns the resident memory and its peak, in bytes, from the lines of /proc/PID/status.
func parseStatus(text string) (memory, peak int64) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kib, err := strconv.ParseInt(fields[1], 10, 64)
		switch {
		case err != nil:
		case fields[0] == "VmRSS:":
			memory = kib << 10
		case fields[0] == "VmHWM:":
			peak = kib << 10
		}
	}
	return memory, peak
}

// threadSeconds sums up the CPU time of the living threads; 0 where the kernel does not tell.
func threadSeconds(dir string) float64 {
	list, err := filepath.Glob(filepath.Join(dir, "task", "*", "schedstat"))
	if err != nil {
		return 0
	}
	var sum int64
	for _, path := range list {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // the thread ended
		}
		first, _, _ := strings.Cut(string(text), " ")
		if ns, err := strconv.ParseInt(first, 10, 64); err == nil {
			sum += ns
		}
	}
	return float64(sum) / 1e9
}

// folderSize returns what the files below dir take on disk, in bytes. A file that goes meanwhile does not count.
func folderSize(dir string) (sum int64) {
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil
		}
		if info, err := entry.Info(); err == nil {
			sum += allocated(info)
		}
		return nil
	})
	return sum
}

// meter measures the broker between start and stop. Without a process it tells nothing.
type meter struct {
	broker Broker
	first  reading
	err    error
}

func startMeter(b Broker) *meter {
	m := &meter{broker: b, err: ErrNoUsage}
	if b.PID != 0 {
		m.first, m.err = readProcess(b.PID)
	}
	return m
}

// stop returns what was taken since the start for so many messages, or nil.
func (m *meter) stop(messages int64) *Usage {
	if m.err != nil {
		return nil
	}
	last, err := readProcess(m.broker.PID)
	if err != nil {
		return nil
	}
	u := &Usage{CPUSeconds: last.cpu - m.first.cpu, Memory: last.memory, Peak: last.peak}
	if messages > 0 {
		u.CPUMicros = u.CPUSeconds * 1e6 / float64(messages)
	}
	if m.broker.DataPath != "" {
		u.Disk = folderSize(m.broker.DataPath)
	}
	return u
}
