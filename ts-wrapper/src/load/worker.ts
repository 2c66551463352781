// Workers of the `workerd` kind compile modules at deployment and import them.
// @ts-expect-error: such hosts give a WebAssembly.Module; TypeScript knows no type for the file
import module from "./wse_bg.wasm";
import { setModuleFinder } from "../engine.js";

setModuleFinder(async () => module as WebAssembly.Module);

export * from "../index.js";
