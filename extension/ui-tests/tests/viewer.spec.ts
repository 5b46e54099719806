import type { Page } from '@playwright/test';

import {
  Expected,
  copyFile,
  counts,
  expect,
  expectAccessible,
  keepMiddleAges,
  openFile,
  picture,
  removeFile,
  selectAround,
  shown,
  tab,
  test
} from './pm_lab';

test.use({ autoGoto: false, tmpPath: '' });

/** The first names of a table. */
async function names(page: Page, grid: string, n: number): Promise<string[]> {
  const heads = page.getByRole('grid', { name: grid }).getByRole('rowheader');
  await expect(heads.nth(n - 1)).toBeVisible();
  return (await heads.allInnerTexts()).slice(0, n);
}

/** The heading of the overview. */
const heading = (page: Page, { n_obs, n_vars }: { n_obs: number; n_vars: number }) =>
  page.getByRole('heading', { name: `${n_obs} cells × ${n_vars.toLocaleString('en')} genes` });

test('a file opens without its content and without a kernel', async ({
  page,
  refused,
  expected
}) => {
  const asked: string[] = [];
  page.on('request', request => asked.push(`${request.method()} ${request.url()}`));
  await openFile(page, 'cells.h5ad');
  await expect(heading(page, expected)).toBeVisible();
  await expect(page.getByText('raw counts', { exact: true }).first()).toBeVisible();
  for (const name of ['X_umap', 'counts']) {
    await expect(shown(page)).toContainText(name);
  }
  await expect(page.getByRole('button', { name: 'Open in notebook' })).toBeVisible();
  await expect(page.getByRole('button', { name: 'Explore patients' })).toHaveCount(0);
  await page.screenshot({ path: picture('overview') });
  await expectAccessible(page, '.pml-Viewer');
  const contents = asked.filter(one => one.includes('api/contents/cells.h5ad'));
  expect(contents).not.toEqual([]);
  expect(contents.filter(one => one.includes('content=1'))).toEqual([]);
  expect(asked.filter(one => /POST .*api\/(kernels|sessions)/.test(one))).toEqual([]);
});

test('the observations sort and filter to what pandas says', async ({
  page,
  refused,
  expected
}) => {
  await openFile(page, 'cells.h5ad');
  await tab(page, 'Observations').click();
  const grid = page.getByRole('grid', { name: 'Observations' });
  await expect(grid).toHaveAttribute('aria-rowcount', String(expected.n_obs + 1));
  const sort = page.getByTitle('Sort by age');
  await sort.click();
  await sort.click();
  await expect(grid.locator('[aria-sort="descending"]')).toContainText('age');
  await expect.poll(() => names(page, 'Observations', 5)).toEqual(expected.oldest);
  await sort.click();
  await sort.click();
  await keepMiddleAges(page);
  await expect(counts(page)).toContainText(`${expected.n_40_to_55} of ${expected.n_obs}`);
  await expect(grid).toHaveAttribute('aria-rowcount', String(expected.n_40_to_55 + 1));
  await expect.poll(() => names(page, 'Observations', 5)).toEqual(expected.by_age_40_to_55);
  await page.screenshot({ path: picture('observations') });
  await expectAccessible(page, '.pml-Viewer');
  await page.getByRole('button', { name: 'Values and filter of age' }).click();
  await expect(page.getByRole('dialog')).toContainText('mean');
  await page.screenshot({ path: picture('column') });
  await expectAccessible(page, '.pml-Viewer');
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: /^Remove filter: / }).click();
  await expect(counts(page)).toContainText(`${expected.n_obs} observations`);
  await expect(grid).toHaveAttribute('aria-rowcount', String(expected.n_obs + 1));
});

test('a category is counted and filtered, and the selection is exported', async ({
  page,
  refused,
  expected
}) => {
  await openFile(page, 'cells.h5ad');
  await tab(page, 'Observations').click();
  await page.getByRole('button', { name: 'Columns', exact: true }).click();
  await page
    .getByRole('dialog', { name: 'Columns' })
    .getByRole('button', { name: 'cell_type' })
    .click();
  await page.getByRole('button', { name: 'Columns', exact: true }).click();
  await expect(page.getByRole('dialog')).toHaveCount(0);
  await page.getByRole('button', { name: 'Values and filter of cell_type' }).click();
  const menu = page.getByRole('dialog', { name: 'Column cell_type' });
  for (const [name, n] of Object.entries(expected.cell_types)) {
    await expect(menu.locator('.pml-Value', { hasText: name })).toContainText(String(n));
  }
  await menu.getByRole('button', { name: 'None' }).click();
  await menu.getByLabel('B cell').check();
  await menu.getByRole('button', { name: 'Apply filter' }).click();
  const n = expected.cell_types['B cell'];
  await expect(counts(page)).toContainText(`${n} of ${expected.n_obs}`);
  const download = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Export CSV' }).click();
  const stream = await (await download).createReadStream();
  const text = (await stream.toArray()).join('').trimEnd();
  expect(text.split(/\r?\n/).length).toBe(n + 1);
});

