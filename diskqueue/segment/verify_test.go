package segment

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"brokerd/diskqueue/vfs"
	"brokerd/protocol"
)

// loaded appends messages with these bodies, numbered from 100 on, and returns their block, their bytes on disk, and where in
// these each begins.
func loaded(t *testing.T, bodies ...[]byte) (b Block, disk []byte, at []int) {
	t.Helper()
	var frames []byte
	for i, body := range bodies {
		at = append(at, len(frames))
		frames = protocol.AppendMessageHeader(frames, 5, 0, protocol.MessageID(i), len(body))
		frames = append(frames, body...)
	}
	mem := vfs.NewMem()
	s, _, _ := mustOpen(t, Options{FS: mem})
	ref, err := s.Append(100, len(bodies), frames)
	must(t, err)
	file := content(t, mem, testDir+"/000001.seg")
	return Block{First: 100, Count: uint32(len(bodies)), Ref: ref}, file[ref.Offset+blockHeaderSize:], at
}

func checkLost(t *testing.T, b Block, disk []byte, want ...Lost) (frames []byte) {
	t.Helper()
	frames, lost := verify(b, disk)
	if !slices.Equal(lost, want) {
		t.Errorf("lost are %v, not %v", lost, want)
	}
	n := 0
	for at := 0; at < len(frames); n++ {
		at += len(protocol.FirstMessage(frames[at:]))
	}
	if n+seqs(lost) != int(b.Count) {
		t.Errorf("%d frames and %d lost, not %d together", n, seqs(lost), b.Count)
	}
	return frames
}

func TestFramesInBodiesAreNotTakenForMessages(t *testing.T) {
	b, disk, at := loaded(t, nil, messages(1, 200), []byte("behind"))
	disk[at[1]] ^= 0xff
	checkLost(t, b, disk, Lost{101, 1})
}

func TestACopyOfAnotherMessageIsNotTakenForIt(t *testing.T) {
	body := []byte("of one length")
	b, disk, at := loaded(t, body, body, body, body, body)
	moved := slices.Clone(disk)
	copy(moved[at[2]:at[3]], disk[at[0]:at[1]])
	checkLost(t, b, slices.Clone(moved), Lost{102, 1})
	moved[at[1]] ^= 0xff // so that what follows is searched
	checkLost(t, b, moved, Lost{101, 2})
}

func TestADamagedSizeThatLeadsToALaterMessageLosesNoneBetween(t *testing.T) {
	b, disk, at := loaded(t, []byte("a"), []byte("b"), []byte("c"), []byte("d"))
	binary.BigEndian.PutUint32(disk[at[0]:], uint32(at[2]-4))
	checkLost(t, b, disk, Lost{100, 1})
}

func TestSeveralRunsAreLost(t *testing.T) {
	body := []byte("body")
	b, disk, at := loaded(t, body, body, body, body, body, body, body, body)
	for _, i := range []int{0, 2, 3, 7} {
		disk[at[i]] ^= 0x80
	}
	checkLost(t, b, disk, Lost{100, 1}, Lost{102, 2}, Lost{107, 1})
}

// TestSearchIsBounded: a body made of what looks like the beginnings of long messages must not cost minutes.
func TestSearchIsBounded(t *testing.T) {
	const lures = 20000
	size := lures * minFrame
	var body []byte
	for i := range lures {
		body = protocol.AppendMessageHeader(body, 1, 0, 2, size-(i+1)*minFrame)
	}
	b, disk, at := loaded(t, []byte("before"), body, []byte("behind"))
	disk[at[1]] ^= 0xff
	v := verifier{b: disk, start: start(b.Ref.File, b.Ref.Offset), first: 100, seq: 101, end: 103, at: at[1], budget: searchBudget * len(disk)}
	v.skip()
	if v.budget < -len(disk) || v.budget > 0 {
		t.Errorf("%d bytes are left of the budget", v.budget)
	}
	if frames := checkLost(t, b, disk, Lost{101, 2}); !bytes.HasSuffix(frames, []byte("before")) {
		t.Error("the message before is not served")
	}
}
