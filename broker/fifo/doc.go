// Package fifo is a queue, first in, first out, on a ring that grows. It does not lock.
package fifo
