export interface RunningServer {
  port: number;
  url: string;
  http: string;
  stop(): Promise<void>;
}
export function program(variable: string, name: string): string;
export function startServer(flags?: string[], port?: number): Promise<RunningServer>;
export function makeToken(secret: string, user: string, ...flags: string[]): Promise<string>;
