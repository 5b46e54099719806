import { counts, expect, keepMiddleAges, picture, tab, test } from './pm_lab';

test.use({ autoGoto: false, tmpPath: '' });

test('Notebook 7 opens a file with a double click', async ({
  context,
  baseURL,
  refused,
  expected
}) => {
  const tree = await context.newPage();
  await tree.goto(`${baseURL}/tree`);
  const opened = context.waitForEvent('page');
  await tree.locator('.jp-DirListing-item', { hasText: 'cells.h5ad' }).dblclick({ timeout: 60000 });
  const page = await opened;
  await expect(tab(page, 'Overview')).toBeVisible({ timeout: 60000 });
  await keepMiddleAges(page);
  await expect(counts(page)).toContainText(`${expected.n_40_to_55} of ${expected.n_obs}`);
  await page.screenshot({ path: picture('notebook7') });
});
