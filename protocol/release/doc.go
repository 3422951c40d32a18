// Package release tells which build of this project a program is. It is pure: what the linker and the Go tool have written into the
// program, and nothing of what it does.
package release
