// Package apptest lends tests of tools the other end of what they do: stock clients of a broker, a producer that publishes what a
// tool is to find, and a consumer that keeps what it has done. The brokers and tools themselves are processes of cmdtest.
//
// It judges nothing, and is used by tests only.
package apptest
