import type { CSSProperties, ReactElement, ReactNode } from "react";

export interface Key {
  id: string;
  name: string;
  masked: string;
  state: "active" | "suspended" | "revoked" | "expired";
  permissions: string[];
  expires_at: string | null;
}

export function KeyswapProvider(properties: {
  /** The base URL of Keyswap, for example https://keyswap.example.com. */
  url: string;
  /** A token of a portal session, or a function that returns one. It is called again when a token has expired. */
  authToken: string | (() => string | Promise<string>);
  children?: ReactNode;
}): ReactElement;

export function ApiKeys(properties: {
  scope?: "organization" | "user";
  className?: string;
  style?: CSSProperties;
  onCreated?(key: Key): void;
  onRotated?(key: Key): void;
  onSuspended?(key: Key): void;
  onResumed?(key: Key): void;
  onRevoked?(key: Key): void;
  onRefused?(error: { status: number }): void;
}): ReactElement;
