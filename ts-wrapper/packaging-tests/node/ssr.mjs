import { createElement } from "react";
import { renderToString } from "react-dom/server";
import { useWSE } from "wse-client/react";

let sockets = 0;
globalThis.WebSocket = class {
  constructor() {
    sockets += 1;
  }
};

function Page() {
  const { connectionState } = useWSE({ endpoints: [process.argv[2]] });
  return createElement("p", null, connectionState);
}

console.log(renderToString(createElement(Page)), `${sockets} sockets`);
