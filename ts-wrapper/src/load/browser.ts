// Browser builds: bundlers see this `new URL` and ship the module as a file of its own.
import { setModuleFinder } from "../engine.js";

setModuleFinder(async () => {
  const response = await fetch(new URL("./wse_bg.wasm", import.meta.url));
  if (!response.ok) throw new Error(`${response.url} answered ${response.status}`);
  return response;
});

export * from "../index.js";
