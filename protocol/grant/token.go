package grant

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

const (
	prefix    = "brokerd_"
	secretLen = 43 // characters of 32 bytes in base64url
	maxID     = 64 // bytes
)

// digest is what is kept of a token.
type digest [sha256.Size]byte

func digestOf(text string) digest { return sha256.Sum256([]byte(text)) }

// ErrNoToken is a text that has not the form of a token.
var ErrNoToken = errors.New("not a token of the form brokerd_ID_SECRET")

// Looks reports whether a text has the form of a token.
func Looks(text string) bool {
	_, err := splitToken(text)
	return err == nil
}

// splitToken returns the id of a token. The error never holds the text.
func splitToken(text string) (id string, err error) {
	rest, ok := strings.CutPrefix(text, prefix)
	at := len(rest) - secretLen - 1
	if !ok || at < 1 || rest[at] != '_' || CheckID(rest[:at]) != nil {
		return "", ErrNoToken
	}
	if _, err := base64.RawURLEncoding.DecodeString(rest[at+1:]); err != nil {
		return "", ErrNoToken
	}
	return rest[:at], nil
}

// CheckID reports what is wrong with the id of a token.
func CheckID(id string) error {
	if id == "" || len(id) > maxID {
		return fmt.Errorf("an id has 1 to %d bytes", maxID)
	}
	for _, c := range []byte(id) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-') {
			return fmt.Errorf("id %q: an id has letters, digits, dots and dashes only", id)
		}
	}
	return nil
}

// newToken returns a new token of that id, which is valid.
func newToken(id string) string {
	var secret [32]byte
	rand.Read(secret[:]) // never fails
	return prefix + id + "_" + base64.RawURLEncoding.EncodeToString(secret[:])
}
