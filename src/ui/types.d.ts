// Types of calls of /v1, derived from `V1.Operations`, which `scripts/api-types` generates from docs/openapi.json.

declare namespace Calls {
  type Operation = keyof V1.Operations;
  type Response<Name extends Operation> = V1.Operations[Name]["response"];
  type Body<Name extends Operation> = V1.Operations[Name]["body"];

  /** The options of a call: `path` and `body` are required if the operation requires them. */
  type Options<Name extends Operation> = Member<"path", V1.Operations[Name]["path"]> &
    Member<"body", Body<Name>> & { query?: Query<V1.Operations[Name]["query"]>; version?: number; idempotencyKey?: string };
  type Arguments<Name extends Operation> = {} extends Options<Name> ? [options?: Options<Name>] : [options: Options<Name>];
  type Member<Key extends string, Value> = {} extends Value
    ? { [K in Key]?: Value }
    : undefined extends Value ? { [K in Key]?: Value } : { [K in Key]: Value };
  /** Null and the empty string are not sent. A list is sent as one text, with commas. */
  type Query<Parameters> = { [Name in keyof Parameters]: (NonNullable<Parameters[Name]> extends unknown[] ? string : Parameters[Name]) | null | "" };

  /** The paths of all lists. */
  type Collection = { [Name in Operation]: Name extends `GET ${infer Path}` ? (Response<Name> extends { data: unknown[]; next: string | null } ? Path : never) : never }[Operation];
  type Item<Path extends Collection> = `GET ${Path}` extends Operation ? (Response<`GET ${Path}`> extends { data: (infer One)[] } ? One : never) : never;

  /** The operations that create or change an item of a list, and the members of their bodies. */
  type Write<Path extends Collection> = Exclude<Extract<Operation, `POST ${Path}` | `${"PUT" | "PATCH"} ${Path}/{${string}}`>, `${string} ${Path}/{${string}}/${string}`>;
  type BodyMember<Path extends Collection> = KeysOfUnion<NonNullable<Body<Write<Path>>>> & string;
  type KeysOfUnion<Union> = Union extends unknown ? keyof Union : never;
}

/** Swagger UI, which the page at /docs loads from its own script. */
declare const SwaggerUIBundle: { (options: Record<string, unknown>): void; presets: { apis: unknown } };
