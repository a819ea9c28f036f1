// The widget of Keyswap as a React component. The Keyswap server supplies the element.

import { createContext, createElement, useContext, useEffect, useRef } from "react";

const Keyswap = createContext(undefined);

// The events of the element, and the property that handles each.
const EVENTS = {
  "keyswap-created": "onCreated",
  "keyswap-rotated": "onRotated",
  "keyswap-suspended": "onSuspended",
  "keyswap-resumed": "onResumed",
  "keyswap-revoked": "onRevoked",
  "keyswap-refused": "onRefused",
};

// `url` is the base URL of Keyswap, `authToken` a token of a portal session or a function that returns one.
export function KeyswapProvider({ url, authToken, children }) {
  useEffect(() => {
    const src = new URL("widget/v1.js", url.endsWith("/") ? url : `${url}/`).href;
    if ([...document.scripts].some((script) => script.src === src)) return;
    document.head.append(Object.assign(document.createElement("script"), { type: "module", src }));
  }, [url]);
  return createElement(Keyswap.Provider, { value: authToken }, children);
}

export function ApiKeys({ scope = "organization", className, style, ...handlers }) {
  const element = useRef(null);
  const authToken = useContext(Keyswap);
  const current = useRef({});
  current.current = { authToken, handlers };
  // A different string is a different session. A function is called whenever a token is needed.
  const token = typeof authToken === "string" ? authToken : undefined;

  // A new render of the parent does not restart the element.
  useEffect(() => {
    const keys = element.current;
    const getToken = async () => {
      const { authToken } = current.current;
      return typeof authToken === "function" ? authToken() : authToken;
    };
    customElements.whenDefined("keyswap-api-keys").then(() => { keys.authToken = getToken; });
    const handle = (event) => current.current.handlers[EVENTS[event.type]]?.(event.detail);
    for (const name of Object.keys(EVENTS)) keys.addEventListener(name, handle);
    return () => {
      for (const name of Object.keys(EVENTS)) keys.removeEventListener(name, handle);
    };
  }, [token]);
  return createElement("keyswap-api-keys", { ref: element, scope, class: className, style });
}
