import { expect, test, vi } from 'vitest';

import type { RequestOptions } from '../api';
import { FetchState } from './answers';
import { Ask, PanelModel } from './model';

/** A server with one data set whose fetch ends at the third look. */
class Server {
  asked: string[] = [];
  looks = 0;
  state: FetchState['state'] = 'idle';
  broken = '';

  ask = (async (route: string, _?: object, options: RequestOptions = {}) => {
    this.asked.push(`${options.method ?? 'GET'} ${route}`);
    if (route === this.broken) {
      throw { what: 'No room', where: 'nki', mend: 'Make room' };
    }
    if (route === 'course') {
      return { notebooks: [] };
    }
    if (route === 'data-sets') {
      const fetch = this.state === 'idle' ? null : this.fetch();
      const where = this.state === 'done' ? 'cached' : 'to fetch';
      return { offline: false, data_sets: [{ name: 'nki', where, fetch }] };
    }
    if (route === 'doctor') {
      return { ok: true, findings: [] };
    }
    if (options.method === 'POST') {
      this.state = 'running';
    } else if (options.method === 'DELETE') {
      this.state = 'cancelled';
    } else if (++this.looks >= 3) {
      this.state = 'done';
    }
    return this.fetch();
  }) as Ask;

  private fetch(): FetchState {
    return { state: this.state, done_bytes: this.looks, total_bytes: 3, error: null };
  }

  count(call: string): number {
    return this.asked.filter(one => one === call).length;
  }
}

async function loaded(server: Server, remember = (_: string[]) => {}): Promise<PanelModel> {
  const model = new PanelModel(server.ask, ['course'], remember, 1);
  model.load();
  await vi.waitFor(() => expect(model.sets).toHaveLength(1));
  return model;
}

test('the doctor is asked when its section is first opened, and once', async () => {
  const server = new Server();
  const model = await loaded(server);
  expect(server.count('GET doctor')).toBe(0);
  model.toggle('health', true);
  await vi.waitFor(() => expect(model.health.value?.ok).toBe(true));
  model.toggle('health', false);
  model.toggle('health', true);
  expect(server.count('GET doctor')).toBe(1);
});

test('the open sections are remembered', async () => {
  const remembered: string[][] = [];
  const model = await loaded(new Server(), open => remembered.push(open));
  model.toggle('data-sets', true);
  model.toggle('data-sets', true);
  model.toggle('course', false);
  expect(remembered).toEqual([['course', 'data-sets'], ['data-sets']]);
});

test('a fetch is looked at until it ends, then the lists are asked for again', async () => {
  const server = new Server();
  const model = await loaded(server);
  const seen: number[] = [];
  model.changed.connect(() => seen.push(model.sets[0].fetch?.done_bytes ?? -1));
  await model.fetch(['nki']);
  await vi.waitFor(() => expect(model.sets[0].where).toBe('cached'));
  expect(seen).toContain(1);
  expect(server.looks).toBe(3);
  expect(server.count('GET course')).toBe(2);
});

test('a fetch that was running when the page was loaded is followed', async () => {
  const server = new Server();
  server.state = 'running';
  const model = await loaded(server);
  await vi.waitFor(() => expect(model.sets[0].where).toBe('cached'));
});

test('a cancelled fetch is not looked at any more', async () => {
  const server = new Server();
  const model = await loaded(server);
  await model.fetch(['nki']);
  await model.cancel('nki');
  const looks = server.looks;
  await new Promise(resolve => setTimeout(resolve, 20));
  expect(model.sets[0].fetch?.state).toBe('cancelled');
  expect(server.looks).toBeLessThanOrEqual(looks + 1);
});

test('what the server refuses is kept beside the data set', async () => {
  const server = new Server();
  const model = await loaded(server);
  server.broken = 'data-sets/fetch';
  await model.fetch(['nki']);
  expect(model.sets[0].fetch).toMatchObject({
    state: 'failed',
    error: { what: 'No room', mend: 'Make room' }
  });
});

test('an answer that fails leaves what was there and says why', async () => {
  const server = new Server();
  const model = await loaded(server);
  server.broken = 'data-sets';
  await model.loadDataSets();
  expect(model.dataSets.error).toMatchObject({ what: 'No room' });
  expect(model.sets).toHaveLength(1);
});
