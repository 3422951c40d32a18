// Publishes NAME-0, NAME-1 and so on, one after the other, each with a deduplication key until it is answered OK, and prints what was.
const { Writer } = require("nsqjs");

const [address, topic, name] = process.argv.slice(2);
const [host, port] = address.split(":");
let number = 0;
let lives = 0; // the newest writer counts: none goes on when its connection is lost

function life() {
  const mine = ++lives;
  const writer = new Writer(host, Number(port));
  const end = () => {
    if (mine !== lives) return;
    lives++;
    setTimeout(life, 20);
  };
  const next = () => {
    const body = `${name}-${number}`;
    writer.publish(`${topic} dedup=${body}`, body, (err) => {
      if (mine !== lives) return;
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

process.on("uncaughtException", () => {
  // the library throws when a connection is refused
  lives++;
  setTimeout(life, 20);
});
life();
