// Package build makes the pages of the documentation of Markdown files: HTML, and an index for searching. It is used when the pages are
// generated and by tests; no daemon has it.
//
// It owns what a Markdown file may hold and what becomes of it. README.md of the folder is the first page, and its lists are the
// menu: each heading of the second level is a group, each link of a list below it is a page. A file that the menu does not name, a link
// that leads nowhere, and HTML in a file are errors.
//
// # Code blocks
//
// Every code block is fenced and says its language, which for commands is sh. Words behind it say more:
//
//	sh                       is run by a test, in order with the others of its page, in one shell
//	sh background ready="X"  goes on until the page ends or a block says stopped; the next block waits until it has printed X
//	sh stopped               what is in the background is ended first, as by Ctrl-C
//	sh needs="command"       is run only where this command succeeds
//	sh network               is run with the machine's own network; the others have one of their own
//	sh fails                 must end with an error
//	sh not-run="why"         is not run; the page shows why
//	text output              what the block before prints; ... stands for anything
//	go file="main.go"        is written to a file for the blocks behind it
package build
