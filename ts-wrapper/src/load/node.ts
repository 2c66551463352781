// Node: the module lies beside this file.
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { setModuleFinder } from "../engine.js";

// By its text: under jsdom `URL` is another class, which `readFile` does not take.
setModuleFinder(() => readFile(fileURLToPath(new URL("./wse_bg.wasm", import.meta.url).href)));

export * from "../index.js";
