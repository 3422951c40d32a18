// Package apitest holds what is written about the daemons' HTTP APIs to what they answer: an OpenAPI file for each daemon, and a page.
//
// It owns the form of both. What an operation is for and takes is written as a list of Operations beside the routes, in a test of the daemon's room;
// the shapes of answers are read from the Go types that are encoded, with their comments. Only tests import it.
package apitest
