// Package prototest judges a broker by what it says on the wire: a raw client of protocol V2 and a suite of byte scripts that
// any broker's address can be given.
//
// It owns the scripts in testdata and what plays them; it imports no broker and holds no socket beyond a test's end. Frames
// are taken apart here by hand, not by the package that brokers use, so that the two cannot be wrong together; so are snappy
// and deflate, with other implementations than the broker's.
//
// # Scripts
//
// A script file holds cases. A case is a line "== name", then one step on each line; lines that begin with # and empty ones
// are skipped. A case begins on a new connection behind the magic and, when the transport says so, behind IDENTIFY and its
// upgrades.
//
//	> text          send the bytes
//	>+ text         send a four-byte length, and then the bytes
//	eof             end the client's half of the connection
//	< text          the next frame is a response with this payload
//	<! text         the next frame is an error with this payload
//	<m n body       the next frame is a message, delivered for the n-th time
//	<raw text       the next bytes are these, frame headers included
//	<file name      the next frame is a response whose payload is that file of testdata
//	<json           the next reply of a lookup, which has no type, is JSON
//	closed          no frame comes any more: the broker closes the connection
//	alive           the connection works, and no frame was waiting: a publish to another topic is answered with OK
//	conn name       go on with another connection, a new one when the name is
//	bare            before all others: the connection begins with nothing, not even the magic
//	plain           before all others: the case makes sense on connections without TLS and compression only
//	differs name    before all others: nsqd and brokerd do not say the same; docs/COMPATIBILITY.md explains it under that name
//	nsqd| step      a step for nsqd alone, in such a case
//	brokerd| step   one for brokerd alone
//	http M PATH B   ask the HTTP API: method, path with query, and the body, which may have spaces
//	= status body   its answer had this status and this whole body
//	=header N: V    and this header; none when nothing follows the colon
//	await PATH K=V  ask PATH until each key has this value: stats.topics.0.depth=3, "#" for a list's length, "none" for no such key
//
// In a text \n, \r, \\ and \x followed by two hex digits are bytes, and so are these words:
//
//	${topic} ${topic2}  names of topics of this case alone
//	${i32:N}            N as four bytes, big-endian
//	${C*N}              N times the letter C
//	${id}               the id of the message that came last
//
// Heartbeats may come between any two frames and are passed over.
package prototest
