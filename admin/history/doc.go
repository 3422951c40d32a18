// Package history keeps the last hours of series of figures in memory, coarser the older they are.
//
// It owns the points, never what they mean: a thing (the cluster, a topic, a channel, a node) is a Key with the same series, in
// the order that Record is given them. It has one lock, no goroutine and no clock.
//
// # Tiers
//
// Each series has the last 10 minutes in steps of 5 seconds, the last hour in steps of 30 seconds and the last 8 hours in steps
// of 4 minutes: three rings of 120 points. A point is the mean of what was recorded in its step, NaN when nothing was. Steps
// are counted from the Unix epoch, so that all series share the place of now in their rings.
//
// # Bytes
//
// A point is 2 bytes, exact to a twentieth of a percent, and a ring 240. A ring whose points are all equal, as those of a topic that
// nobody uses, is not kept, only its one value: an idle series takes 48 bytes and a busy one 768. A topic has 5 series and a channel
// 7, so that 5,000 topics with two channels each are 95,000 series: 7 MB measured with what holds them when all are idle, 73 MB when
// every one of them is busy. Beyond the limit that New is given for rings, those that are no longer all equal begin to show their newest value
// only. A thing that was not recorded for 8 hours is forgotten.
package history
