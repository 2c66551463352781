// Node: the module lies beside this file.
import { readFile } from "node:fs/promises";
import { setModuleFinder } from "../engine.js";

setModuleFinder(() => readFile(new URL("./wse_bg.wasm", import.meta.url)));

export * from "../index.js";
