package cmdtest

import "github.com/nsqio/go-nsq"

// ClientConfig returns go-nsq's own configuration, but for its time to connect and to write. Those are a second, which a process that has to wait for
// the processor can miss: then it hangs up, and messages come again though nothing is wrong.
func ClientConfig() *nsq.Config {
	config := nsq.NewConfig()
	config.DialTimeout, config.WriteTimeout = patience, patience
	return config
}
