# Publishes NAME-0, NAME-1 and so on, one after the other, each with a deduplication key until it is answered OK, and prints what was.
import sys

import nsq
import tornado.ioloop

address, topic, name = sys.argv[1:]
sys.argv[1:] = []  # nsq.run reads options there
writer = nsq.Writer([address], reconnect_interval=0.1)
number = 0


def publish():
    body = "%s-%d" % (name, number)
    writer.pub("%s dedup=%s" % (topic, body), body.encode(), answered)


def answered(conn, data):
    global number
    if isinstance(data, nsq.Error) or data != b"OK":
        tornado.ioloop.IOLoop.current().call_later(0.02, publish)
        return
    print("sent %s-%d" % (name, number), flush=True)
    number += 1
    publish()


tornado.ioloop.IOLoop.current().call_later(0.2, publish)
nsq.run()
