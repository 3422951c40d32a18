package grant

import (
	"fmt"
	"os"
	"strings"
)

// ReadOwn returns the token in a file of its own, which somebody shows to others; empty for an empty path. The error never holds it.
func ReadOwn(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	state, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("the file with this daemon's own token: %w", err)
	}
	if state.Mode().Perm()&0o006 != 0 {
		return "", fmt.Errorf("the file with this daemon's own token, %s, is open to everybody: take that right away (chmod o-rw)", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("the file with this daemon's own token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if !Looks(token) {
		return "", fmt.Errorf("the file with this daemon's own token, %s: %w", path, ErrNoToken)
	}
	return token, nil
}
