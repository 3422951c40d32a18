package nsqdata

import (
	"encoding/binary"
	"errors"
	"fmt"

	"brokerd/protocol"
)

// RecordHeaderSize is the number of bytes of a record in front of the body.
const RecordHeaderSize = protocol.MessageHeaderSize

// ErrRecord is wrapped by the errors of ParseRecord.
var ErrRecord = errors.New("not a message record")

// Record is a decoded record. Body is a view of the bytes that were parsed and lives as long as they do.
type Record struct {
	Timestamp int64  // nanoseconds since the Unix epoch, when the message was accepted
	Attempts  uint16 // deliveries so far; 0 when there was none
	ID        protocol.MessageID
	Body      []byte // may be empty
}

// AppendRecord appends the record of a message to dst.
func AppendRecord(dst []byte, timestamp int64, attempts uint16, id protocol.MessageID, body []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(timestamp))
	dst = binary.BigEndian.AppendUint16(dst, attempts)
	dst = id.AppendHex(dst)
	return append(dst, body...)
}

// ParseRecord decodes a record without its length. One that is shorter than its header or whose id is not sixteen
// lower-case hex digits is an error that wraps ErrRecord.
func ParseRecord(record []byte) (Record, error) {
	if len(record) < RecordHeaderSize {
		return Record{}, fmt.Errorf("%w: %d bytes, at least %d expected", ErrRecord, len(record), RecordHeaderSize)
	}
	id, ok := protocol.ParseMessageID(record[10:RecordHeaderSize])
	if !ok {
		return Record{}, fmt.Errorf("%w: id %q", ErrRecord, record[10:RecordHeaderSize])
	}
	return Record{
		Timestamp: int64(binary.BigEndian.Uint64(record)),
		Attempts:  binary.BigEndian.Uint16(record[8:]),
		ID:        id,
		Body:      record[RecordHeaderSize:],
	}, nil
}
