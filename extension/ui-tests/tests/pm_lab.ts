import * as fs from 'fs';
import * as path from 'path';

import AxeBuilder from '@axe-core/playwright';
import { IJupyterLabPageFixture, expect, test as base } from '@jupyterlab/galata';
import type { Page } from '@playwright/test';

/** What pandas says of the files that the tests open; files.py wrote it when the server started. */
export interface Expected {
  n_obs: number;
  n_vars: number;
  n_patients: number;
  columns: string[];
  cell_types: Record<string, number>;
  oldest: string[];
  n_40_to_55: number;
  by_age_40_to_55: string[];
  gene: string;
  gene_max: number;
  n_with_gene: number;
  around: { x0: number; x1: number; y0: number; y1: number };
  n_around: number;
  n_around_without_gene: number;
  stages_around: Record<string, number>;
  age_by_type: Record<string, [number, number]>;
  first_variables: string[];
  n_variables_with_cd3: number;
  batches: Record<string, number>;
  n_in_batches: number;
}

const BUILD = path.resolve(__dirname, '../../../build');
const ROOT = path.join(BUILD, 'ui-tests/root');

/** Put a copy of one of the files in the place of another, or of nothing, at once. */
export function copyFile(from: string, to: string): void {
  const half = path.join(ROOT, `.${to}`);
  fs.copyFileSync(path.join(ROOT, from), half);
  fs.renameSync(half, path.join(ROOT, to));
}

export function removeFile(name: string): void {
  fs.rmSync(path.join(ROOT, name));
}

/** Galata's test, with a page in which every request beyond this machine is refused and noted. */
export const test = base.extend<{ refused: string[]; expected: Expected }>({
  refused: async ({ context }, use) => {
    const refused: string[] = [];
    await context.route(
      url => !['127.0.0.1', 'localhost'].includes(url.hostname) && url.protocol.startsWith('http'),
      route => {
        refused.push(route.request().url());
        return route.abort();
      }
    );
    await use(refused);
    expect(refused).toEqual([]);
  },
  expected: async ({}, use) => {
    await use(JSON.parse(fs.readFileSync(path.join(ROOT, 'expected.json'), 'utf8')));
  }
});

/** Where a picture of a view is kept for whoever looks at the build. */
export const picture = (name: string) => path.join(BUILD, 'screenshots', `extension-${name}.png`);

/** Double-click a file in the file browser, as a person does. */
export async function openFile(page: IJupyterLabPageFixture, name: string): Promise<void> {
  await page.goto('?reset');
  await page.locator('.jp-DirListing-item', { hasText: name }).dblclick();
  await expect(tab(page, 'Overview')).toBeVisible({ timeout: 60000 });
}

/** A tab of the viewer. */
export const tab = (page: Page, name: string) => page.getByRole('tab', { name, exact: true });

/** What the chosen tab shows. */
export const shown = (page: Page) => page.locator('.pml-TabPanel:not([hidden])');

/** "361 of 900 observations", above every tab. */
export const counts = (page: Page) =>
  page.getByRole('region', { name: 'Filters' }).getByRole('status');

/** Keep the ages from 40 to 55, by the menu of the column. */
export async function keepMiddleAges(page: Page): Promise<void> {
  await tab(page, 'Observations').click();
  await page.getByRole('button', { name: 'Values and filter of age' }).click();
  const menu = page.getByRole('dialog', { name: 'Column age' });
  await menu.getByLabel('From', { exact: true }).fill('40');
  await menu.getByLabel('To', { exact: true }).fill('55');
  await menu.getByLabel('To', { exact: true }).press('Enter');
}

/** Select the cells around a type by the corners of a rectangle, without a pointer. */
export async function selectAround(page: Page, { around }: Expected): Promise<void> {
  await page.getByText('Select by coordinates').focus();
  await page.keyboard.press('Enter');
  for (const [label, value] of [
    ['x from', around.x0],
    ['x to', around.x1],
    ['y from', around.y0],
    ['y to', around.y1]
  ] as const) {
    await page.getByLabel(label, { exact: true }).fill(String(value));
  }
  await page.getByLabel('y to', { exact: true }).press('Enter');
}

/** What a picture that is saved as SVG draws and says; it has to be XML that a browser shows. */
export async function savedSvg(page: Page, name: string) {
  const download = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Save as SVG' }).click();
  const saved = await download;
  const file = picture(name).replace(/png$/, 'svg');
  await saved.saveAs(file);
  const drawn = await page.evaluate(
    content => {
      const root = new DOMParser().parseFromString(content, 'image/svg+xml').documentElement;
      const texts = [...root.querySelectorAll('text, parsererror')].map(one => one.textContent!);
      const number = (tag: string) => root.querySelectorAll(tag).length;
      const shapes = {
        circles: number('circle'),
        rectangles: number('rect'),
        paths: number('path')
      };
      return { root: root.tagName, bar: number('linearGradient'), ...shapes, texts };
    },
    fs.readFileSync(file, 'utf8')
  );
  expect(drawn.root).toBe('svg');
  return { file: saved.suggestedFilename(), ...drawn };
}

/** axe-core finds nothing serious or critical in what a selector holds. */
export async function expectAccessible(page: Page, scope: string): Promise<void> {
  const { violations } = await new AxeBuilder({ page }).include(scope).analyze();
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  expect(serious.map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html)])).toEqual([]);
}

export { expect };
