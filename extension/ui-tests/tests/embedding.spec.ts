import type { Page } from '@playwright/test';

import {
  Expected,
  counts,
  expect,
  expectAccessible,
  openFile,
  keepMiddleAges,
  picture,
  savedSvg,
  selectAround,
  shown,
  tab,
  test
} from './pm_lab';

test.use({ autoGoto: false, tmpPath: '' });

const legend = (page: Page) => page.getByRole('region', { name: 'Legend' });
const selected = (page: Page) => page.getByRole('region', { name: 'Selected cells' });

async function openEmbedding(page: Parameters<typeof openFile>[0], { n_obs }: Expected) {
  await openFile(page, 'cells.h5ad');
  await tab(page, 'Embedding').click();
  await expect(page.locator('.pml-PlotStatus')).toContainText(`${n_obs} cells drawn`);
}

/** Where values lie on the page, by the first and last label of each axis. */
async function scales(page: Page) {
  const found = await page.locator('.pml-Plot svg text').evaluateAll(all =>
    all.map(one => {
      const box = (one as SVGTextElement).ownerSVGElement!.getBoundingClientRect();
      const [x, y] = ['x', 'y'].map(name => Number(one.getAttribute(name)));
      const anchor = one.getAttribute('text-anchor');
      return { value: Number(one.textContent), x: box.left + x, y: box.top + y - 4, anchor };
    })
  );
  const ticks = found.filter(({ value }) => !Number.isNaN(value));
  const across = ticks.filter(({ anchor }) => anchor === 'middle');
  const up = ticks.filter(({ anchor }) => anchor === 'end');
  const line = (from: [number, number], to: [number, number]) => (value: number) =>
    from[1] + ((value - from[0]) * (to[1] - from[1])) / (to[0] - from[0]);
  const [left, right] = [across[0], across[across.length - 1]];
  const [low, high] = [up[0], up[up.length - 1]];
  return {
    x: line([left.value, left.x], [right.value, right.x]),
    y: line([low.value, low.y], [high.value, high.y])
  };
}

test('the legend counts every type of cell', async ({ page, refused, expected }) => {
  await openEmbedding(page, expected);
  for (const [name, n] of Object.entries(expected.cell_types)) {
    await expect(legend(page).getByRole('row', { name })).toContainText(String(n));
  }
  await page.screenshot({ path: picture('embedding') });
  await expectAccessible(page, '.pml-Viewer');
});

test('a gene colours the cells', async ({ page, refused, expected }) => {
  await openEmbedding(page, expected);
  const colour = page.getByRole('combobox', { name: 'Colour', exact: true });
  await colour.selectOption({ label: 'a gene …' });
  await page.getByLabel('Colour: gene').fill(expected.gene.toLowerCase());
  await page.getByLabel('Colour: gene').press('Enter');
  await expect(legend(page)).toContainText(expected.gene);
  const without = expected.n_obs - expected.n_with_gene;
  await expect(legend(page)).toContainText(String(without));
  await page.screenshot({ path: picture('gene') });
  await expectAccessible(page, '.pml-Viewer');
  const saved = await savedSvg(page, 'gene');
  expect(saved.file).toContain(expected.gene);
  expect(saved.circles).toBe(expected.n_obs);
  expect(saved.bar).toBe(1);
  expect(saved.texts).toContain(expected.gene);
});

test('the saved picture has its points and the legend', async ({ page, refused, expected }) => {
  await openEmbedding(page, expected);
  await expect(legend(page).getByRole('row').first()).toBeVisible();
  const { circles, rectangles, texts } = await savedSvg(page, 'embedding');
  const types = Object.keys(expected.cell_types);
  expect(circles).toBe(expected.n_obs);
  expect(rectangles).toBe(1 + types.length); // the ground and the keys of the legend
  expect(texts).toEqual(expect.arrayContaining(['cell_type', ...types]));
});

test('a tab that is hidden asks for nothing', async ({ page, refused, expected }) => {
  await openEmbedding(page, expected);
  const masks: string[] = [];
  page.on('request', request => {
    if (request.url().includes('anndata/mask')) {
      masks.push(request.url());
    }
  });
  await keepMiddleAges(page);
  const grid = page.getByRole('grid', { name: 'Observations' });
  await expect(grid).toHaveAttribute('aria-rowcount', String(expected.n_40_to_55 + 1));
  expect(masks).toEqual([]);
  await tab(page, 'Embedding').click();
  await expect(page.locator('.pml-PlotStatus')).toContainText(
    `${expected.n_40_to_55} match the filters`
  );
  expect(masks).toHaveLength(1);
});

