// Ten readers of one channel. Each message, KEY SEQ, is worked on for up to 5 ms. Prints when the work begins and ends,
// and when a connection is lost.
const { Reader } = require("nsqjs");

const [address, topic, channel] = process.argv.slice(2);
for (let i = 0; i < 10; i++) {
  const reader = new Reader(topic, channel, { nsqdTCPAddresses: address, maxInFlight: 100, lookupdPollInterval: 1 });
  reader.on("error", () => {});
  reader.on("nsqd_closed", () => console.log("lost"));
  reader.on("message", (message) => {
    const body = message.body.toString();
    console.log("begin", body);
    setTimeout(() => {
      console.log("end", body);
      if (Math.random() < 0.05) message.requeue(0, false);
      else message.finish();
    }, Math.random() * 5);
  });
  reader.connect();
}
