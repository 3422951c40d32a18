# Ten readers of one channel. Each message, KEY SEQ, is worked on for up to 5 ms. Prints when the work begins and ends,
# and when a connection is lost.
import logging
import random
import sys

import nsq
import tornado.ioloop

address, topic, channel = sys.argv[1:]
sys.argv[1:] = []  # nsq.run reads options there


def handle(message):
    body = message.body.decode()
    print("begin", body, flush=True)
    message.enable_async()

    def end():
        print("end", body, flush=True)
        if random.random() < 0.05:
            message.requeue(delay=0, backoff=False)
        else:
            message.finish()

    tornado.ioloop.IOLoop.current().call_later(random.random() * 0.005, end)


class Lost(logging.Handler):
    def emit(self, record):
        if "connection closed" in record.getMessage():
            print("lost", flush=True)


logging.getLogger("nsq").addHandler(Lost())
readers = [nsq.Reader(topic=topic, channel=channel, message_handler=handle, max_in_flight=100, max_tries=0, nsqd_tcp_addresses=[address],
                      lookupd_poll_interval=1) for _ in range(10)]
nsq.run()
