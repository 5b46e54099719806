import { TranslationBundle } from '@jupyterlab/translation';
import { IDisposable } from '@lumino/disposable';
import { UUID } from '@lumino/coreutils';
import { ISignal, Signal } from '@lumino/signaling';
import { useEffect, useReducer } from 'react';

import {
  Arrays,
  AxisName,
  Filter,
  Note,
  Query,
  RequestError,
  RequestOptions,
  Structure,
  asRequestError,
  request,
  requestArrays
} from '../api';
import { colourOf, embeddingOf } from './choices';
import { filtersOf, subject, withFilter } from './filters';
import { Value, ViewerState } from './state';

/** The settings of schema/viewer.json. */
export interface ViewerSettings {
  smallCountThreshold: number;
  pointLimit: number;
  defaultColour: string[];
  refreshSeconds: number;
  painting: 'auto' | 'webgl' | 'canvas';
}

export const DEFAULT_SETTINGS: ViewerSettings = {
  smallCountThreshold: 10,
  pointLimit: 1_000_000,
  defaultColour: ['cell_type', 'leiden', 'louvain', 'cluster', 'subtype'],
  refreshSeconds: 5,
  painting: 'auto'
};

export type ViewerStatus =
  | { kind: 'idle' }
  | { kind: 'opening'; done: number | null; what: string }
  | { kind: 'cancelled' }
  | { kind: 'failed'; error: RequestError }
  | { kind: 'ready' }
  /** The file was deleted or cannot be read any more; what was read before stays on the page. */
  | { kind: 'lost'; error: RequestError };

export interface Progress {
  done: number;
  what: string;
}

const PROGRESS_EVERY = 400;

export interface ModelOptions {
  path: string;
  state: ViewerState;
  settings: ViewerSettings;
  trans: TranslationBundle;
  /** Opens a document of the server: what `openNotebook` ends with. */
  openPath: (path: string) => void;
}

/** One open file: its structure, its state, and the requests of every tab. */
export class ViewerModel implements IDisposable {
  constructor(options: ModelOptions) {
    this._path = options.path;
    this.state = options.state;
    this.trans = options.trans;
    this._settings = options.settings;
    this._openPath = options.openPath;
    this.state.changed.connect((_, change) => {
      if (change.filters) {
        void this._count();
      }
      this._emit();
    });
  }

  /** Makes the ids of the page's elements differ between two open files. */
  readonly id = UUID.uuid4();
  readonly state: ViewerState;
  readonly trans: TranslationBundle;

  /** Emitted after every change of structure, state, settings, status or counts. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get path(): string {
    return this._path;
  }

  set path(path: string) {
    this._path = path;
    this._emit();
  }

  get status(): ViewerStatus {
    return this._status;
  }

  /** What the file holds. Tabs are shown only once it is there. */
  get structure(): Structure {
    return this._structure!;
  }

  get opened(): boolean {
    return this._structure !== null;
  }

  /** The identity of the file that is shown; a cache of answers is valid while it stays the same. */
  get etag(): string {
    return this._structure?.etag ?? '';
  }

  get settings(): ViewerSettings {
    return this._settings;
  }

  set settings(settings: ViewerSettings) {
    this._settings = settings;
    this._emit();
  }

  /** Warnings that need whole columns; null until they are there. */
  get slowWarnings(): Note[] | null {
    return this._slowWarnings;
  }

  /** The slow warnings, when they are there. */
  async slowWarningsSettled(): Promise<Note[]> {
    await this._warning;
    return this._slowWarnings ?? [];
  }

  /** Rows that the filters leave; null while counting. */
  matching(axis: AxisName): number | null {
    return this._matching[axis];
  }

  get isDisposed(): boolean {
    return this._disposed;
  }

  dispose(): void {
    this._disposed = true;
    this.cancel();
    this._counting?.abort();
    Signal.clearData(this);
  }

  /** The filters of one axis. */
  filters(axis: AxisName): Filter[] {
    return filtersOf(this.state.values.filters, axis);
  }

  /** Add a filter, in place of one about the same column, gene or embedding. */
  setFilter(filter: Filter): void {
    this.setFilters(withFilter(this.state.values.filters, filter));
  }

  removeFilter(filter: Filter): void {
    const gone = subject(filter);
    this.setFilters(this.state.values.filters.filter(one => subject(one) !== gone));
  }

  setFilters(filters: Filter[]): void {
    this.state.set({ filters });
  }

  /** Ask a route about this file. An answer about a changed file reloads the structure. */
  request<T>(route: string, query: Query = {}, options: RequestOptions = {}): Promise<T> {
    return this._about(query, whole => request<T>(route, whole, options));
  }

  requestArrays<Meta>(
    route: string,
    query: Query = {},
    options: RequestOptions = {}
  ): Promise<Arrays<Meta>> {
    return this._about(query, whole => requestArrays<Meta>(route, whole, options));
  }

  /** Run `ask` with a task's id, telling `onProgress` how far the server is. */
  async withProgress<T>(
    ask: (task: string) => Promise<T>,
    onProgress: (progress: Progress) => void
  ): Promise<T> {
    const task = UUID.uuid4();
    const timer = window.setInterval(() => {
      request<Progress>('progress', { task }).then(onProgress, () => undefined);
    }, PROGRESS_EVERY);
    try {
      return await ask(task);
    } finally {
      window.clearInterval(timer);
    }
  }

