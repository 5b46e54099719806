import { showErrorMessage } from '@jupyterlab/apputils';
import { IStateDB } from '@jupyterlab/statedb';
import { TranslationBundle } from '@jupyterlab/translation';
import {
  ReactWidget,
  Toolbar,
  ToolbarButton,
  notebookIcon,
  usersIcon
} from '@jupyterlab/ui-components';
import { JSONExt, PromiseDelegate, ReadonlyJSONValue } from '@lumino/coreutils';
import { Message } from '@lumino/messaging';
import React from 'react';

import { asRequestError } from '../api';
import { Boundary } from './boundary';
import { ViewerModel, ViewerSettings } from './model';
import { ViewerState } from './state';

const Viewer = React.lazy(() => import('./viewer'));

const SAVE_AFTER = 500;

export interface ContentOptions {
  path: string;
  settings: () => ViewerSettings;
  stateDB: IStateDB | null;
  trans: TranslationBundle;
  openPath: (path: string) => void;
}

/** The view of one file. It reads nothing before it is shown for the first time. */
export class ViewerContent extends ReactWidget {
  constructor(private _options: ContentOptions) {
    super();
    this.addClass('pml-Content');
    this._path = _options.path;
  }

  /** The path within the server's root. */
  get path(): string {
    return this._path;
  }

  /** The model, once the view was shown for the first time. */
  get model(): ViewerModel | null {
    return this._model;
  }

  /** Settled when the model is there. */
  get ready(): Promise<ViewerModel> {
    return this._ready.promise;
  }

  rename(path: string): void {
    this._path = path;
    if (this._model) {
      this._model.path = path;
      this._saveSoon();
    }
  }

  settingsChanged(): void {
    if (this._model) {
      this._model.settings = this._options.settings();
    }
    this._lookEvery();
  }

  /** The buttons of the view's toolbar; "Explore patients" shows only where the file is a cohort. */
  addButtons(toolbar: Toolbar): void {
    const { trans } = this._options;
    const write = (kind: 'open' | 'explore') => () => void this.openNotebook(kind);
    const open = new ToolbarButton({
      icon: notebookIcon,
      label: trans.__('Open in notebook'),
      tooltip: trans.__('Write a notebook that loads this file with the present selection'),
      onClick: write('open')
    });
    const explore = new ToolbarButton({
      icon: usersIcon,
      label: trans.__('Explore patients'),
      tooltip: trans.__('Write a notebook that opens the patient explorer on this cohort'),
      onClick: write('explore')
    });
    open.hide();
    explore.hide();
    toolbar.addItem('open-in-notebook', open);
    toolbar.addItem('explore-patients', explore);
    void this.ready.then(model => {
      const update = () => {
        open.setHidden(!model.opened);
        explore.setHidden(!model.opened || !model.structure.cohort.is);
      };
      model.changed.connect(update);
      update();
    });
  }

  async openNotebook(kind: 'open' | 'explore'): Promise<void> {
    const { trans } = this._options;
    try {
      await (await this.ready).openNotebook(kind);
    } catch (error) {
      const { message, mend } = asRequestError(error);
      void showErrorMessage(trans.__('No notebook was written'), `${message} ${mend}`.trim());
    }
  }

  dispose(): void {
    window.clearInterval(this._looking);
    if (this._saving) {
      this._save();
    }
    this._model?.dispose();
    super.dispose();
  }

  protected render(): JSX.Element {
    if (!this._model) {
      return <Waiting trans={this._options.trans} />;
    }
    return (
      <Boundary trans={this._options.trans}>
        <React.Suspense fallback={<Waiting trans={this._options.trans} />}>
          <Viewer model={this._model} />
        </React.Suspense>
      </Boundary>
    );
  }

  protected onAfterShow(message: Message): void {
    super.onAfterShow(message);
    void this._start();
    void this._model?.look();
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    if (this.isVisible) {
      void this._start();
    }
  }

  private async _start(): Promise<void> {
    if (this._started) {
      return;
    }
    this._started = true;
    const { stateDB, trans, settings, openPath } = this._options;
    const saved = await stateDB?.fetch(stateKey(this.path)).catch(() => null);
    if (this.isDisposed) {
      return;
    }
    const state = new ViewerState(saved);
    const model = new ViewerModel({
      path: this.path,
      state,
      trans,
      openPath,
      settings: settings()
    });
    this._model = model;
    state.changed.connect(() => this._saveSoon());
    this._ready.resolve(model);
    this.update();
    this._lookEvery();
    await model.open();
  }

  private _lookEvery(): void {
    window.clearInterval(this._looking);
    const seconds = this._options.settings().refreshSeconds;
    if (seconds > 0) {
      this._looking = window.setInterval(() => {
        if (this.isVisible && !document.hidden) {
          void this._model?.look();
        }
      }, seconds * 1000);
    }
  }

  private _saveSoon(): void {
    window.clearTimeout(this._saving);
    this._saving = window.setTimeout(() => this._save(), SAVE_AFTER);
  }

  private _save(): void {
    window.clearTimeout(this._saving);
    this._saving = 0;
    const { stateDB } = this._options;
    if (stateDB && this._model) {
      const value = JSONExt.deepCopy(this._model.state.toJSON() as ReadonlyJSONValue);
      void stateDB.save(stateKey(this.path), value);
    }
  }

  private _path: string;
  private _model: ViewerModel | null = null;
  private _ready = new PromiseDelegate<ViewerModel>();
  private _started = false;
  private _looking = 0;
  private _saving = 0;
}

function stateKey(path: string): string {
  return `pm-lab-extension:view:${path}`;
}

function Waiting({ trans }: { trans: TranslationBundle }): JSX.Element {
  return (
    <div className="pml-Waiting" role="status">
      {trans.__('Opening the viewer …')}
    </div>
  );
}
