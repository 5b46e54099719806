import { ISignal, Signal } from '@lumino/signaling';

import type { Query, RequestOptions } from '../api';
import { CourseNotebook, DataSet, DataSets, FetchState, Health, SectionName } from './answers';

/** What was asked of the server: nothing yet, an answer, or why there is none. */
export interface Asked<T> {
  value: T | null;
  error: unknown;
  loading: boolean;
}

export type Ask = <T>(route: string, query?: Query, options?: RequestOptions) => Promise<T>;

const LOOK_EVERY = 500;

function nothing<T>(): Asked<T> {
  return { value: null, error: null, loading: false };
}

/** What the side panel shows. The doctor, who takes seconds, is asked only when that section is open. */
export class PanelModel {
  constructor(
    private readonly _ask: Ask,
    open: readonly SectionName[],
    private readonly _remember: (open: SectionName[]) => void,
    private readonly _lookEvery = LOOK_EVERY
  ) {
    this.open = new Set(open);
  }

  course: Asked<{ notebooks: CourseNotebook[] }> = nothing();
  dataSets: Asked<DataSets> = nothing();
  health: Asked<Health> = nothing();
  readonly open: Set<SectionName>;

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get notebooks(): CourseNotebook[] {
    return this.course.value?.notebooks ?? [];
  }

  get sets(): DataSet[] {
    return this.dataSets.value?.data_sets ?? [];
  }

  /** Open or close a section; what it shows is asked for when it is first opened. */
  toggle(section: SectionName, open: boolean): void {
    if (open === this.open.has(section)) {
      return;
    }
    if (open) {
      this.open.add(section);
    } else {
      this.open.delete(section);
    }
    this._remember([...this.open]);
    this._changed.emit();
    this.load();
  }

  /** Ask for what the open sections show and is not there yet. */
  load(): void {
    if (!this.course.value && !this.course.loading) {
      void this.loadCourse();
    }
    if (!this.dataSets.value && !this.dataSets.loading) {
      void this.loadDataSets();
    }
    if (this.open.has('health') && !this.health.value && !this.health.loading) {
      void this.check();
    }
  }

  loadCourse(): Promise<void> {
    return this._load(this.course, 'course');
  }

  async loadDataSets(): Promise<void> {
    await this._load(this.dataSets, 'data-sets');
    this._lookLater();
  }

  check(): Promise<void> {
    return this._load(this.health, 'doctor');
  }

  /** Begin to fetch data sets; how far they are is looked at until none runs. */
  async fetch(names: string[]): Promise<void> {
    await Promise.all(
      names.map(name =>
        this._setFetch(name, this._ask('data-sets/fetch', {}, { method: 'POST', body: { name } }))
      )
    );
    this._lookLater();
  }

  cancel(name: string): Promise<void> {
    return this._setFetch(name, this._ask('data-sets/fetch', { name }, { method: 'DELETE' }));
  }

  dispose(): void {
    clearTimeout(this._timer);
    this._disposed = true;
    Signal.clearData(this);
  }

  private async _load<T>(asked: Asked<T>, route: string): Promise<void> {
    asked.loading = true;
    asked.error = null;
    this._changed.emit();
    try {
      asked.value = await this._ask<T>(route);
    } catch (error) {
      asked.error = error;
    }
    asked.loading = false;
    this._changed.emit();
  }

  private async _setFetch(name: string, answer: Promise<FetchState>): Promise<void> {
    let state: FetchState;
    try {
      state = await answer;
    } catch (error) {
      const { what, where, mend } = error as { what?: string; where?: string; mend?: string };
      const said = { what: what ?? String(error), where: where ?? '', mend: mend ?? '' };
      state = { state: 'failed', done_bytes: 0, total_bytes: 0, error: said };
    }
    const set = this.sets.find(one => one.name === name);
    if (set) {
      set.fetch = state;
      this._changed.emit();
    }
  }

  private get _running(): DataSet[] {
    return this.sets.filter(set => set.fetch?.state === 'running');
  }

  private _lookLater(): void {
    clearTimeout(this._timer);
    if (this._running.length > 0 && !this._disposed) {
      this._timer = setTimeout(() => void this._look(), this._lookEvery);
    }
  }

  private async _look(): Promise<void> {
    const running = this._running;
    await Promise.all(
      running.map(({ name }) => this._setFetch(name, this._ask('data-sets/fetch', { name })))
    );
    if (running.some(set => set.fetch?.state === 'done')) {
      await Promise.all([this.loadDataSets(), this.loadCourse()]);
    }
    this._lookLater();
  }

  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _disposed = false;
  private _changed = new Signal<this, void>(this);
}
