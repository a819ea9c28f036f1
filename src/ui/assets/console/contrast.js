// Contrast of text on a colour (WCAG 2.2, 1.4.3).

const channels = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255);

function luminance(colour) {
  const [red, green, blue] = channels(colour).map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

// From 1 (identical colours) to 21 (black on white).
export function contrast(one, other) {
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}

export const ENOUGH = 4.5;

// The default accents of Keyswap's pages, each with the colour of text on it (widget/style.js).
export const ACCENTS = { accent: { usual: "#3451b2", text: "#ffffff" }, accent_dark: { usual: "#9db1ff", text: "#10142a" } };
