// Keyswap's widget in React: the element does the work, and comes from the server that it talks to.

import { createContext, createElement, useContext, useEffect, useRef } from "react";

const Keyswap = createContext(undefined);

// What the element tells, and the property that hears of it.
const EVENTS = {
  "keyswap-created": "onCreated",
  "keyswap-rotated": "onRotated",
  "keyswap-suspended": "onSuspended",
  "keyswap-resumed": "onResumed",
  "keyswap-revoked": "onRevoked",
  "keyswap-refused": "onRefused",
};

// `url` is Keyswap's, `authToken` a token of a portal session or a function that gives one.
export function KeyswapProvider({ url, authToken, children }) {
  useEffect(() => {
    const src = new URL("widget/v1.js", url.endsWith("/") ? url : `${url}/`).href;
    if ([...document.scripts].some((script) => script.src === src)) return;
    document.head.append(Object.assign(document.createElement("script"), { type: "module", src }));
  }, [url]);
  return createElement(Keyswap.Provider, { value: authToken }, children);
}

export function ApiKeys({ scope = "organization", className, style, ...heard }) {
  const element = useRef(null);
  const authToken = useContext(Keyswap);
  const current = useRef({});
  current.current = { authToken, heard };
  // Another text is another session. A function is asked whenever a token is needed, whichever it is then.
  const token = typeof authToken === "string" ? authToken : undefined;

  // A parent that is drawn again starts nothing again.
  useEffect(() => {
    const keys = element.current;
    const ask = async () => {
      const { authToken } = current.current;
      return typeof authToken === "function" ? authToken() : authToken;
    };
    customElements.whenDefined("keyswap-api-keys").then(() => { keys.authToken = ask; });
    const hear = (event) => current.current.heard[EVENTS[event.type]]?.(event.detail);
    for (const name of Object.keys(EVENTS)) keys.addEventListener(name, hear);
    return () => {
      for (const name of Object.keys(EVENTS)) keys.removeEventListener(name, hear);
    };
  }, [token]);
  return createElement("keyswap-api-keys", { ref: element, scope, class: className, style });
}
