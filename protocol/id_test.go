package protocol

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func someIDs() []MessageID {
	ids := []MessageID{0, 1, 0xf, 0x10, 1<<63 - 1, 1 << 63, 1<<64 - 1, 0x0123456789abcdef, NewMessageID(1023, MaxSequence)}
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		ids = append(ids, MessageID(r.Uint64()))
	}
	return ids
}

func TestIDText(t *testing.T) {
	for _, id := range someIDs() {
		text := id.String()
		if want := fmt.Sprintf("%016x", uint64(id)); text != want {
			t.Fatalf("%d reads %s, want %s", uint64(id), text, want)
		}
		if back, ok := ParseMessageID([]byte(text)); !ok || back != id {
			t.Fatalf("%s parses as %s, %v", text, back, ok)
		}
	}
}

// No two texts are the same id: a client that changes a byte finishes nothing, or what it names.
func TestIDChangedBytes(t *testing.T) {
	for _, id := range someIDs()[:60] {
		text := []byte(id.String())
		for i := range text {
			was := text[i]
			for b := range 256 {
				if text[i] = byte(b); text[i] == was {
					continue
				}
				hexDigit := b >= '0' && b <= '9' || b >= 'a' && b <= 'f'
				back, ok := ParseMessageID(text)
				if ok != hexDigit {
					t.Fatalf("%q: ok is %v", text, ok)
				}
				if ok && (back == id || back.String() != string(text)) {
					t.Fatalf("%q parses as %s", text, back)
				}
			}
			text[i] = was
		}
	}
}

func TestIDLengths(t *testing.T) {
	text := []byte("0123456789abcdef0")
	for n := range len(text) + 1 {
		if _, ok := ParseMessageID(text[:n]); ok != (n == MessageIDLength) {
			t.Errorf("%d bytes: ok is %v", n, ok)
		}
	}
}

// Ids of two nodes never meet, and those of one node grow with its counter.
func TestIDParts(t *testing.T) {
	if a, b := NewMessageID(0, MaxSequence), NewMessageID(1, 0); a+1 != b {
		t.Errorf("the last id of node 0 is %s, the first of node 1 %s", a, b)
	}
	if NewMessageID(7, 41)+1 != NewMessageID(7, 42) {
		t.Error("the counter is not what grows")
	}
	if id := NewMessageID(1023, 1<<60); uint64(id)>>54 != 1023 {
		t.Errorf("a counter out of range reaches into the node: %s", id)
	}
}
