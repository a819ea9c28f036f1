import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { ApiKeys, KeyswapProvider } from "keyswap-react";

const token = () => fetch("/keyswap-token", { method: "POST" }).then((answer) => answer.text());

function Settings() {
  const [made, setMade] = useState([]);
  return (
    <KeyswapProvider url={window.keyswap} authToken={token}>
      <p id="made">{made.join(",")}</p>
      <ApiKeys onCreated={(key) => setMade((all) => [...all, key.name])} onRevoked={(key) => setMade((all) => [...all, `-${key.name}`])} />
    </KeyswapProvider>
  );
}

createRoot(document.getElementById("root")).render(<StrictMode><Settings /></StrictMode>);
