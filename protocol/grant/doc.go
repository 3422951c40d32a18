// Package grant is who may do what on a daemon: scopes on topics, the callers who have them, and the token file in which that
// is written down. All daemons judge by it, and the tool that edits the file writes it with it.
//
// It owns the words for scopes and patterns, the form of tokens, and the form of the file. It knows no connection and no route:
// whoever serves a caller finds out who that is, and asks whether he may. It starts no goroutine.
//
// # Scopes
//
//	read     figures: statistics, lists of topics, channels and nodes
//	publish  messages into a topic
//	consume  messages out of a topic, and their bodies in any other way
//	manage   create, delete, empty, pause and configure topics and channels; register them at a lookup
//	admin    the daemon itself: its options, profiles and everything above
//
// A grant is scopes on a pattern of topics, written SCOPE[,SCOPE...][:PATTERN[,PATTERN...]]. A pattern is that of path.Match and
// stands for whole names: orders, orders.*, *. Without one it is *. What belongs to no topic, such as a profile, needs the scope
// on *.
//
// # Token
//
//	brokerd_ID_SECRET
//
// ID is 1 to 64 letters, digits, dots and dashes. SECRET is 256 random bits in 43 characters of base64url. It is shown once and
// kept as its SHA-256: a random secret needs no slow hash, and with one strangers could make the daemon work. Digests are
// compared in constant time.
//
// # File
//
// A line each; empty lines and those that begin with # say nothing.
//
//	token ID sha256=HEX [expires=2027-01-31T12:00:00Z] GRANT...
//	cert  PATTERN GRANT...
//	anonymous GRANT...
//
// A cert line is for callers whose certificate was verified and has a subject or DNS name that fits PATTERN; all lines that fit
// add up. The anonymous line says what everybody may, with a token or without. The file must be no one's to write but its
// owner's and group's. A file that is changed counts within a second; one that is wrong leaves the last good one in force.
package grant
