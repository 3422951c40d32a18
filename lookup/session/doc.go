// Package session serves one broker's registration connection: it reads commands, tells the registry, answers.
//
// It owns the connection's reader, its replies and its deadlines, and the peer in the registry for as long as the connection
// lasts. It starts no goroutine: whoever calls Serve gives it one, and ends it by Close.
//
// # Deadlines and bounds
//
// The magic must be there within MagicTimeout of the start; after that each command, with its body, must be complete within
// Config.CommandTimeout of the one before it. A reply must be taken within WriteTimeout. A command line is bounded by
// lookupwire.MaxLineLength and a body by lookupwire.MaxIdentifyBody, so that a connection never holds more than about 20 KiB.
//
// # Order of replies
//
// Replies leave in the order of the commands, those to commands that arrived together in one write, and always before more is
// waited for. After an error the broker's registrations are dropped, the error is sent, and what the broker still sends is
// read and thrown away for a moment, so that the end of the connection does not overtake the error.
package session
