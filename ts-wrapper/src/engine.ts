import init, { WasmClient, type InitInput } from "../wasm/wse.js";
import { WseError } from "./errors.js";

/** The WebAssembly module in any form that it can come in. */
export type WasmSource = BufferSource | WebAssembly.Module | Response | URL | string;

let findModule: (() => Promise<WasmSource>) | undefined;
let ready: Promise<void> | undefined;

/** @internal Called by each entry of the package: how to get at the module there. */
export function setModuleFinder(find: () => Promise<WasmSource>): void {
  findModule = find;
}

/**
 * Loads the engine from `source`, for hosts where the package cannot find `wse_bg.wasm` by itself (it is exported as
 * `wse-client/wasm`). Usually not needed: the first `connect()` loads it. Once loaded, further calls do nothing.
 *
 * @throws {WseError} `CONNECT_FAILED` when the module cannot be fetched or compiled.
 */
export function initWse(source: WasmSource | Promise<WasmSource>): Promise<void> {
  ready ??= load(async () => source);
  return ready;
}

/** @internal */
export async function loadEngine(): Promise<typeof WasmClient> {
  if (!ready) {
    const find = findModule;
    if (!find) throw new WseError("CONNECT_FAILED", "no WebAssembly module: call initWse() first", { retryable: false });
    ready = load(find);
  }
  await ready;
  return WasmClient;
}

async function load(find: () => Promise<WasmSource>): Promise<void> {
  try {
    await init({ module_or_path: (await find()) as InitInput });
  } catch (cause) {
    // The next connect() tries again.
    ready = undefined;
    throw new WseError("CONNECT_FAILED", `could not load the WebAssembly module: ${String(cause)}`, { cause });
  }
}
