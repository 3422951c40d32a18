// Package fakes is brokers and lookups that tests make up: they answer as told, fail or hang when told, and remember what they were
// asked to do. Only tests import it.
package fakes
