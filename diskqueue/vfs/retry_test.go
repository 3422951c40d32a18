package vfs_test

import (
	"errors"
	"io/fs"
	"syscall"
	"testing"
	"testing/synctest"

	"brokerd/diskqueue/vfs"
)

// TestReadErrorsAreTriedAgain: an error that passes costs nothing, one that stays is told, and a file that is not there is not
// waited for.
func TestReadErrorsAreTriedAgain(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpOpen, vfs.OpRead} {
		for times := 1; times <= 4; times++ {
			synctest.Test(t, func(t *testing.T) {
				mem := vfs.NewMem()
				ok(t, write(t, mem, "f", 0, []byte("content")).Close())
				faulty := vfs.NewFaulty(mem, vfs.Rule{Ops: op, Times: times, Err: syscall.EIO})
				b, err := vfs.ReadFile(faulty, "f")
				switch {
				case times < 3 && (err != nil || string(b) != "content"):
					t.Errorf("op %b fails %d times: %q, %v", op, times, b, err)
				case times >= 3 && !errors.Is(err, syscall.EIO):
					t.Errorf("op %b fails %d times: %v", op, times, err)
				}
			})
		}
	}
	faulty := vfs.NewFaulty(vfs.NewMem())
	opens := 0
	faulty.Observe(func(vfs.Op, string) { opens++ })
	if _, err := vfs.ReadFile(faulty, "f"); !errors.Is(err, fs.ErrNotExist) || opens != 1 {
		t.Errorf("a file that is not there is opened %d times: %v", opens, err)
	}
}

// TestDamageIsReadTwice: what is damaged is read once more behind the system's back; other refusals are not.
func TestDamageIsReadTwice(t *testing.T) {
	mem := vfs.NewMem()
	ok(t, write(t, mem, "f", 0, []byte("content")).Close())
	faulty := vfs.NewFaulty(mem)
	forgotten := 0
	faulty.Observe(func(op vfs.Op, _ string) {
		if op == vfs.OpForget {
			forgotten++
		}
	})
	damage, refusal := errors.New("damage"), errors.New("refusal")
	for _, tt := range []struct {
		answers []error
		want    error
		forgets int
	}{
		{[]error{nil}, nil, 0},
		{[]error{refusal}, refusal, 0},
		{[]error{damage, nil}, nil, 1},
		{[]error{damage, damage}, damage, 1},
	} {
		forgotten = 0
		n := 0
		err := vfs.ReadTwice(faulty, "f", func([]byte) error { n++; return tt.answers[n-1] }, func(err error) bool { return err == damage })
		if err != tt.want || forgotten != tt.forgets || n != len(tt.answers) {
			t.Errorf("%v: %v after %d reads, %d forgotten", tt.answers, err, n, forgotten)
		}
	}
}
