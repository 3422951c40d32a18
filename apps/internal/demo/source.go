package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// source is a tree of files whose lines are the demo's messages.
type source struct {
	root  string   // folder
	files []string // relative to root, in lexical order
	lines int      // of all files
}

// goSource returns the folder of the Go library's source on this machine.
func goSource(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("asking go for its GOROOT: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "src"), nil
}

// survey finds the files below root and counts their lines. It is an error if there are none.
func survey(root string) (source, error) {
	s := source{root: root}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		s.files = append(s.files, name)
		return s.eachLine(name, func([]byte) error { s.lines++; return nil })
	})
	if err != nil {
		return source{}, fmt.Errorf("reading the source: %w", err)
	}
	if s.lines == 0 {
		return source{}, errors.New("there are no lines in " + root)
	}
	return s, nil
}

// eachLine calls f with the message of each line of a file: its path, its number from 1, and its text without the line feed,
// with colons between. The bytes are f's to keep. Files are taken as they are, whatever is in them.
func (s source) eachLine(name string, f func(message []byte) error) error {
	text, err := os.ReadFile(filepath.Join(s.root, name))
	if err != nil {
		return err
	}
	path := filepath.ToSlash(name)
	for number := 1; len(text) > 0; number++ {
		line, rest, _ := bytes.Cut(text, []byte{'\n'})
		text = rest
		message := make([]byte, 0, len(path)+len(line)+12)
		message = append(message, path...)
		message = append(message, ':')
		message = strconv.AppendInt(message, int64(number), 10)
		message = append(message, ':')
		message = append(message, line...)
		if err := f(message); err != nil {
			return err
		}
	}
	return nil
}
