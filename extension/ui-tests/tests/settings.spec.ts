import { galata } from '@jupyterlab/galata';

import { expect, openFile, picture, savedSvg, tab, test } from './pm_lab';

test.use({
  autoGoto: false,
  tmpPath: '',
  mockSettings: {
    ...galata.DEFAULT_SETTINGS,
    'pm-lab-extension:viewer': {
      pointLimit: 1000,
      smallCountThreshold: 50,
      defaultColour: ['batch', 'cell_type'],
      refreshSeconds: 0
    }
  }
});

test('the settings are in force', async ({ page, refused, expected }) => {
  const looks: string[] = [];
  page.on('request', request => {
    if (request.headers()['if-none-match'] && request.url().includes('anndata/structure')) {
      looks.push(request.url());
    }
  });
  await openFile(page, 'batches.h5ad');
  await tab(page, 'Embedding').click();
  const legend = page.getByRole('region', { name: 'Legend' });
  await expect(legend).toContainText('batch');
  const total = expected.n_in_batches.toLocaleString('en');
  const said = `1,000 of ${total} cells drawn, chosen at random`;
  await expect(page.locator('.pml-PlotStatus')).toContainText(said);
  for (const [name, n] of Object.entries(expected.batches)) {
    await expect(legend.getByRole('row', { name })).toContainText(n.toLocaleString('en'));
  }
  await page.screenshot({ path: picture('settings') });
  const { circles, texts } = await savedSvg(page, 'settings');
  expect(circles).toBe(1000);
  expect(texts).toEqual(expect.arrayContaining([said, 'batch', ...Object.keys(expected.batches)]));
  // The rarest is under the threshold; the next one would tell it by the total.
  const [most, next, rarest] = Object.values(expected.batches).map(n => n.toLocaleString('en'));
  expect(texts).toEqual(expect.arrayContaining([most, 'hidden', '<50']));
  expect(texts).not.toContain(next);
  expect(texts).not.toContain(rarest);
  await page.waitForTimeout(6000); // longer than the usual five seconds between two looks
  expect(looks).toEqual([]);
});
