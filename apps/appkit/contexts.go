package appkit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"brokerd/protocol/wholefile"
)

// Contexts are names for where daemons are, kept in a file of the user's: brokerctl/contexts.toml in the folder for settings. The file
// is for its owner only, from its first byte on; one that others may read or write is refused, since who can change it sends the
// owner's commands elsewhere. Methods are not safe for use by several processes at the same time; the last one to save wins.
type Contexts struct{ path string }

// Context is one of them.
type Context struct {
	Name   string
	Values map[string][]string // by flag
}

// NewContexts returns the contexts in a folder for settings. An empty one has none and takes none.
func NewContexts(configDir string) *Contexts {
	if configDir == "" {
		return &Contexts{}
	}
	return &Contexts{path: filepath.Join(configDir, "brokerctl", "contexts.toml")}
}

// Path returns where the file is.
func (c *Contexts) Path() string { return c.path }

// contextsFile is the file's content.
type contextsFile struct {
	Current  string                         `toml:"current"`
	Contexts map[string]map[string][]string `toml:"context"`
}

// openToOthers reports whether others than a file's owner and group may read or change it.
func openToOthers(info fs.FileInfo) bool {
	return runtime.GOOS != "windows" && info.Mode().Perm()&0o007 != 0
}

// read returns what the file says; one that is not there says nothing.
func (c *Contexts) read() (contextsFile, error) {
	file := contextsFile{Contexts: make(map[string]map[string][]string)}
	if c.path == "" {
		return file, nil
	}
	info, err := os.Stat(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return file, nil
	}
	if err != nil {
		return file, err
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return file, fmt.Errorf("%s may be read or written by others (mode %04o): make it yours alone with chmod 600 %s",
			c.path, info.Mode().Perm(), c.path)
	}
	text, _, err := wholefile.Regular(c.path, wholefile.Most)
	if err == nil {
		err = toml.Unmarshal(text, &file)
	}
	if err != nil {
		return file, fmt.Errorf("the contexts in %s: %w", c.path, err)
	}
	if file.Contexts == nil {
		file.Contexts = make(map[string]map[string][]string)
	}
	return file, nil
}

// write replaces the file as a whole.
func (c *Contexts) write(file contextsFile) error {
	if c.path == "" {
		return errors.New("there is no folder for settings to keep contexts in: set HOME or XDG_CONFIG_HOME")
	}
	var text bytes.Buffer
	text.WriteString("# Where brokerctl finds daemons; see brokerctl context --help.\n")
	if err := toml.NewEncoder(&text).Encode(file); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(c.path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(c.path), "contexts-*") // which makes it with mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text.Bytes())
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), c.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// List returns the names, sorted, and which of them is in use; empty for none.
func (c *Contexts) List() (names []string, current string, err error) {
	file, err := c.read()
	return slices.Sorted(maps.Keys(file.Contexts)), file.Current, err
}

// Get returns a context, or an error that names those which there are.
func (c *Contexts) Get(name string) (Context, error) {
	file, err := c.read()
	if err != nil {
		return Context{}, err
	}
	return find(file, name)
}

func find(file contextsFile, name string) (Context, error) {
	values, ok := file.Contexts[name]
	if !ok {
		if len(file.Contexts) == 0 {
			return Context{}, Missingf("there is no context %q, nor any other: brokerctl context add %s --lookupd-http-address=HOST:PORT makes it", name, name)
		}
		return Context{}, Missingf("there is no context %q, only %s", name, strings.Join(slices.Sorted(maps.Keys(file.Contexts)), ", "))
	}
	c := Context{Name: name, Values: make(map[string][]string)}
	for key, list := range values {
		c.Values[strings.ReplaceAll(key, "_", "-")] = list
	}
	return c, nil
}

// pick returns the named context, or without a name the one in use; without that either, an empty one.
func (c *Contexts) pick(name string) (Context, error) {
	file, err := c.read()
	if err != nil {
		return Context{}, err
	}
	if name == "" {
		name = file.Current
	}
	if name == "" {
		return Context{}, nil
	}
	return find(file, name)
}

// Add keeps a context in the place of one of its name, and uses it when it is the first.
func (c *Contexts) Add(added Context) error {
	file, err := c.read()
	if err != nil {
		return err
	}
	values := make(map[string][]string)
	for name, list := range added.Values {
		values[strings.ReplaceAll(name, "-", "_")] = list
	}
	if len(file.Contexts) == 0 {
		file.Current = added.Name
	}
	file.Contexts[added.Name] = values
	return c.write(file)
}

// Use makes a context the one that counts where no other is named; an empty name makes none.
func (c *Contexts) Use(name string) error {
	file, err := c.read()
	if err != nil {
		return err
	}
	if name != "" {
		if _, err := find(file, name); err != nil {
			return err
		}
	}
	file.Current = name
	return c.write(file)
}

// Remove forgets a context.
func (c *Contexts) Remove(name string) error {
	file, err := c.read()
	if err != nil {
		return err
	}
	if _, err := find(file, name); err != nil {
		return err
	}
	delete(file.Contexts, name)
	if file.Current == name {
		file.Current = ""
	}
	return c.write(file)
}
