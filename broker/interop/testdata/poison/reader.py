# Handles what comes, but for "poison", which fails until the file FIXED is there. Prints the body and attempts of each delivery.
import os
import sys

import nsq

address, topic, channel, fixed = sys.argv[1:]
sys.argv[1:] = []  # nsq.run reads options there


def handle(message):
    print(message.body.decode(), message.attempts, flush=True)
    message.enable_async()
    if message.body == b"poison" and not os.path.exists(fixed):
        message.requeue(delay=0, backoff=False)  # no pause of the whole reader
    else:
        message.finish()


nsq.Reader(topic=topic, channel=channel, message_handler=handle, max_in_flight=10, max_tries=0, nsqd_tcp_addresses=[address])
nsq.run()
