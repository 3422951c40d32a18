// Package keyrule takes the key of a message out of its body, as the options key_from and dedup_from of a topic say, and as tools do that send
// each key to one broker. It is pure.
package keyrule
