// Package stat is nsq_stat's equal: it shows what goes through topics and channels, summed over brokers.
//
// With --topic and --channel it prints nsq_stat's lines for that one channel. Without, it shows a table of all topics and
// channels, which a terminal sees in place and anything else one after another. With --json each row is an object on a line of
// its own.
//
// A broker that does not answer is a warning, and is left out of the sums until it answers again. Rates are over the time
// that really passed between two answers of the same broker; a broker that started anew begins at 0 again, which is never
// shown as a negative rate.
package stat
