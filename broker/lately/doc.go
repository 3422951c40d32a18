// Package lately remembers for a while what was done, so that who asks for it again, as tools do that ask each broker for the same, is not told
// that it cannot be. It never says what that is.
package lately
