// Anything unusual, and development servers: the module travels inside this file, deflated.
import { setModuleFinder } from "../engine.js";

/** Put in by scripts/build.mjs: the module, deflated, in base64. */
declare const __WSE_WASM__: string;

setModuleFinder(async () => {
  const packed = Uint8Array.from(atob(__WSE_WASM__), (char) => char.charCodeAt(0));
  const module = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Response(module).arrayBuffer();
});

export * from "../index.js";
