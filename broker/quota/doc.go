// Package quota bounds how much one caller sends in a second: publishes, bytes of bodies, commands.
//
// It owns the accounts, one for each token or address, and says how long a caller is over his quota. It never waits and refuses nothing: HTTP
// answers 429, and a session reads its next commands later. An account holds a second's worth at most, and a debt of half a minute at most, so that one
// large batch is neither impossible nor paid for ever. Accounts that are full again are forgotten.
package quota
