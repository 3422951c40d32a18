// Package pub is brokerd's to_nsq: it splits its standard input at a delimiter and publishes each piece that is not empty.
//
// What lies between the last delimiter and the end of the input is a piece as well. Pieces are published in order, as many at once
// as the input had ready, in one MPUB; a piece never waits for others. While one lot is under way the next is read.
//
// With --mode=all each piece goes to every broker, as to_nsq does it; with --mode=one to one of them, in turn, and to the next one when
// that cannot take it. What a broker does not acknowledge is sent again until --retry is over, so that it may have it twice, but not
// miss it. A piece that a broker refuses for what it is ends the tool; all before it are published then.
//
// It never publishes a piece before those in front of it have been acknowledged, and never leaves one out silently.
package pub
