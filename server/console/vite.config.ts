import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// Names without hashes: the files are part of the server program, which tells browsers to ask again.
export default defineConfig({
  base: "/console/",
  plugins: [react()],
  // The package is linked from this repository and must use the page's React, not its own.
  resolve: { dedupe: ["react", "react-dom"] },
  build: {
    // The folder is under version control, its content is not.
    emptyOutDir: false,
    rollupOptions: { output: { entryFileNames: "app.js", chunkFileNames: "[name].js", assetFileNames: "[name][extname]" } },
  },
  // `npm run dev` shows a server on the default port.
  server: {
    proxy: {
      "/wse": { target: "http://127.0.0.1:5006", ws: true },
      "/console/token": { target: "http://127.0.0.1:5006" },
    },
  },
});
