// Package httpd is the lookup's HTTP API: what consumers, brokers, admins and people ask of the registry.
//
// It owns the routes, their arguments and the order in which these are checked. The form of answers and errors is
// protocol/httpapi's, what is true is the registry's. It holds no state and no listener.
//
//	GET  /ping                                  OK
//	GET  /info                                  the version
//	GET  /topics                                names of all topics
//	GET  /channels?topic=                       names of a topic's channels; none when it is unknown
//	GET  /lookup?topic=                         a topic's channels and brokers; 404 when it is unknown
//	GET  /nodes                                 all brokers with their topics
//	POST /topic/create?topic=                   POST /channel/create?topic=&channel=
//	POST /topic/delete?topic=                   POST /channel/delete?topic=&channel=
//	POST /topic/tombstone?topic=&node=          node is a broker's broadcast address and HTTP port
//	GET  /config                                every setting; PUT /config reads them anew
//	GET  /metrics                               for Prometheus
//	GET  /debug                                 everything that is kept
//	GET  /debug/pprof/...                       the process itself
//
// A name is never a pattern: "*" is a topic that nobody has.
package httpd
