import { IJupyterLabPageFixture } from '@jupyterlab/galata';

import { expect, expectAccessible, picture, test } from './pm_lab';

test.use({ autoGoto: false, tmpPath: '' });

async function openPanel(page: IJupyterLabPageFixture) {
  await page.goto('?reset');
  await page.getByRole('tab', { name: 'PM Lab' }).click();
  const panel = page.getByRole('region', { name: 'PM Lab' });
  await expect(panel.getByRole('button', { name: /Welcome to pm_lab/ })).toBeVisible({
    timeout: 60000
  });
  return panel;
}

test('a notebook of the course opens as a working copy', async ({ page, refused }) => {
  const panel = await openPanel(page);
  await expect(panel).toContainText('From single cells to patients');
  await expect(panel).toContainText('MB');
  await page.screenshot({ path: picture('panel') });
  await expectAccessible(page, '.pml-Panel');
  for (const copy of ['00_welcome.ipynb', '00_welcome-2.ipynb']) {
    await panel.getByRole('button', { name: /Welcome to pm_lab/ }).click();
    const title = page.locator('.lm-TabBar-tabLabel').getByText(copy, { exact: true });
    await expect(title).toBeVisible({ timeout: 60000 });
  }
  const written = await page.evaluate(async () => {
    const { content } = await (await fetch('/api/contents?content=1')).json();
    return content.map((one: { name: string }) => one.name);
  });
  expect(written).toEqual(expect.arrayContaining(['00_welcome.ipynb', '00_welcome-2.ipynb']));
});

test('the panel lists the data sets and where they are', async ({ page, refused }) => {
  const panel = await openPanel(page);
  await panel.getByRole('heading', { name: 'Data sets' }).click();
  const name = page.getByText('kang2018', { exact: true });
  const set = panel.locator('.pml-DataSet').filter({ has: name });
  await expect(set).toBeVisible();
  await expect(set.locator('.pml-Place')).not.toBeEmpty();
  await expect(set).toContainText('MB');
  await expect(panel).toContainText('PM_LAB_OFFLINE is set');
  await expect(panel.getByRole('button', { name: /^Fetch kang2018/ })).toHaveCount(0);
  await page.screenshot({ path: picture('data-sets') });
  await expectAccessible(page, '.pml-Panel');
});

test('sections that were open are open after a reload', async ({ page, refused }) => {
  const panel = await openPanel(page);
  await panel.getByRole('heading', { name: 'Case studies' }).click();
  await panel.getByRole('heading', { name: 'Data sets' }).click();
  await page.waitForTimeout(2500); // JupyterLab saves its layout after a second or so
  await page.reload({ waitForIsReady: false });
  await expect(panel).toContainText('kang2018', { timeout: 60000 });
  const open = panel.locator('.pml-Section[open] h2');
  await expect(open).toHaveText(['Course', 'Data sets']);
});

/** A server that can fetch one data set, half of which is there. */
async function fetching(page: IJupyterLabPageFixture) {
  const fetch = { state: 'idle', done_bytes: 5e6, total_bytes: 1e7, error: null };
  const set = {
    ...{ name: 'nki', what: 'Breast cancer', n_obs: 319, n_vars: 24481, licence: 'CC0' },
    ...{ citation: '', size_mb: 10, where: 'to fetch', reader: true, fetch }
  };
  await page.route('**/pm-lab/data-sets*', route =>
    route.fulfill({ json: { offline: false, data_sets: [set] } })
  );
  await page.route('**/pm-lab/data-sets/fetch*', route => {
    const method = route.request().method();
    fetch.state = { POST: 'running', DELETE: 'cancelled' }[method] ?? fetch.state;
    return route.fulfill({ json: fetch });
  });
  return { set, fetch };
}

test('a data set is fetched with progress, or stopped', async ({ page, refused }) => {
  const { set, fetch } = await fetching(page);
  const panel = await openPanel(page);
  await panel.getByRole('heading', { name: 'Data sets' }).click();
  await panel.getByRole('button', { name: 'Fetch nki' }).click();
  const progress = panel.getByRole('progressbar', { name: 'Fetching nki' });
  await expect(progress).toHaveJSProperty('value', 0.5);
  await expect(panel).toContainText('5 MB of 10 MB');
  await panel.getByRole('button', { name: 'Stop fetching nki' }).click();
  await expect(panel).toContainText('Stopped.');
  await panel.getByRole('button', { name: 'Fetch nki' }).click();
  await expect(progress).toBeVisible();
  Object.assign(set, { where: 'cached' });
  Object.assign(fetch, { state: 'done' });
  await expect(panel).toContainText('Fetched and verified.');
  await expectAccessible(page, '.pml-Panel');
});

test('the doctor says what works', async ({ page, refused }) => {
  const panel = await openPanel(page);
  await panel.getByRole('heading', { name: 'Health' }).click();
  await expect(panel).toContainText(/All that is needed works\.|things? (is|are) broken/, {
    timeout: 90000
  });
  await expect(panel.locator('.pml-Finding', { hasText: 'extension' }).first()).toBeVisible();
  for (const broken of await panel.locator('.pml-Finding[data-status="fail"]').all()) {
    await expect(broken.locator('.pml-Finding-mend')).not.toBeEmpty();
  }
  await page.screenshot({ path: picture('doctor') });
  await expectAccessible(page, '.pml-Panel');
});

test('the launcher has a section of its own', async ({ page, refused }) => {
  await page.goto('?reset');
  const section = page.locator('.jp-Launcher-section', { hasText: 'Personalized medicine' });
  await expect(section.locator('.jp-LauncherCard')).toHaveCount(5);
  await page.screenshot({ path: picture('launcher') });
  await section.locator('.jp-LauncherCard', { hasText: 'Data Sets' }).click();
  await expect(page.getByRole('region', { name: 'PM Lab' })).toContainText('kang2018', {
    timeout: 60000
  });
});

test('the panel in the dark', async ({ page, refused }) => {
  await openPanel(page);
  await page.theme.setDarkTheme();
  await page.screenshot({ path: picture('dark-panel') });
  await expectAccessible(page, '.pml-Panel');
});
