// Package httpapi is what the daemons say to each other and to their operators over HTTP: the JSON shapes, the form of
// answers and errors, and a thin HTTP client that reads them.
//
// It owns the keys, their order and when a key is left out, for the broker's /stats and /info and for the lookup's /lookup,
// /nodes, /topics, /channels and /info. It owns no route and no state: the daemons' own httpd rooms do. Encoding is
// encoding/json's: no white space, '<', '>' and '&' escaped.
//
// # Answers
//
// A V1 answer carries "X-NSQ-Content-Type: nsq; version=1.0". With status 200 its body is a text as it is, nothing at all, or
// JSON with "application/json; charset=utf-8". With any other status it is {"message":"<TEXT>"}. What the client accepts is
// not looked at. Arguments come from the query only, and the first value of a name counts.
package httpapi
