// Package lookupwire is the registration wire V1: what a broker says to a lookup, and what the lookup answers.
//
// It owns the bytes of both directions and the texts of the errors. It is pure: it holds no socket, clock, lock or
// goroutine, and knows nothing of registrations. Encoders append to a slice that they are given; parsers return views of
// their input, valid for as long as the input is.
//
// # Connection
//
// A broker sends four bytes, two spaces and "V1", then commands, and reads one reply to each.
//
// # Commands, broker to lookup
//
// A command is one line ended by \n. White space at both ends is dropped, so that \r\n ends a line too; the rest is split
// at every single space, so that two spaces in a row make an empty parameter. Parameters that a command does not know are
// ignored. A line is at most MaxLineLength bytes with its \n.
//
//	IDENTIFY\n <4 bytes size> <JSON object>   who the broker is: PeerInfo
//	REGISTER <topic>[ <channel>]\n
//	UNREGISTER <topic>[ <channel>]\n
//	PING\n
//
// # Replies, lookup to broker
//
//	4 bytes  size, int32: payload length, 0 or more
//	n bytes  payload: "OK", a JSON object (IDENTIFY), or "<code> <description>" with a code that begins "E_"
//
// There is no frame type: an error is told apart by its first two bytes alone. The lookup closes the connection after every
// error. All integers are big-endian.
package lookupwire
