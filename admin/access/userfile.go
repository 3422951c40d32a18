package access

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/bcrypt"

	"brokerd/protocol/grant"
)

// User is one line of the file.
type User struct {
	Name string
	Hash []byte // bcrypt
	// Roles is what he may do, as ParseRoles reads it, and Grants what that is.
	Roles  string
	Grants grant.Grants
}

const (
	maxUsers    = 10_000
	maxUsersLen = 4 << 20 // bytes
	maxName     = 128     // bytes
	fileName    = "users file"
	// MaxPassword is the longest password in bytes: bcrypt looks at no more.
	MaxPassword = 72
	// MinPassword is the shortest one in bytes.
	MinPassword = 8
	cost        = 12
)

// ValidUser reports what is wrong with a user's name.
func ValidUser(name string) error {
	switch {
	case name == "" || len(name) > maxName:
		return fmt.Errorf("a name has 1 to %d bytes", maxName)
	case strings.HasPrefix(name, "#"):
		return errors.New("a name does not begin with #")
	case strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == ':' || r == 0x7f || r == '\uFFFD' }):
		return errors.New("a name has no colon, space or control character")
	}
	return nil
}

// ParseUsers reads a file of users. The error names the line.
func ParseUsers(text []byte) ([]User, error) {
	var users []User
	seen := map[string]bool{}
	number := 0
	for line := range bytes.Lines(text) {
		number++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		u, err := parseUser(string(line))
		switch {
		case err != nil:
			return nil, fmt.Errorf("line %d: %w", number, err)
		case seen[u.Name]:
			return nil, fmt.Errorf("line %d: %s was there before", number, u.Name)
		case len(users) == maxUsers:
			return nil, fmt.Errorf("more than %d users", maxUsers)
		}
		seen[u.Name] = true
		users = append(users, u)
	}
	return users, nil
}

func parseUser(line string) (User, error) {
	fields := strings.Split(line, ":")
	if len(fields) != 2 && len(fields) != 3 {
		return User{}, errors.New("not NAME:HASH:ROLE")
	}
	u := User{Name: fields[0], Hash: []byte(fields[1]), Roles: viewerText}
	if err := ValidUser(u.Name); err != nil {
		return User{}, err
	}
	if _, err := bcrypt.Cost(u.Hash); err != nil || len(u.Hash) != 60 {
		return User{}, errors.New("the second field is no bcrypt hash")
	}
	if len(fields) == 3 {
		u.Roles = fields[2]
	}
	var err error
	u.Grants, err = ParseRoles(u.Roles)
	return u, err
}

// AppendUser appends u's line.
func AppendUser(text []byte, u User) []byte {
	return fmt.Appendf(text, "%s:%s:%s\n", u.Name, u.Hash, u.Roles)
}

// SetUser adds a user to a file, or gives the one of that name another password and other roles. The file is made when there is none;
// what else is in it stays. It is replaced as a whole, so that a reader finds the old one or the new one.
func SetUser(path, name, password, roles string) error {
	return setUser(path, name, password, roles, cost)
}

func setUser(path, name, password, roles string, cost int) error {
	if _, err := ParseRoles(roles); err != nil {
		return err
	}
	if err := ValidUser(name); err != nil {
		return err
	}
	if len(password) < MinPassword || len(password) > MaxPassword {
		return fmt.Errorf("a password has %d to %d bytes", MinPassword, MaxPassword)
	}
	text, before, err := grant.ReadFile(fileName, path, maxUsersLen)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := ParseUsers(text); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		return fmt.Errorf("hash the password: %w", err)
	}
	return grant.ReplaceFile(fileName, path, string(withUser(text, User{Name: name, Hash: hash, Roles: roles})), before)
}

// withUser returns the text with u's line in the place of the one that it had, or at the end.
func withUser(text []byte, u User) []byte {
	var out []byte
	done := false
	for line := range bytes.Lines(text) {
		if name, _, _ := strings.Cut(strings.TrimSpace(string(line)), ":"); name == u.Name {
			out, done = AppendUser(out, u), true
			continue
		}
		out = append(out, line...)
	}
	if done {
		return out
	}
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, '\n')
	}
	return AppendUser(out, u)
}

// usersFile is a file of users that may change.
type usersFile struct {
	path  string
	log   *slog.Logger
	users atomic.Pointer[[]User]

	look    sync.Mutex  // whoever has it looks at the file; nobody waits for it. It guards what follows
	state   fs.FileInfo // of the file that was last looked at, nil when there was none
	checked time.Time
}

// checkEvery is how long a change of the file can go unnoticed.
const checkEvery = time.Second

// openUsers reads the file for the first time: then it must be there and right.
func openUsers(path string, log *slog.Logger) (*usersFile, error) {
	f := &usersFile{path: path, log: log}
	if err := f.load(); err != nil {
		return nil, err
	}
	return f, nil
}

// load reads the file, and says once what is wrong with it. The caller holds look, or is the only one.
func (f *usersFile) load() error {
	text, state, err := grant.ReadFile(fileName, f.path, maxUsersLen)
	f.state = state
	if err != nil {
		return err
	}
	if state.Mode().Perm()&0o004 != 0 {
		f.log.Warn("the users file can be read by everybody, who can then guess its passwords: take that right away (chmod o-r)", "file", f.path)
	}
	users, err := ParseUsers(text)
	if err != nil {
		return fmt.Errorf("users file %q: %w", f.path, err)
	}
	f.users.Store(&users)
	return nil
}

// changed reports whether the file is another one than at the last look, or is there no more.
func (f *usersFile) changed() bool {
	state, err := os.Stat(f.path)
	if err != nil || f.state == nil {
		return err == nil || f.state != nil
	}
	return !grant.SameFile(state, f.state)
}

// find returns a user by name, from the file as it is now; while it is read, as it was before.
func (f *usersFile) find(name string, now time.Time) (User, bool) {
	f.follow(now)
	users := *f.users.Load()
	i := slices.IndexFunc(users, func(u User) bool { return u.Name == name })
	if i < 0 {
		return User{}, false
	}
	return users[i], true
}

// follow reads the file anew when it has changed, once a second at most.
func (f *usersFile) follow(now time.Time) {
	if !f.look.TryLock() {
		return
	}
	defer f.look.Unlock()
	if now.Sub(f.checked) < checkEvery {
		return
	}
	f.checked = now
	if !f.changed() {
		return
	}
	if err := f.load(); err != nil {
		f.log.Error("the users file cannot be used; the last good one counts", "error", err)
	}
}
