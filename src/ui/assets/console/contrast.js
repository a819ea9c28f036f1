// Contrast of text on a color (WCAG 2.2, 1.4.3).

const channels = (/** @type {string} */ color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16) / 255);

/** @param {string} color */
function luminance(color) {
  const [red, green, blue] = channels(color).map((channel) => (channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

// From 1 (identical colors) to 21 (black on white).
/**
 * @param {string} one
 * @param {string} other
 */
export function contrastRatio(one, other) {
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}

export const MIN_CONTRAST = 4.5;

// The default accents of Keyswap's pages, each with the color of text on it (widget/style.js).
export const DEFAULT_ACCENTS = { accent: { color: "#3451b2", text: "#ffffff" }, accent_dark: { color: "#9db1ff", text: "#10142a" } };
