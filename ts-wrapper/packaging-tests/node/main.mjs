import { WebSocket } from "ws";
import { WseClient } from "wse-client";

// Node 20 has no WebSocket of its own; from Node 22 on these two lines are not needed.
globalThis.WebSocket ??= WebSocket;

const client = new WseClient({ endpoints: [process.argv[2]] });
await client.connect();
await client.subscribe(["packaging:node"]);
const messages = client.messages();
client.send({ type: "chat", topic: "packaging:node", payload: { n: 1 } });
const { value } = await messages.next();
console.log(value.type, JSON.stringify(value.payload));
client.close();
