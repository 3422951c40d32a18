//go:build !unix

package vfs

const noFollow, nonBlock = 0, 0
