// The Chromium of the system, without anything that would talk to the outside.
import { chromium } from "playwright-core";

export const launch = () =>
  chromium.launch({
    executablePath: process.env.WSE_CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox", // containers run as root
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
