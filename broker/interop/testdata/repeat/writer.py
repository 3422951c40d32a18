# Publishes "NAME 0", "NAME 1" and so on, some of them three in one MPUB, each publish until it is answered OK. WORDS stand
# behind the topic, # in them is the number of the publish's first message. Prints what is tried, sent and has failed.
import sys

import nsq
import tornado.ioloop

address, topic, name, words = sys.argv[1:]
sys.argv[1:] = []  # nsq.run reads options there
writer = nsq.Writer([address], reconnect_interval=0.1)
number = 0
tries = 0


def publish():
    global tries
    if not writer.conns:
        return later()
    tries += 1
    this, first = tries, number
    bodies = ["%s %d" % (name, first + i) for i in range(3 if first % 5 == 2 else 1)]

    def tell(what):
        for body in bodies:
            print(what, body, flush=True)

    def answered(conn, data):
        global number, tries
        if this != tries:
            return  # the library tells of one failure twice
        if isinstance(data, nsq.Error) or data != b"OK":
            tries += 1
            tell("failed")
            return later()
        tell("sent")
        number = first + len(bodies)
        publish()

    tell("try")
    with_words = "%s %s" % (topic, words.replace("#", str(first)))
    if len(bodies) > 1:
        writer.mpub(with_words, [body.encode() for body in bodies], answered)
    else:
        writer.pub(with_words, bodies[0].encode(), answered)


def later():
    tornado.ioloop.IOLoop.current().call_later(0.02, publish)


later()
nsq.run()
