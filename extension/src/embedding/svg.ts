import { ReactElement, createElement } from 'react';

export type Attributes = Record<string, string | number | undefined>;

/** A picture as plain data: shown on the page by React, and written to a file as text. */
export interface SvgElement {
  tag: string;
  attributes: Attributes;
  children: (SvgElement | string)[];
}

/** An element; attributes have the names that SVG gives them. */
export function svg(
  tag: string,
  attributes: Attributes,
  ...children: (SvgElement | string)[]
): SvgElement {
  return { tag, attributes, children };
}

/** The picture as React elements. */
export function toReact(element: SvgElement, key?: number): ReactElement {
  const properties: Attributes = { key };
  for (const [name, value] of Object.entries(element.attributes)) {
    const kept = name.startsWith('aria-') || name.startsWith('data-');
    properties[kept ? name : name.replace(/-(\w)/g, (_, letter) => letter.toUpperCase())] = value;
  }
  const children = element.children.map((child, i) =>
    typeof child === 'string' ? child : toReact(child, i)
  );
  return createElement(element.tag, properties, ...children);
}

/** The picture as the text of an SVG file. Names come from the file that is shown: all of them are escaped. */
export function toText(element: SvgElement): string {
  const attributes = Object.entries(element.attributes)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}="${escaped(String(value))}"`)
    .join('');
  const inside = element.children
    .map(child => (typeof child === 'string' ? escaped(child) : toText(child)))
    .join('');
  return `<${element.tag}${attributes}>${inside}</${element.tag}>`;
}

// Control characters are not allowed in XML, escaped or not.
const FORBIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g;

function escaped(text: string): string {
  return text
    .replace(FORBIDDEN, '\ufffd')
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;')
    .replace(/"/g, '&quot;');
}

/** A whole picture on white, in a font that is found everywhere. */
export function picture(
  width: number,
  height: number,
  children: (SvgElement | string)[]
): SvgElement {
  return svg(
    'svg',
    {
      xmlns: 'http://www.w3.org/2000/svg',
      width,
      height,
      viewBox: `0 0 ${width} ${height}`,
      'font-family': 'Helvetica, Arial, sans-serif',
      'font-size': 12
    },
    svg('rect', { width, height, fill: '#ffffff' }),
    ...children
  );
}

/** A line of text, cut where it is too long. */
export function text(
  x: number,
  y: number,
  content: string,
  attributes: Attributes = {},
  most = Infinity
): SvgElement {
  const cut = content.length > most ? content.slice(0, most - 1) + '…' : content;
  return svg('text', { x, y, fill: 'currentColor', ...attributes }, cut);
}
