package journal

import (
	"encoding/binary"
	"fmt"
)

// Property is a name and a value that a message has beside its body.
type Property struct{ Name, Value string }

// MaxProperties is how many bytes the properties of one message take at most, encoded.
const MaxProperties = 4 << 10

// AppendProperties appends the properties of one message: for each the length of the name, a uvarint, the name, the length of the value,
// a uvarint, and the value.
func AppendProperties(dst []byte, list []Property) []byte {
	for _, p := range list {
		dst = appendText(dst, p.Name)
		dst = appendText(dst, p.Value)
	}
	return dst
}

func appendText(dst []byte, text string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(text))), text...)
}

// ParseProperties is the way back. It fails with ErrRecord.
func ParseProperties(b []byte) (list []Property, err error) {
	for len(b) > 0 {
		var p Property
		var ok bool
		if p.Name, b, ok = parseText(b); ok {
			p.Value, b, ok = parseText(b)
		}
		if !ok {
			return nil, fmt.Errorf("%w: properties", ErrRecord)
		}
		list = append(list, p)
	}
	return list, nil
}

func parseText(b []byte) (text string, rest []byte, ok bool) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) {
		return "", nil, false
	}
	return string(b[k : k+int(n)]), b[k+int(n):], true
}

// Beside is what one message has beside its body: its properties, encoded.
type Beside struct {
	Pos  Position
	Data []byte
}

// AppendColumn appends what some messages have beside their bodies, in the order of their positions, all from first on: for each the
// distance from the position behind the one before and the length, uvarints, and the data. It is the column of a Publish and the section
// of a segment's block.
func AppendColumn(dst []byte, first Position, list []Beside) []byte {
	for _, m := range list {
		dst = binary.AppendUvarint(dst, uint64(m.Pos-first))
		dst = binary.AppendUvarint(dst, uint64(len(m.Data)))
		dst = append(dst, m.Data...)
		first = m.Pos + 1
	}
	return dst
}

// EachOfColumn calls f with every message of a column, whose messages are in a range. The data are views. It fails with ErrRecord.
func EachOfColumn(b []byte, within Range, f func(Beside)) error {
	next := within.First
	for len(b) > 0 {
		gap, n := binary.Uvarint(b)
		if n <= 0 || next > within.Last || gap > uint64(within.Last-next) {
			return fmt.Errorf("%w: properties of a message that is not there", ErrRecord)
		}
		size, k := binary.Uvarint(b[n:])
		if k <= 0 || size == 0 || size > MaxProperties || size > uint64(len(b)-n-k) {
			return fmt.Errorf("%w: properties of %d bytes", ErrRecord, size)
		}
		b = b[n+k:]
		pos := next + Position(gap)
		f(Beside{Pos: pos, Data: b[:size:size]})
		next = pos + 1
		b = b[size:]
	}
	return nil
}
