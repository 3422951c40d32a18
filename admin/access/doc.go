// Package access says who a request is from and what he may do.
//
// It owns the ways of signing in, the sessions, the file of users and the limits on guessing. It never looks at what a request
// asks for: httpd does, and tells it whether that only reads or acts.
//
// # Ways
//
// None: everybody is an operator. Users: names and passwords from a file, by a form that gives a session (a cookie), or by HTTP
// Basic for scripts. Proxy: a proxy in front says who it is in a header; operators are those that are listed, and others are
// viewers, or only those that are listed as well.
//
// # Sessions
//
// A session is 32 random bytes in a cookie that scripts of the page cannot read, is kept by its SHA-256, and ends 12 hours after
// its last use, with the user's entry in the file, or with the process. An act in a session must carry the session's token in
// X-CSRF-Token. That no page of another site acts on its visitor's behalf is seen to before, for all daemons alike: httpapi.Door.
//
// # File of users
//
// A line is NAME:HASH:ROLE. The hash is bcrypt's; the role is viewer, reader or operator, viewer when it is left out, so that a line of
// htpasswd -B is one. Empty lines and those that begin with # say nothing. A file that is changed counts from the next
// request on; one that cannot be read or is wrong leaves the last good one in force.
package access
