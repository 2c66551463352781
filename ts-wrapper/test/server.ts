import type { TestProject } from "vitest/node";
import { startServer } from "./run-server.mjs";

declare module "vitest" {
  export interface ProvidedContext {
    url: string;
    http: string;
  }
}

/** One open server for all tests. Without the program the suite fails, with the reason. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const server = await startServer();
  project.provide("url", server.url);
  project.provide("http", server.http);
  return server.stop;
}
