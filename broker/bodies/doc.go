// Package bodies bounds what bodies take in memory that have begun to arrive and are not whole yet.
//
// It owns a Budget of bytes for the whole node, of which each body holds a share from its first 64 KiB on. Smaller ones need none: they
// are bounded by the number of connections. A body asks for all that it will need at once, so that those which hold a share can
// always be finished. It never reads and never closes anything itself: it calls what it was given for that.
//
// Who finds no room waits. When somebody has waited for a second, those that hold a share and have not moved for the longest are cut off:
// whoever announces much and sends nothing cannot keep others out. Nor can who sends slowly: a share is kept for five seconds for sure.
//
// One lock guards everything; nothing is called under it.
package bodies
