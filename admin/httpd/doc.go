// Package httpd is admind's HTTP: nsqadmin's API under the same paths and shapes, the bodies and the event stream of the web UI,
// signing in, and the UI's own files.
//
// It owns routes, texts, caching, compression and the order of checks: an act is refused to other sites' pages, then to those
// who have not signed in, then to viewers; what is left is carried out, written down by audit, and told to the notification
// endpoint. It holds no state of the cluster: cluster and views do.
//
// # Bounds
//
// A request's body is read up to 1 MiB (a test message's up to 8 MiB). An event stream ends with the server, with its reader, or
// after ten seconds in which its reader took nothing; a reader that is slow misses states, and gets the newest.
package httpd
