import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// `npm run dev` talks to a server on the default port; the built page talks to whoever serves it.
export default defineConfig({
  base: "./",
  plugins: [react()],
  // The package is linked from this repository and must use the page's React, not its own.
  resolve: { dedupe: ["react", "react-dom"] },
  server: { proxy: { "/wse": { target: "ws://127.0.0.1:5006", ws: true } } },
});
