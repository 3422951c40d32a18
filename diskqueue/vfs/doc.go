// Package vfs is the part of a file system that storage uses, so that a test can stand in for the disk.
//
// It owns three file systems: OS, the real one; Mem, which knows what was synced and shows what a killed process or a power
// cut leaves behind; and Faulty, which makes any of them fail where a test says. It never decides what is stored, never
// retries and never hides an error.
//
// # What may be relied on
//
// Names are paths in the form of the operating system. Folders and files are made for their owner's account.
//
//   - What WriteAt wrote survives the end of the process, however it ends. It survives a power cut once Sync has returned
//     nil; before that any part of it may be missing, later parts without earlier ones, and in overwritten space the old
//     bytes may show.
//   - A file that was created, renamed or removed is so after a power cut once SyncDir of its folder has returned nil;
//     before that the change may be forgotten, a file's synced content with the file.
//   - Folders that MkdirAll makes need no SyncDir.
//   - After an error from Sync the file's unsynced bytes are in doubt for ever: another Sync that returns nil proves
//     nothing about them.
//
// Errors wrap those of the standard library and the operating system: errors.Is finds fs.ErrNotExist, fs.ErrExist,
// syscall.ENOSPC and their like.
//
// # Locks
//
// OS has none of its own. Mem has one lock around each operation. Faulty's lock guards its rules only and is never held
// across an operation.
package vfs
