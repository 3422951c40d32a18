package deploytest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"brokerd/cmd/cmdtest"
	"brokerd/protocol/prototest"
)

// foreign returns a folder that every user can reach, with a copy of brokerd in it.
func foreign(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("/var/tmp", "brokerd-foreign-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	run(t, "chmod", "0755", folder)
	run(t, "cp", cmdtest.Find(t, "brokerd"), filepath.Join(folder, "brokerd"))
	return folder
}

// TestAReadOnlyRoot: with a root that nobody can write to, as the chart's containers have it, under any number of a user, brokerd needs nothing
// but the volume of its queues.
func TestAReadOnlyRoot(t *testing.T) {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("NOT RUN: it takes root on Linux")
	}
	unshare := tool(t, "unshare")
	tool(t, "setpriv")
	folder := foreign(t)
	data := filepath.Join(folder, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	b := cmdtest.NewBroker(t, "brokerd", data)
	b.Through = []string{unshare, "--mount", "sh", "-c", // the copy is run in place of the program, where another user cannot reach that
		`mount -t tmpfs -o mode=0777 tmpfs "$0" && mount -o remount,bind,ro / && ! touch /here 2>/dev/null || exit 1
		copy=$1; shift 2; exec setpriv --reuid=12345 --regid=12345 --clear-groups "$copy" "$@"`, data, filepath.Join(folder, "brokerd")}
	b.Start(t)
	b.Create(t, "orders", "billing")
	b.Publish(t, "orders", "kept")
	if got := b.Channel(t, "orders", "billing").Depth; got != 1 {
		t.Errorf("%d messages wait", got)
	}
	b.Stop(t)
	if words := b.LastWords(); strings.Contains(words, "level=ERROR") || strings.Contains(words, "read-only") {
		t.Errorf("%s", words)
	}
}

// TestTwentyThousandConnections to a broker that has the number of files that the shipped unit gives it. Where no process may have as many, it
// is as many connections as may be.
func TestTwentyThousandConnections(t *testing.T) {
	if os.Getenv("DEPLOY_DEBS") == "" {
		t.Skip("NOT RUN: it takes seconds of a whole processor; make deploy-test does that")
	}
	if runtime.GOOS != "linux" {
		t.Skip("NOT RUN: it takes Linux's limits")
	}
	shipped := regexp.MustCompile(`(?m)^LimitNOFILE=(\d+)$`).FindStringSubmatch(read(t, "systemd/brokerd.service"))
	if shipped == nil {
		t.Fatal("the unit has no LimitNOFILE")
	}
	files, err := strconv.ParseUint(shipped[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	var mine syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &mine); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: files, Max: max(files, mine.Max)}); err != nil {
		files = mine.Max // nobody here may raise it
		t.Logf("NOT RUN wholly: a process may have %d files here, and the unit says %s: %v", files, shipped[1], err)
	}
	many := int(min(20_000, files-files/20))
	b := cmdtest.NewBroker(t, "brokerd", t.TempDir())
	b.Through = []string{tool(t, "prlimit"), fmt.Sprintf("--nofile=%d:%d", files, files)}
	b.Start(t)
	b.Create(t, "orders", "billing")
	consumers := make([]net.Conn, 0, many)
	defer func() {
		for _, c := range consumers {
			c.Close()
		}
	}()
	answer := make([]byte, 10) // size, kind, OK
	for i := range many {
		c, err := net.Dial("tcp", b.TCP)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		consumers = append(consumers, c)
		if _, err := c.Write([]byte(prototest.Magic + "SUB orders billing\nRDY 1\n")); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		if _, err := c.Read(answer); err != nil || !strings.HasSuffix(string(answer), "OK") {
			t.Fatalf("connection %d: %q, %v", i, answer, err)
		}
	}
	if n := b.Channel(t, "orders", "billing").ClientCount; n != many {
		t.Errorf("%d consumers are there", n)
	}
	b.Publish(t, "orders", "for one of them")
	if n := b.Channel(t, "orders", "billing").InFlightCount; n != 1 {
		t.Errorf("%d messages are in flight", n)
	}
	b.Stop(t)
}
