// Package protocol is the client wire V2 of NSQ: frames, commands, message bytes, names and error codes.
//
// It owns what is on the wire between a client and a broker and nothing else: it is pure, holds no goroutine, clock,
// lock or socket. Encoders append to a slice that they are given; parsers return views of their input and say how long
// these live.
//
// # Connection
//
// A client sends four bytes, two spaces and "V2", then commands. A command is one line ended by \n (one \r before it is
// dropped), split at every single space; some are followed by a body: a four-byte big-endian length and that many bytes.
//
// # Frames, broker to client
//
//	4 bytes  size, int32: 4 + payload length
//	4 bytes  type, int32: 0 response, 1 error, 2 message
//	n bytes  payload
//
// # Message payload
//
//	8 bytes  timestamp, int64: nanoseconds since the Unix epoch, when the broker accepted the message
//	2 bytes  attempts, uint16: 1 on the first delivery
//	16 bytes id: lower-case hex digits of 64 bits
//	n bytes  body
//
// All integers are big-endian.
package protocol
