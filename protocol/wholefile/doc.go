// Package wholefile reads the files that settings name, whole or not at all: certificates, keys, secrets, tokens, users, settings.
//
// Whoever puts a file there may put anything there. So no file is waited for when it is opened, what has no end is read up to a bound, and what is not
// said at once is waited for a while only. A read from a disk or a network mount that does not answer cannot be given up: whoever reads a file that
// others want holds nothing that they wait for.
package wholefile
