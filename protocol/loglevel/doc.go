// Package loglevel is the words for log levels that NSQ's daemons and tools share: in flags and files, as the body of
// PUT /config/log_level, and as the number that GET /config/log_level answers. It says which of slog's levels each stands for.
//
// It is pure, and decides nothing about what is logged.
package loglevel
