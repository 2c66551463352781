// Node 20 has no WebSocket, and jsdom's own takes no arrays of another realm: both get the one of `ws`.
import { WebSocket } from "ws";

Object.assign(globalThis, { WebSocket });