test('selected rows are copied as they are shown', async ({ page, refused, expected }) => {
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await openFile(page, 'cells.h5ad');
  await tab(page, 'Observations').click();
  await page.getByTitle('Sort by age').dblclick();
  await expect.poll(() => names(page, 'Observations', 5)).toEqual(expected.oldest);
  const heads = page.getByRole('grid', { name: 'Observations' }).getByRole('rowheader');
  await heads.nth(0).click();
  await heads.nth(4).click({ modifiers: ['Shift'] });
  await page.getByRole('button', { name: 'Copy 5 rows' }).click();
  await expect(shown(page)).toContainText('Copied 5 rows.');
  const lines = (await page.evaluate(() => navigator.clipboard.readText())).trimEnd().split('\n');
  expect(lines[0].split('\t').slice(1)).toEqual(expected.columns);
  expect(lines.slice(1).map(line => line.split('\t')[0])).toEqual(expected.oldest);
});

test('a file that changes on disk is shown anew, one that is gone says so', async ({
  page,
  refused,
  expected
}) => {
  copyFile('cells.h5ad', 'live.h5ad');
  await openFile(page, 'live.h5ad');
  await keepMiddleAges(page);
  await expect(counts(page)).toContainText(`${expected.n_40_to_55} of ${expected.n_obs}`);
  copyFile('cohort.h5ad', 'live.h5ad');
  await expect(counts(page)).toContainText(`of ${expected.n_patients} observations`);
  await tab(page, 'Overview').click();
  await expect(
    page.getByRole('heading', { name: `${expected.n_patients} patients` })
  ).toBeVisible();
  removeFile('live.h5ad');
  await expect(page.getByRole('alert')).toContainText('live.h5ad');
  copyFile('cells.h5ad', 'live.h5ad');
  await expect(heading(page, expected)).toBeVisible();
  await expect(page.getByRole('alert')).toHaveCount(0);
});

test('a slow opening shows its progress and can be cancelled', async ({
  page,
  refused,
  expected
}) => {
  await page.goto('?reset');
  const never = '**/pm-lab/anndata/structure*';
  await page.route(never, () => {});
  await page.route('**/pm-lab/progress*', route =>
    route.fulfill({ json: { done: 0.4, what: 'reading obs' } })
  );
  await page.locator('.jp-DirListing-item', { hasText: 'cells.h5ad' }).dblclick();
  await expect(page.getByRole('progressbar', { name: /reading obs/ })).toHaveJSProperty(
    'value',
    0.4
  );
  await page.getByRole('button', { name: 'Cancel' }).click();
  await expect(page.getByText('Opening was cancelled.')).toBeVisible();
  await page.unroute(never);
  await page.getByRole('button', { name: 'Open it' }).click();
  await expect(heading(page, expected)).toBeVisible();
});

test('the variables are searched and sorted', async ({ page, refused, expected }) => {
  await openFile(page, 'cells.h5ad');
  await tab(page, 'Variables').click();
  const grid = page.getByRole('grid', { name: 'Variables' });
  await expect(grid).toHaveAttribute('aria-rowcount', String(expected.n_vars + 1));
  await grid.locator('.pml-Head-sort').first().click();
  await expect.poll(() => names(page, 'Variables', 5)).toEqual(expected.first_variables);
  await page.screenshot({ path: picture('variables') });
  await expectAccessible(page, '.pml-Viewer');
  await page.getByLabel('Search variable names').fill('cd3');
  const left = expected.n_variables_with_cd3;
  await expect(grid).toHaveAttribute('aria-rowcount', String(left + 1));
  await expect(counts(page)).toContainText(`${left} of ${expected.n_vars.toLocaleString('en')}`);
});

/** Keep the cells around a type in which a gene was not found. */
async function withoutGeneAround(page: Page, expected: Expected): Promise<void> {
  await tab(page, 'Embedding').click();
  await page.getByRole('combobox', { name: 'Colour', exact: true }).selectOption('a gene …');
  await page.getByLabel('Colour: gene').fill(expected.gene);
  await page.getByLabel('Colour: gene').press('Enter');
  const legend = page.getByRole('region', { name: 'Legend' });
  await expect(legend).toContainText(expected.gene);
  await legend.getByText('Filter by value').click();
  await legend.getByLabel('to', { exact: true }).fill('0');
  await legend.getByLabel('to', { exact: true }).press('Enter');
  await selectAround(page, expected);
  await page.getByRole('button', { name: 'Filter to these' }).click();
}

