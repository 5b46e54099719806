import { TranslationBundle } from '@jupyterlab/translation';

import { SvgElement, toText } from './svg';

const SHARPNESS = 2; // pixels of the PNG to one of the picture

/** Save a picture as an SVG file. */
export function saveSvg(picture: SvgElement, name: string): void {
  save(new Blob([toText(picture)], { type: 'image/svg+xml' }), `${name}.svg`);
}

/** Save a picture as a PNG file. */
export async function savePng(
  picture: SvgElement,
  name: string,
  trans: TranslationBundle
): Promise<void> {
  const url = URL.createObjectURL(new Blob([toText(picture)], { type: 'image/svg+xml' }));
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    const canvas = document.createElement('canvas');
    canvas.width = Number(picture.attributes.width) * SHARPNESS;
    canvas.height = Number(picture.attributes.height) * SHARPNESS;
    canvas.getContext('2d')!.drawImage(image, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise<Blob | null>(done => canvas.toBlob(done, 'image/png'));
    if (!blob) {
      throw new Error(trans.__('The browser could not make the picture.'));
    }
    save(blob, `${name}.png`);
  } finally {
    URL.revokeObjectURL(url);
  }
}

function save(blob: Blob, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name.replace(/[^\w.-]+/g, '_');
  link.click();
  window.setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
