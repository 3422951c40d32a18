// Package simnet lends tests a network in memory, for virtual time: streams between hosts, which are delayed, cut in one direction or both, and
// reset.
//
// What is sent while a direction is cut arrives once it is mended, as TCP sends it again; so does the news that the other end is closed. A process
// that is killed leaves a host that answers: its connections are reset, and new ones refused, unless the way there is cut. A host without power
// says nothing. One that stands, and may go on, has a system that answers for it: see Net.Pause.
//
// It judges nothing, and is used by tests only.
package simnet
