package tofile

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"brokerd/apps/internal/apptest"
	"brokerd/cmd/cmdtest"
)

// TestKilledAgainAndAgain kills the tool while it writes. Every message must be in a file that standard tools read, with nothing half
// written, and with a work folder, every file must end in the output folder.
func TestKilledAgainAndAgain(t *testing.T) {
	for _, args := range []string{"--filename-format=all", "--gzip --rotate-size=300000", "--zstd --work-dir=WORK --rotate-size=100000",
		"--work-dir=WORK --rotate-size=100000"} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			b, out, work := cmdtest.Broker(t, "brokerd", nil), t.TempDir(), t.TempDir()
			b.Create(t, "t", "nsq_to_file")
			var all []string
			for i := range 20000 {
				all = append(all, fmt.Sprintf("%06d %s", i, strings.Repeat("x", i%100)))
			}
			apptest.Publish(t, b, "t", all...)
			tool := cmdtest.New(t, "brokerctl", append(append([]string{"tofile"}, strings.Fields(strings.Replace(args, "WORK", work, 1))...),
				"--topic=t", "--nsqd-tcp-address="+b.TCP, "--output-dir="+out, "--sync-interval=20ms")...)
			for round := range 4 {
				tool.Start(t)
				cmdtest.Eventually(t, "some more are archived", 20*time.Second, func() bool {
					return b.Channel(t, "t", "nsq_to_file").Depth < int64(20000-3000*(round+1))
				})
				tool.Kill(t)
			}
			all = append(all, "last") // or nothing may be left for the one that puts in order what the others have left
			apptest.Publish(t, b, "t", "last")
			tool.Start(t)
			drained(t, b, "t", "nsq_to_file")
			tool.Stop(t)
			got := archived(t, out)
			duplicates := 0
			for _, line := range all {
				if got[line] == 0 {
					t.Fatalf("%q is lost", line)
				}
				duplicates += got[line] - 1
			}
			if len(got) != len(all) {
				t.Errorf("%d lines, %d were published", len(got), len(all))
			}
			for _, dir := range []string{work, out} {
				if _, err := os.Stat(filepath.Join(dir, recordFolder)); err == nil {
					t.Errorf("a record is left in %s", dir)
				}
			}
			if left := files(t, work); len(left) > 0 {
				t.Errorf("left in the work folder: %q", left)
			}
			t.Logf("20,001 messages, killed 4 times: none lost, %d twice", duplicates)
		})
	}
}

// TestSettlingAHalfWrittenFile holds, byte by byte, what a start makes of a piece that a killed process did not complete.
func TestSettlingAHalfWrittenFile(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	for _, separate := range []bool{false, true} {
		for size := 0; size <= 12; size++ {
			f := folders{work: t.TempDir()}
			f.output = f.work
			if separate {
				f.output = t.TempDir()
			}
			h, err := hold(f.work, "a<REV>", 3)
			if err == nil {
				err = errors.Join(h.expect(4, 10), h.keep())
			}
			if err != nil {
				t.Fatal(err)
			}
			whole := "one\ntwo 2\n!!" // the last two are what somebody else put behind
			if err := os.WriteFile(filepath.Join(f.work, "a-000003"), []byte(whole[:size]), 0o600); err != nil {
				t.Fatal(err)
			}
			if separate {
				if err := os.WriteFile(filepath.Join(f.output, "a-000003"), []byte("there"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := settleAll(f, quiet); err != nil {
				t.Fatal(err)
			}
			name, want := "a-000003", size
			if separate {
				name = "a-000004"
			}
			if size > 4 && size < 10 {
				want = 4
			}
			got, err := os.ReadFile(filepath.Join(f.output, name))
			if err != nil && size > 0 || size == 0 && !errors.Is(err, os.ErrNotExist) || string(got) != whole[:want] {
				t.Errorf("%d bytes became %q, %v", size, got, err)
			}
		}
	}
}

// TestFullDiskWaits holds that without room messages stay with the broker, unfinished, and that all are archived once there is room.
func TestFullDiskWaits(t *testing.T) {
	for _, args := range []string{"", "--gzip --gzip-level=1"} {
		t.Run("flags "+args, func(t *testing.T) {
			t.Parallel()
			disk := cmdtest.SmallDisk(t, 2048)
			ballast := filepath.Join(disk, "ballast")
			if err := os.WriteFile(ballast, make([]byte, 1700<<10), 0o600); err != nil {
				t.Fatal(err)
			}
			b := cmdtest.Broker(t, "brokerd", nil)
			b.Create(t, "t", "nsq_to_file")
			var lines []string
			for i, noise := range noise(t, 2000) {
				lines = append(lines, fmt.Sprintf("%d %x", i, noise))
			}
			apptest.Publish(t, b, "t", lines...)
			out := filepath.Join(disk, "out")
			tool := start(t, append(strings.Fields(args), "--topic=t", "--nsqd-tcp-address="+b.TCP, "--output-dir="+out, "--sync-interval=20ms")...)
			cmdtest.Eventually(t, "the disk is full", 20*time.Second, func() bool { return strings.Contains(tool.String(), "there is no room") })
			cmdtest.Eventually(t, "everything else is with the broker", 20*time.Second, func() bool {
				c := b.Channel(t, "t", "nsq_to_file")
				return c.InFlightCount == 0 && c.Depth == int64(len(lines)-total(archived(t, out)))
			})
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			drained(t, b, "t", "nsq_to_file")
			tool.Stop(t)
			expectOnce(t, out, lines)
		})
	}
}

func total(lines map[string]int) int {
	n := 0
	for _, times := range lines {
		n += times
	}
	return n
}

// noise returns pieces of 200 bytes that cannot be compressed.
func noise(t *testing.T, n int) [][]byte {
	t.Helper()
	random, err := os.Open("/dev/urandom")
	if err != nil {
		t.Fatal(err)
	}
	defer random.Close()
	pieces := make([][]byte, n)
	for i := range pieces {
		pieces[i] = make([]byte, 200)
		if _, err := io.ReadFull(random, pieces[i]); err != nil {
			t.Fatal(err)
		}
	}
	return pieces
}
