package session

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"brokerd/protocol/prototest"
)

// snappyChunks returns data in the snappy framing format, in chunks of 64 KiB, each a row of literals of that many bytes: what an
// encoder makes that finds nothing to compress. Only the last chunk may be shorter.
func snappyChunks(data []byte, literal int) string {
	var out []byte
	for len(data) > 0 {
		part := data[:min(len(data), snappyBlock)]
		data = data[len(part):]
		checksum := crc32.Checksum(part, crc32.MakeTable(crc32.Castagnoli))
		chunk := binary.LittleEndian.AppendUint32(nil, (checksum>>15|checksum<<17)+0xa282ead8)
		chunk = binary.AppendUvarint(chunk, uint64(len(part)))
		for len(part) > 0 {
			piece := part[:min(len(part), literal)]
			part = part[len(piece):]
			switch n := len(piece) - 1; {
			case n < 60:
				chunk = append(chunk, byte(n<<2))
			case n < 1<<8:
				chunk = append(chunk, 60<<2, byte(n))
			default:
				chunk = append(chunk, 61<<2, byte(n), byte(n>>8))
			}
			chunk = append(chunk, piece...)
		}
		out = append(out, 0, byte(len(chunk)), byte(len(chunk)>>8), byte(len(chunk)>>16))
		out = append(out, chunk...)
	}
	return string(out)
}

// TestSnappyChunksLargerThanTheirContent: an encoder may need 76,490 bytes for 64 KiB, and encoders of other languages come near
// when they write short literals. More than that is refused, as it could not be kept within bounds.
func TestSnappyChunksLargerThanTheirContent(t *testing.T) {
	body := make([]byte, 3*snappyBlock)
	for i := range body {
		body[i] = byte(rand.Uint32())
	}
	for _, c := range []struct {
		literal int
		taken   bool
	}{{65536, true}, {256, true}, {116, true}, {100, true}, {60, true}, {10, true}, {6, true}, {5, false}, {1, false}} {
		t.Run(fmt.Sprint(c.literal), func(t *testing.T) {
			inBubble(t, nil, func(w *world) {
				client := w.dial()
				client.Negotiate(prototest.Transport{Snappy: true}, nil)
				raw := prototest.NewClient(t, client.Conn) // writes past the client's own encoder
				raw.Send("\xff\x06\x00\x00sNaPpY")
				written := make(chan error, 1)
				go func() { written <- raw.Write(snappyChunks([]byte(prototest.Pub("t", string(body))), c.literal)) }()
				if !c.taken {
					client.ExpectClosed()
					<-written
					return
				}
				if err := <-written; err != nil {
					t.Fatal(err)
				}
				client.Expect("OK")
				client.Send("SUB t c\nRDY 1\n")
				client.Expect("OK")
				client.ExpectMessage(string(body), 1)
			})
		})
	}
}

// TestSnappyStreamsOfOtherEncoders: what the framing format allows beside compressed chunks.
func TestSnappyStreamsOfOtherEncoders(t *testing.T) {
	const identifier = "\xff\x06\x00\x00sNaPpY"
	pub := []byte(prototest.Pub("t", strings.Repeat("x", 1000)))
	checksum := crc32.Checksum(pub, crc32.MakeTable(crc32.Castagnoli))
	plain := binary.LittleEndian.AppendUint32(nil, (checksum>>15|checksum<<17)+0xa282ead8)
	plain = append(plain, pub...)
	uncompressed := "\x01" + string([]byte{byte(len(plain)), byte(len(plain) >> 8), 0}) + string(plain)
	for name, sent := range map[string]string{
		"uncompressed":                identifier + uncompressed,
		"an identifier for each":      identifier + snappyChunks(pub[:4], 60) + identifier + snappyChunks(pub[4:], 60),
		"padding":                     identifier + "\xfe\x03\x00\x00abc" + uncompressed,
		"a chunk that may be skipped": identifier + "\x80\x03\x00\x00abc" + uncompressed,
		"a byte in a chunk": identifier + func() (all string) {
			for i := range pub {
				all += snappyChunks(pub[i:i+1], 60)
			}
			return all
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(w *world) {
				client := w.dial()
				client.Negotiate(prototest.Transport{Snappy: true}, nil)
				prototest.NewClient(t, client.Conn).Send(sent)
				client.Expect("OK")
			})
		})
	}
}

// counted counts reads, as a socket takes a call for each.
type counted struct {
	src   io.Reader
	reads int
}

func (c *counted) Read(p []byte) (int, error) {
	c.reads++
	return c.src.Read(p)
}

// TestShortChunksOfSnappyAreReadTogether: a stranger's stream of chunks of 10 bytes took two calls each.
func TestShortChunksOfSnappyAreReadTogether(t *testing.T) {
	const chunks = 10_000
	src := &counted{src: bytes.NewReader(bytes.Repeat([]byte("\xff\x06\x00\x00sNaPpY"), chunks))}
	text, err := io.ReadAll(newSnappyReader(src))
	if len(text) != 0 || err != nil {
		t.Fatalf("%d bytes, %v", len(text), err)
	}
	if src.reads > chunks/100 {
		t.Errorf("%d reads for %d chunks", src.reads, chunks)
	}
}
