package vfs

// FS is a file system. Its methods are safe for concurrent use.
type FS interface {
	// Create makes a new file for reading and writing. It fails with fs.ErrExist when the name is taken.
	Create(name string) (File, error)
	// Open opens a file for reading.
	Open(name string) (File, error)
	// OpenWrite opens a file that exists for reading and writing, its content untouched.
	OpenWrite(name string) (File, error)
	// Remove removes a file or an empty folder. A file that is open can be used until it is closed, where the operating
	// system allows the removal at all.
	Remove(name string) error
	// Rename gives a file another name in the same folder, replacing a file of that name. It fails with syscall.EXDEV
	// when the folders differ, since no single SyncDir could make that durable.
	Rename(from, to string) error
	// Link gives a file one more name, in any folder of the same file system, which must be free. Not every file system can.
	Link(from, to string) error
	// MkdirAll makes a folder and those above it, durably. It is no error if they exist.
	MkdirAll(dir string) error
	// List returns the names in a folder, without the folder's own, sorted.
	List(dir string) ([]string, error)
	// Size returns a file's size in bytes.
	Size(name string) (int64, error)
	// Is reports whether a name still stands for an open file: not when somebody has removed or replaced it.
	Is(name string, f File) (bool, error)
	// SyncDir makes the names in a folder durable.
	SyncDir(dir string) error
	// Free says how much space there is on the file system that holds the folder. It fails with errors.ErrUnsupported
	// where that cannot be known.
	Free(dir string) (Space, error)
}

// Space is the room on a file system.
type Space struct {
	Free  uint64 // bytes that this process may still use
	Total uint64 // bytes of the whole file system
}

// File is an open file. ReadAt and WriteAt are safe for concurrent use with each other and with Sync; Close must come last.
type File interface {
	// ReadAt is io.ReaderAt's: io.EOF comes with the bytes that end at the end of the file.
	ReadAt(p []byte, off int64) (int, error)
	// WriteAt is io.WriterAt's, growing the file when needed. After an error an unknown part has been written.
	WriteAt(p []byte, off int64) (int, error)
	// Size returns the file's size in bytes.
	Size() (int64, error)
	// Sync makes what was written, and the size, durable.
	Sync() error
	// WriteOut has the system write n bytes from an offset on to the disk, as far as they were written to the file, and waits for it. It
	// promises nothing, but leaves a Sync that follows less to do. After an error they are as after an error of Sync, which a later Sync may not tell.
	// It does nothing where the system cannot be asked for that.
	WriteOut(off, n int64) error
	// Links returns how many names the file has, whichever: 0 when its last one was removed, or given to another file. It asks less of the
	// system than Is, and fails with errors.ErrUnsupported where that cannot be asked.
	Links() (int, error)
	// Truncate sets the size in bytes; what is added reads as zeros.
	Truncate(size int64) error
	// Preallocate makes sure that the file has at least size bytes and, where the file system can promise that, that
	// writing them needs no more space. What is added reads as zeros.
	Preallocate(size int64) error
	// Forget has the system drop what it keeps of the file's content in memory, where that can be asked for and it was written,
	// so that the next read asks the disk.
	Forget() error
	// Close closes the file. It says nothing about what is durable.
	Close() error
}