test('the selection goes into a notebook that runs', async ({ page, refused, expected }) => {
  await openFile(page, 'cells.h5ad');
  await keepMiddleAges(page);
  await expect(counts(page)).toContainText(`${expected.n_40_to_55} of`);
  await withoutGeneAround(page, expected);
  await expect(counts(page)).toContainText(`${expected.n_around_without_gene} of`);
  await page.getByRole('button', { name: 'Open in notebook' }).click();
  const notebook = page.locator('.jp-NotebookPanel');
  await expect(notebook).toContainText('Selection', { timeout: 60000 });
  const connected = page.locator(
    '.jp-NotebookPanel .jp-Notebook-ExecutionIndicator[data-status="idle"]'
  );
  await expect(connected).toBeVisible({ timeout: 60000 });
  const said = `${expected.n_around_without_gene} of ${expected.n_obs} observations, `;
  const outputs = notebook.locator('.jp-OutputArea-output');
  // JupyterLab now and then drops a command given in the moment in which a kernel comes up.
  await expect(async () => {
    await page.menu.clickMenuItem('Run>Run All Cells');
    await expect(outputs.filter({ hasText: said })).toBeVisible({ timeout: 20000 });
  }).toPass({ timeout: 130000 });
  await expect(connected).toBeVisible({ timeout: 60000 });
  const failed = notebook.locator('[data-mime-type="application/vnd.jupyter.error"]');
  await expect(failed).toHaveCount(0);
  await page.screenshot({ path: picture('notebook') });
});

test('only a cohort offers the explorer', async ({ page, refused }) => {
  await openFile(page, 'cohort.h5ad');
  await page.getByRole('button', { name: 'Explore patients' }).click();
  await expect(page.locator('.jp-NotebookPanel')).toContainText('pm.explore', { timeout: 60000 });
});

test('a zarr folder opens from its menu', async ({ page, refused, expected }) => {
  await page.goto('?reset');
  const folder = page.locator('.jp-DirListing-item', { hasText: 'cells.zarr' });
  await folder.click({ button: 'right' });
  await page.getByRole('menuitem', { name: 'Open as AnnData' }).click();
  await expect(heading(page, expected)).toBeVisible({ timeout: 60000 });
  await page.screenshot({ path: picture('zarr') });
});

test('what was open is open again after a reload', async ({ page, refused, expected }) => {
  await openFile(page, 'cells.h5ad');
  await keepMiddleAges(page);
  const said = `${expected.n_40_to_55} of ${expected.n_obs}`;
  await expect(counts(page)).toContainText(said);
  await page.waitForTimeout(2500); // JupyterLab saves its layout after a second or so
  await page.reload({ waitForIsReady: false });
  const chosen = page.getByRole('tab', { name: 'Observations', exact: true, selected: true });
  await expect(chosen).toBeVisible({ timeout: 60000 });
  await expect(counts(page)).toContainText(said);
});

test('the keyboard is enough', async ({ page, refused, expected }) => {
  await openFile(page, 'cells.h5ad');
  await tab(page, 'Overview').focus();
  await page.keyboard.press('ArrowRight');
  await expect(tab(page, 'Observations')).toBeFocused();
  const grid = page.getByRole('grid', { name: 'Observations' });
  await expect(grid).toHaveAttribute('aria-rowcount', String(expected.n_obs + 1));
  await grid.focus();
  const active = async () => {
    const id = await grid.getAttribute('aria-activedescendant');
    return page.locator(`[id="${id}"]`).innerText();
  };
  await page.keyboard.press('ArrowUp'); // from the first row to the header
  const right = expected.columns.indexOf('age') + 1;
  for (let i = 0; i < right; i++) {
    await page.keyboard.press('ArrowRight');
  }
  await expect.poll(active).toContain('age');
  await page.keyboard.press('Enter');
  await expect(grid.locator('[aria-sort="ascending"]')).toContainText('age');
  await page.keyboard.press('Alt+ArrowDown');
  const menu = page.getByRole('dialog', { name: 'Column age' });
  await expect(menu.getByLabel('From', { exact: true })).toBeVisible();
  for (let i = 0; i < 10 && !(await isFocused(page, 'From')); i++) {
    await page.keyboard.press('Tab');
  }
  await page.keyboard.type('40');
  await page.keyboard.press('Tab');
  await page.keyboard.type('55');
  await page.keyboard.press('Enter');
  await expect(counts(page)).toContainText(`${expected.n_40_to_55} of ${expected.n_obs}`);
  await expect(grid).toBeFocused();
  await tab(page, 'Observations').focus();
  await page.keyboard.press('End');
  await expect(tab(page, 'Distribution')).toBeFocused();
});

const isFocused = (page: Page, label: string) =>
  page.evaluate(name => document.activeElement?.getAttribute('aria-label') === name, label);

test('every tab in the dark', async ({ page, refused }) => {
  await openFile(page, 'cells.h5ad');
  await page.theme.setDarkTheme();
  const ready: [string, string][] = [
    ['Overview', 'h2, h3'],
    ['Observations', '[role="rowheader"]'],
    ['Variables', '[role="rowheader"]'],
    ['Embedding', '.pml-Legend-table'],
    ['Distribution', '.pml-Chart svg']
  ];
  for (const [name, content] of ready) {
    await tab(page, name).click();
    await expect(shown(page).locator(content).first()).toBeVisible();
    await page.screenshot({ path: picture(`dark-${name.toLowerCase()}`) });
    await expectAccessible(page, '.pml-Viewer');
  }
});