  /** Read the structure: the first time, after an error, or because the file changed. */
  async open(): Promise<void> {
    this.cancel();
    const opening = new AbortController();
    this._opening = opening;
    if (!this.opened) {
      this._setStatus({ kind: 'opening', done: null, what: '' });
    }
    try {
      const structure = await this.withProgress(
        task =>
          request<Structure>(
            'anndata/structure',
            { path: this.path, task },
            { signal: opening.signal }
          ),
        ({ done, what }) => {
          if (this._opening === opening && !this.opened) {
            this._setStatus({ kind: 'opening', done, what });
          }
        }
      );
      this._show(structure);
    } catch (error) {
      if (!opening.signal.aborted) {
        this._fail(asRequestError(error));
      }
    } finally {
      if (this._opening === opening) {
        this._opening = null;
      }
    }
  }

  /** Stop reading the structure. */
  cancel(): void {
    const opening = this._opening;
    this._opening = null;
    opening?.abort();
    if (opening && !this.opened && !this._disposed) {
      this._setStatus({ kind: 'cancelled' });
    }
  }

  /** Has the file changed on disk? Then show it anew. */
  async look(): Promise<void> {
    if (!this._structure || this._opening || this._looking) {
      return;
    }
    this._looking = true;
    try {
      const headers = { 'If-None-Match': this.etag };
      const query = { path: this.path };
      const answer = await request<Structure | null>('anndata/structure', query, { headers });
      if (this._disposed || this._opening) {
        return; // or what is being read now would be shown, and then this older answer
      }
      if (answer) {
        this._show(answer);
      } else if (this._status.kind === 'lost') {
        this._setStatus({ kind: 'ready' });
      }
    } catch (error) {
      if (!this._disposed) {
        this._fail(asRequestError(error));
      }
    } finally {
      this._looking = false;
    }
  }

  /** What colours the points. */
  get colour(): Value | null {
    return colourOf(this.state.values, this.structure, this._settings.defaultColour);
  }

  /** Write a notebook that loads the file with the present selection, and open it. */
  async openNotebook(kind: 'open' | 'explore'): Promise<void> {
    const shown = embeddingOf(this.state.values, this.structure);
    const embedding = shown && { key: shown.entry.name, x: shown.x, y: shown.y };
    const state = { filters: this.state.values.filters, colour: this.colour, embedding };
    const body = { path: this.path, kind, state };
    const { path } = await request<{ path: string }>('notebook', {}, { method: 'POST', body });
    this._openPath(path);
  }

  private async _about<T>(query: Query, ask: (query: Query) => Promise<T>): Promise<T> {
    try {
      return await ask({ path: this.path, etag: this.etag, ...query });
    } catch (error) {
      if (error instanceof RequestError && error.status === 409 && !this._opening) {
        void this.open();
      }
      throw error;
    }
  }

  private _show(structure: Structure): void {
    this._structure = structure;
    this._slowWarnings = null;
    this._setStatus({ kind: 'ready' });
    void this._count();
    this._warning = this._warn(structure.etag);
  }

  private _fail(error: RequestError): void {
    this._setStatus(this.opened ? { kind: 'lost', error } : { kind: 'failed', error });
  }

  private async _warn(etag: string): Promise<void> {
    let warnings: Note[];
    try {
      warnings = (await this.request<{ warnings: Note[] }>('anndata/warnings')).warnings;
    } catch (error) {
      const { what, where, mend } = asRequestError(error);
      warnings = [{ what, where, mend }];
    }
    if (etag === this.etag) {
      this._slowWarnings = warnings;
      this._emit();
    }
  }

  private async _count(): Promise<void> {
    this._counting?.abort();
    const counting = new AbortController();
    this._counting = counting;
    await Promise.all(
      (['obs', 'var'] as const).map(axis => this._countAxis(axis, counting.signal))
    );
  }

  private async _countAxis(axis: AxisName, signal: AbortSignal): Promise<void> {
    if (!this._structure) {
      return;
    }
    const filters = this.filters(axis);
    if (filters.length === 0) {
      this._matching[axis] = this._structure[axis].n;
      this._emit();
      return;
    }
    this._matching[axis] = null;
    try {
      const query = { axis, start: 0, stop: 1, columns: [], filters };
      const page = await this.request<{ n_matching: number }>('anndata/table', query, { signal });
      this._matching[axis] = page.n_matching;
    } catch {
      // The tab that is shown asks with the same filters and says what is wrong with them.
    }
    if (!signal.aborted) {
      this._emit();
    }
  }

  private _setStatus(status: ViewerStatus): void {
    this._status = status;
    this._emit();
  }

  private _emit(): void {
    if (!this._disposed) {
      this._changed.emit();
    }
  }

  private _path: string;
  private _settings: ViewerSettings;
  private _openPath: (path: string) => void;
  private _structure: Structure | null = null;
  private _status: ViewerStatus = { kind: 'idle' };
  private _slowWarnings: Note[] | null = null;
  private _warning: Promise<void> = Promise.resolve();
  private _matching: Record<AxisName, number | null> = { obs: null, var: null };
  private _opening: AbortController | null = null;
  private _looking = false;
  private _counting: AbortController | null = null;
  private _disposed = false;
  private _changed = new Signal<this, void>(this);
}

/** Render again whenever the model changes. */
export function useModel(model: ViewerModel): void {
  const [, again] = useReducer((n: number) => n + 1, 0);
  useEffect(() => {
    model.changed.connect(again);
    again();
    return () => {
      model.changed.disconnect(again);
    };
  }, [model]);
}
