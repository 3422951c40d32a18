// Publishes NAME-0, NAME-1 and so on, one after the other, each with a deduplication key until it is answered OK, and prints what was.
const { Writer } = require("nsqjs");

const [address, topic, name] = process.argv.slice(2);
const [host, port] = address.split(":");
let number = 0;

function life() {
  const writer = new Writer(host, Number(port));
  let over = false;
  const end = () => {
    if (over) return;
    over = true;
    writer.close();
    setTimeout(life, 20);
  };
  const next = () => {
    const body = `${name}-${number}`;
    writer.publish(`${topic} dedup=${body}`, body, (err) => {
      if (over) return;
      if (err) return end();
      console.log("sent", body);
      number++;
      next();
    });
  };
  writer.on("ready", next);
  writer.on("error", end);
  writer.on("closed", end);
  writer.connect();
}

life();
