// Package auth says what a client of the TCP port may do: by the token file, and by what an auth daemon answers.
//
// It owns the question over HTTP, the checks of the answer and the matching of names. It never speaks to clients, keeps no
// state of them and revokes nothing: a session keeps its State, asks it before SUB and publishes, and queries again once it is expired; the
// server of sessions cuts off those whose grants are gone. It starts no goroutine of its own; a Client keeps HTTP connections until
// Close.
//
// # Who is asked
//
// A secret that has the form of a token is looked up in the token file, if there is one; any other goes to the auth daemon, if there is one.
// A client that sends no AUTH is known by its verified certificate, or is anonymous.
//
// # Question
//
// GET with the query string common_name, remote_ip, secret, tls, or POST with a JSON body of the same keys, each with a list
// of one string. The daemons are tried from a random one on, each once, until one gives a valid answer.
//
// # Answer
//
// Status 200 and at most maxAnswer bytes of JSON:
//
//	{"ttl": 60, "identity": "u", "identity_url": "http://u",
//	 "authorizations": [{"topic": "regex", "channels": ["regex"], "permissions": ["subscribe", "publish"]}]}
//
// ttl is in seconds and more than 0. The patterns match anywhere in a name, or whole names with --auth-anchored. A publish matches the channel patterns against
// the empty string, so that an entry without channels grants nothing.
package auth
