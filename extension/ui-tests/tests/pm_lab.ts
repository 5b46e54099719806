import * as fs from 'fs';
import * as path from 'path';

import { expect, test as base } from '@jupyterlab/galata';

/** What pandas says of the files that the tests open; files.py wrote it when the server started. */
export interface Expected {
  n_obs: number;
  n_vars: number;
  columns: string[];
  cell_types: Record<string, number>;
  oldest: string[];
  n_40_to_55: number;
  by_age_40_to_55: string[];
  gene: string;
  gene_max: number;
  n_with_gene: number;
}

const BUILD = path.resolve(__dirname, '../../../build');

/** Galata's test, with a page in which every request beyond this machine is refused and noted. */
export const test = base.extend<{ refused: string[]; asked: string[]; expected: Expected }>({
  tmpPath: '',
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
  /** Every address that the page asked for. */
  asked: async ({ page }, use) => {
    const asked: string[] = [];
    page.on('request', request => asked.push(request.url()));
    await use(asked);
  },
  expected: async ({}, use) => {
    await use(JSON.parse(fs.readFileSync(path.join(BUILD, 'ui-tests/root/expected.json'), 'utf8')));
  }
});

/** Where a picture of a view is kept for whoever looks at the build. */
export const picture = (name: string) => path.join(BUILD, 'screenshots', `extension-${name}.png`);

export { expect };
