// The operators' console: whoever signs in here with an API key that manages something.

import { KeyswapConsole } from "./shell.js";

customElements.define("keyswap-console", KeyswapConsole);
document.body.append(document.createElement("keyswap-console"));
