/** A colour as 8-bit red, green and blue. */
export type Rgb = readonly [number, number, number];

/**
 * Colours of categories: those of Okabe and Ito, and then the colour farthest from all before it (and from
 * white, near-black and the greys below) in OKLab, by normal sight and by three simulated dichromacies. The
 * two nearest of all twenty are .064 apart in the worst case, the two nearest of Okabe and Ito .076.
 */
export const CATEGORY_COLOURS: readonly string[] = [
  ...['#e69f00', '#56b4e9', '#009e73', '#0072b2', '#d55e00', '#cc79a7', '#f0e442', '#872d0f'],
  ...['#3c0fd2', '#694b69', '#a53cff', '#a54b2d', '#00e1ff', '#87d278', '#8787ff', '#780096'],
  ...['#875a87', '#c32dc3', '#78b478', '#0000ff']
];

/** What is not a category of its own, on a light and on a dark page. */
export interface Greys {
  background: string;
  text: string;
  line: string;
  /** Points that a filter leaves out, or beside an emphasised category. */
  faint: string;
  missing: string;
  /** Categories beyond the twenty that have a colour. */
  rest: string;
  /** Points that are coloured by nothing. */
  plain: string;
}

export const LIGHT: Greys = {
  background: '#ffffff',
  text: '#212121',
  line: '#8a8a8a',
  faint: '#e4e4e4',
  missing: '#c4c4c4',
  rest: '#999999',
  plain: '#3b6ea5'
};

export const DARK: Greys = {
  background: '#111111',
  text: '#e0e0e0',
  line: '#8a8a8a',
  faint: '#2b2b2b',
  missing: '#4a4a4a',
  rest: '#8c8c8c',
  plain: '#6fa8dc'
};

// Viridis at equal steps: even in lightness, so that it also reads in grey and with any colour vision.
const VIRIDIS = [
  ...['#440154', '#482475', '#414487', '#355f8d', '#2a788e', '#21918c', '#22a884', '#44bf70'],
  ...['#7ad151', '#bddf26', '#fde725']
].map(toRgb);

/** The colour of a number, 0 being the lower limit and 1 the upper. */
export function numberColour(share: number): Rgb {
  const place = Math.min(Math.max(share, 0), 1) * (VIRIDIS.length - 1);
  const i = Math.min(Math.floor(place), VIRIDIS.length - 2);
  const mix = (channel: number) =>
    Math.round(VIRIDIS[i][channel] + (VIRIDIS[i + 1][channel] - VIRIDIS[i][channel]) * (place - i));
  return [mix(0), mix(1), mix(2)];
}

/** "#rrggbb" as three numbers. */
export function toRgb(hex: string): Rgb {
  const value = parseInt(hex.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

/** Three numbers as "#rrggbb". */
export function toHex([r, g, b]: Rgb): string {
  return '#' + ((r << 16) | (g << 8) | b).toString(16).padStart(6, '0');
}
