package protocol

import (
	"strconv"
	"testing"
)

// The allocations of all of these are asserted to be none by TestNoAllocations.

func BenchmarkParseLine(b *testing.B) {
	for _, line := range []string{"FIN 0123456789abcdef", "MPUB some.topic", "REQ 0123456789abcdef 100", "RDY 2500"} {
		b.Run(line[:3], func(b *testing.B) {
			text, params := []byte(line), 0
			b.ReportAllocs()
			for b.Loop() {
				params += ParseLine(text).Count
			}
		})
	}
}

func BenchmarkParseMessageID(b *testing.B) {
	text := []byte("0123456789abcdef")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := ParseMessageID(text); !ok {
			b.Fatal("not an id")
		}
	}
}

func BenchmarkParseFrame(b *testing.B) {
	frame := append(AppendMessageHeader(nil, 1, 1, 1, 200), make([]byte, 200)...)
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, _, err := ParseFrame(frame, 1000); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendMessage(b *testing.B) {
	body, buf := make([]byte, 200), make([]byte, 0, 1000)
	b.SetBytes(int64(MessageOverhead + len(body)))
	b.ReportAllocs()
	for b.Loop() {
		buf = append(AppendMessageHeader(buf[:0], 1, 1, 1, len(body)), body...)
	}
}

// BenchmarkWalkMpub reads bodies of 200 bytes; the time is that of a whole MPUB.
func BenchmarkWalkMpub(b *testing.B) {
	for _, n := range []int{1, 20, 200} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			messages := make([][]byte, n)
			for i := range messages {
				messages[i] = make([]byte, 200)
			}
			body, limits, size := appendMpub(messages...), MpubLimits{MaxMsgSize: 1 << 20, MaxBodySize: 5 << 20}, 0
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if err := WalkMpub(body, limits, func(m []byte) error { size += len(m); return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
