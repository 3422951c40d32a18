package standard

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"brokerd/apps/internal/bench/figures"
)

// describeMachine returns what a reader must know of the machine, as far as it can be known.
func describeMachine(dir string) string {
	parts := []string{cpuModel(), fmt.Sprintf("%d cores", runtime.NumCPU())}
	if total := fieldOf("/proc/meminfo", "MemTotal:"); total != "" {
		var kib int64
		if _, err := fmt.Sscan(total, &kib); err == nil {
			parts = append(parts, fmt.Sprintf("%.0f GiB of memory", float64(kib)/(1<<20)))
		}
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		parts = append(parts, "kernel "+strings.TrimSpace(string(release)))
	} else {
		parts = append(parts, runtime.GOOS)
	}
	return strings.Join(append(parts, describeDisk(dir)), ", ")
}

func cpuModel() string {
	if model := fieldOf("/proc/cpuinfo", "model name"); model != "" {
		return strings.TrimSpace(strings.TrimPrefix(model, ":"))
	}
	return runtime.GOARCH
}

// fieldOf returns the rest of the first line of a file that begins with a word.
func fieldOf(path, word string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, word); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// describeDisk tells the file system of a folder and how often a second it syncs 4 KiB that are overwritten.
func describeDisk(dir string) string {
	kind := "disk"
	if full, err := filepath.Abs(dir); err == nil {
		if fs := fileSystem(full); fs != "" {
			kind += " with " + fs
		}
	}
	n, err := syncsPerSecond(dir)
	if err != nil {
		return kind
	}
	return fmt.Sprintf("%s (%s syncs of 4 KiB a second)", kind, figures.Grouped(n))
}

// fileSystem returns the type of the file system that a path is on.
func fileSystem(path string) string {
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return ""
	}
	best, kind := "", ""
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) < 3 || len(fields[1]) < len(best) {
			continue
		}
		if path == fields[1] || strings.HasPrefix(path, strings.TrimSuffix(fields[1], "/")+"/") {
			best, kind = fields[1], fields[2]
		}
	}
	return kind
}

// syncsPerSecond measures for a moment how often a block of a file can be overwritten and synced.
func syncsPerSecond(dir string) (int64, error) {
	file, err := os.CreateTemp(dir, "bench-sync-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	block := make([]byte, 4<<10)
	n, began := int64(0), time.Now()
	for time.Since(began) < 500*time.Millisecond {
		if _, err := file.WriteAt(block, 0); err != nil {
			return 0, err
		}
		if err := file.Sync(); err != nil {
			return 0, err
		}
		n++
	}
	return int64(float64(n) / time.Since(began).Seconds()), nil
}
