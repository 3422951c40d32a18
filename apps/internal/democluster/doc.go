// Package democluster shows what a replicated topic outlives: three brokers that are one cluster, two lookups and an admin on this machine, stock
// clients that publish and consume all the while, and what is killed, paused or wiped under them.
//
// By hand it says which process to kill, starts what was killed again, and counts on. By itself it kills each leader in turn, pauses one, wipes the
// folder of one, and returns nil only if every message that was acknowledged was finished, and none that was not sent.
//
// # What is counted
//
// Every message has a body of its own: the number of its producer, its own number, and text that follows from both. It is acknowledged once its
// publish is answered OK. One that is refused, or not answered, may come all the same: it is neither lost nor wrong, and never sent again. It is
// finished when a consumer has it in hand and is about to say so; each time after the first counts as duplicated. It is lost when it was
// acknowledged and is not finished although messages have been coming for a good while, see ledger.
//
// # Who does what
//
// One goroutine owns the processes: it looks at them and at what brokers say of their cluster, shows that, and acts. Each producer has one, which
// goes on to the next broker when the one it is at refuses, or is gone. Consumers are go-nsq's. All of them write into the ledger, which has one
// lock.
package democluster
