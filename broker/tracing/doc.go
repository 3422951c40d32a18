// Package tracing sends spans of publishes and deliveries to a collector, in the JSON form of OTLP over HTTP.
//
// A message is chosen by its id, so that its publish and all its deliveries are in one trace, whoever reports them: the trace's id and
// that of the publish's span are made of the message's id, and deliveries are children of the publish. Spans have names, times and
// numbers, never a body, nor anything that a client has shown to be let in.
//
// A collector that is slow or gone holds up nothing: a span is put into a buffer if there is room, and counted as dropped if not; a
// batch that is not taken is dropped and counted as well. OpenTelemetry's library would do the same, and more, for 6.4 MB of binary.
package tracing