test('a lasso that is a filter is outlined after a reload', async ({ page, refused, expected }) => {
  await openEmbedding(page, expected);
  await selectAround(page, expected);
  await selected(page).getByRole('button', { name: 'Filter to these' }).click();
  await expect(counts(page)).toContainText(`${expected.n_around} of ${expected.n_obs}`);
  await page.waitForTimeout(2500); // JupyterLab saves its layout after a second or so
  await page.reload({ waitForIsReady: false });
  const outline = page.locator('path.pml-Lasso');
  await expect(outline).toHaveCount(1, { timeout: 60000 });
  await expect(selected(page)).toHaveCount(0);
  await page.getByRole('button', { name: /^Remove filter: inside the lasso/ }).click();
  await expect(outline).toHaveCount(0);
});

test('a category seen alone gives way to the next colour', async ({ page, refused, expected }) => {
  await openEmbedding(page, expected);
  const last = legend(page).getByRole('row').last().getByRole('button');
  await last.click();
  await expect(last).toHaveAttribute('aria-pressed', 'true');
  const colour = page.getByRole('combobox', { name: 'Colour', exact: true });
  await colour.selectOption('sex');
  await expect(legend(page)).toContainText('female');
  await colour.selectOption('age');
  await expect(legend(page)).toContainText('smallest');
  await legend(page).getByText('Filter by value').click();
  await legend(page).getByLabel('from', { exact: true }).fill('40');
  await legend(page).getByLabel('to', { exact: true }).fill('55');
  await legend(page).getByLabel('to', { exact: true }).press('Enter');
  await expect(counts(page)).toContainText(`${expected.n_40_to_55} of ${expected.n_obs}`);
});

test('a lasso drawn around a type counts its cells', async ({ page, refused, expected }) => {
  await openEmbedding(page, expected);
  await page.getByRole('button', { name: /^Lasso/ }).click();
  const { x, y } = await scales(page);
  const { x0, x1, y0, y1 } = expected.around;
  await page.mouse.move(x(x0), y(y0));
  await page.mouse.down();
  for (const [px, py] of [
    [x1, y0],
    [x1, y1],
    [x0, y1],
    [x0, y0 + 0.2]
  ]) {
    await page.mouse.move(x(px), y(py), { steps: 8 });
  }
  await page.mouse.up();
  await expect(selected(page)).toContainText(`${expected.n_around} of ${expected.n_obs} cells`);
  await page.screenshot({ path: picture('lasso') });
  await expectAccessible(page, '.pml-Viewer');
});

test('a rectangle in numbers selects without a pointer', async ({ page, refused, expected }) => {
  await openEmbedding(page, expected);
  await selectAround(page, expected);
  await expect(selected(page)).toContainText(`${expected.n_around} of ${expected.n_obs} cells`);
  const stages = selected(page).getByRole('table', { name: 'stage' });
  for (const [name, n] of Object.entries(expected.stages_around)) {
    await expect(stages.getByRole('row', { name: new RegExp(`^${name} `) })).toContainText(
      String(n)
    );
  }
  await selected(page).getByRole('button', { name: 'Filter to these' }).click();
  await expect(counts(page)).toContainText(`${expected.n_around} of ${expected.n_obs}`);
});

test('a distribution has the numbers of pandas', async ({ page, refused, expected }) => {
  await openFile(page, 'cells.h5ad');
  await tab(page, 'Distribution').click();
  await page.getByRole('combobox', { name: 'Values', exact: true }).selectOption('age');
  await page.getByRole('combobox', { name: 'By', exact: true }).selectOption('cell_type');
  await page.getByText('Table of the numbers').click();
  const table = shown(page).getByRole('table').first();
  for (const [name, [n, median]] of Object.entries(expected.age_by_type)) {
    const row = table.getByRole('row', { name });
    await expect(row.getByRole('cell', { name: String(n), exact: true }).first()).toBeVisible();
    await expect(
      row.getByRole('cell', { name: String(median), exact: true }).first()
    ).toBeVisible();
  }
  await page.screenshot({ path: picture('distribution') });
  const { paths, texts } = await savedSvg(page, 'distribution');
  const types = Object.keys(expected.age_by_type);
  expect(paths).toBeGreaterThanOrEqual(types.length);
  expect(texts).toEqual(expect.arrayContaining(types));
  await expectAccessible(page, '.pml-Viewer');
});
