// Package audit writes down every act: who did what to what, from where, and what came of it.
//
// It owns the audit log (through slog, and a file of its own when there is one: a JSON object a line) and the notifications that
// nsqadmin sends to an endpoint of the operator's. It never decides whether an act may be. A notification that fails is
// logged; so is one that finds no room among those that wait.
//
// Notifier has one goroutine, Run, which sends one after another.
package audit
