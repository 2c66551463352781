import { execFileSync } from "node:child_process";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";

/** Runs a program in a fresh Node and gives what it printed. */
function run(program: string): string {
  return execFileSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8", timeout: 20_000 });
}

const dist = (file: string) => JSON.stringify(pathToFileURL(`dist/${file}`).href);

describe("importing", () => {
  it.each(["node.js", "browser.js", "inline.js"])("%s opens nothing, loads nothing and lets Node end", (file) => {
    const printed = run(`
      const touched = [];
      for (const name of ["WebSocket", "fetch", "window"]) Object.defineProperty(globalThis, name, { configurable: true, get() { touched.push(name); } });
      WebAssembly.instantiate = WebAssembly.instantiateStreaming = WebAssembly.compile = () => touched.push("wasm");
      const { WseClient } = await import(${dist(file)});
      new WseClient({ endpoints: ["ws://127.0.0.1:9/"] });
      console.log(JSON.stringify(touched));
    `);
    expect(printed.trim()).toBe("[]");
  });

  it("the inline entry unpacks its module", () => {
    const printed = run(`
      import { WseClient } from ${dist("inline.js")};
      const client = new WseClient({ endpoints: ["http://wrong"] });
      await client.connect().catch((error) => console.log(error.code));
    `);
    expect(printed.trim()).toBe("INVALID_CONFIG");
  });

  it("a module that cannot be loaded is an error that the next connect() can heal", () => {
    const printed = run(`
      import { initWse, WseClient } from ${dist("node.js")};
      await initWse(new Uint8Array([1, 2, 3])).catch((error) => console.log(error.code, error.retryable));
      const client = new WseClient({ endpoints: ["http://wrong"] });
      await client.connect().catch((error) => console.log(error.code));
    `);
    expect(printed.trim().split("\n")).toEqual(["CONNECT_FAILED true", "INVALID_CONFIG"]);
  });

  it("a module that did not come is fetched again by itself", () => {
    const printed = run(`
      import { WseClient } from ${dist("node.js")};
      const { instantiate } = WebAssembly;
      WebAssembly.instantiate = async () => {
        WebAssembly.instantiate = instantiate;
        throw new Error("offline");
      };
      const client = new WseClient({ endpoints: ["http://wrong"] });
      client.onEvent((event) => event.type === "disconnected" && console.log(event.disconnect.code, event.disconnect.retryInMs));
      await client.connect().catch((error) => console.log(error.code, client.connectionState));
    `);
    expect(printed.trim().split("\n")).toEqual(["CONNECT_FAILED 2000", "INVALID_CONFIG undefined", "INVALID_CONFIG failed"]);
  });
});
