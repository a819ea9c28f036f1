// The console for operators. The sign-in requires an API key with a management permission.

import { KeyswapConsole } from "./shell.js";

customElements.define("keyswap-console", KeyswapConsole);
document.body.append(document.createElement("keyswap-console"));
