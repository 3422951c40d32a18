// Package httpd is the broker's HTTP API: publishing, topics and channels, statistics, options and profiles, with the
// routes, checks, texts and order of checks of nsqd 1.3.0. New are /topic/config and /channel/config, which show and set
// options, /storage, which tells how full the disk is, durability= on publishes, and that a publish which the disk did not take is
// answered with the reason instead of EXITING.
//
// It owns what an HTTP client sees and how long it may take over it. It holds no state of topics or messages: it asks the
// topic package and, for what only the whole daemon knows, a Broker. It does no I/O on disk and waits for none in /stats:
// figures are read under short locks, and producers are told by their own sessions.
//
// # Bounds
//
// Bodies are read as they arrive, never into memory set aside for a declared length, and no further than a byte beyond their
// limit. A client has ten seconds for a request's head and a minute for a body, started anew while the body moves. Profiles
// may be written as long as they run.
package httpd
