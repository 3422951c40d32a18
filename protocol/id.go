package protocol

import "encoding/binary"

// MessageIDLength is the length of an id on the wire, in bytes.
const MessageIDLength = 16

// MessageID names one message on one node for its whole life, in every channel and after every restart: 10 bits of node
// id, then 54 bits of a counter that never goes back.
type MessageID uint64

// nodeShift is the number of counter bits in an id.
const nodeShift = 54

// MaxSequence is the largest counter value of an id.
const MaxSequence = 1<<nodeShift - 1

// NewMessageID composes an id of the node, 0 to 1023, and the counter, 0 to MaxSequence.
func NewMessageID(node int64, sequence uint64) MessageID {
	return MessageID(uint64(node)<<nodeShift | sequence&MaxSequence)
}

// String returns the sixteen hex digits.
func (id MessageID) String() string { return string(id.AppendHex(nil)) }

// AppendHex appends the sixteen lower-case hex digits of id to dst.
func (id MessageID) AppendHex(dst []byte) []byte {
	var b [MessageIDLength]byte
	id.put(b[:])
	return append(dst, b[:]...)
}

func (id MessageID) put(b []byte) {
	binary.BigEndian.PutUint64(b, hexDigits(uint32(id>>32)))
	binary.BigEndian.PutUint64(b[8:], hexDigits(uint32(id)))
}

// hexDigits spreads the eight nibbles of v over eight bytes, most significant first, and turns each into its digit, all
// eight at once.
func hexDigits(v uint32) uint64 {
	x := uint64(v)
	x = (x | x<<16) & 0x0000ffff0000ffff
	x = (x | x<<8) & 0x00ff00ff00ff00ff
	x = (x | x<<4) & 0x0f0f0f0f0f0f0f0f
	letter := (x + 0x0606060606060606) >> 4 & 0x0101010101010101 // 1 in each byte over nine
	return x + 0x3030303030303030 + letter*('a'-'0'-10)
}

// ParseMessageID reads sixteen lower-case hex digits; anything else is not an id that a broker gave out, and ok is false.
func ParseMessageID(b []byte) (id MessageID, ok bool) {
	if len(b) != MessageIDLength {
		return 0, false
	}
	hi, ok1 := parseDigits(binary.BigEndian.Uint64(b))
	lo, ok2 := parseDigits(binary.BigEndian.Uint64(b[8:]))
	return MessageID(uint64(hi)<<32 | uint64(lo)), ok1 && ok2
}

// idOf is ParseMessageID of what is known to be an id.
func idOf(b []byte) MessageID {
	return MessageID(uint64(nibbles(binary.BigEndian.Uint64(b)))<<32 | uint64(nibbles(binary.BigEndian.Uint64(b[8:]))))
}

// parseDigits is hexDigits backwards. It guesses the nibbles, and is right exactly when they spell the same digits again.
func parseDigits(x uint64) (uint32, bool) {
	v := nibbles(x)
	return v, hexDigits(v) == x
}

// nibbles returns what eight hex digits mean, if they are some.
func nibbles(x uint64) uint32 {
	n := x&0x0f0f0f0f0f0f0f0f + (x>>6&0x0101010101010101)*9
	n &= 0x0f0f0f0f0f0f0f0f
	n = (n | n>>4) & 0x00ff00ff00ff00ff
	n = (n | n>>8) & 0x0000ffff0000ffff
	return uint32(n | n>>16)
}
