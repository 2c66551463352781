import { useEffect } from "react";
import { createRoot } from "react-dom/client";
import { ConnectionState } from "wse-client";
import { useWSE } from "wse-client/react";

const url = new URLSearchParams(location.search).get("url") ?? "";

function App() {
  const { connectionState, lastMessage, sendMessage } = useWSE({ endpoints: [url], topics: ["packaging:vite"] });
  useEffect(() => {
    if (connectionState !== ConnectionState.Connected) return undefined;
    const timer = setInterval(() => sendMessage({ type: "chat", topic: "packaging:vite", payload: { n: 1 } }), 100);
    return () => clearInterval(timer);
  }, [connectionState, sendMessage]);
  return <p id="out">{`${connectionState} ${JSON.stringify(lastMessage?.payload)}`}</p>;
}

createRoot(document.getElementById("root")!).render(<App />);
