import { IStateDB } from '@jupyterlab/statedb';
import { TranslationBundle } from '@jupyterlab/translation';
import { Message } from '@lumino/messaging';
import { PanelLayout, Widget } from '@lumino/widgets';

import { SECTIONS, SectionName } from './answers';
import { panelIcon } from './icon';

export interface PanelOptions {
  trans: TranslationBundle;
  /** Make a working copy of a notebook of the course and open it. */
  openNotebook: (name: string) => Promise<unknown>;
  /** Remembers which sections are open. */
  stateDB: IStateDB | null;
}

const STATE = 'pm-lab-extension:panel';

/** The side panel. What it shows is loaded when it is first seen. */
export class Panel extends Widget {
  constructor(private readonly _options: PanelOptions) {
    super();
    this.id = 'pm-lab-panel';
    this.addClass('pml-Panel');
    this.title.icon = panelIcon;
    this.title.caption = _options.trans.__('PM Lab: course, data sets, health');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', _options.trans.__('PM Lab'));
    this.layout = new PanelLayout();
  }

  /** Open a section, bring it into view and give it the focus. */
  async reveal(section: SectionName): Promise<void> {
    (await this._loaded()).reveal(section);
  }

  protected onAfterShow(message: Message): void {
    super.onAfterShow(message);
    void this._loaded();
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    if (this.isVisible) {
      void this._loaded();
    }
  }

  private _loaded() {
    this._content ??= this._load();
    return this._content;
  }

  private async _load() {
    const { stateDB } = this._options;
    const [{ PanelContent }, saved] = await Promise.all([
      import('./content'),
      stateDB?.fetch(STATE).catch(() => null)
    ]);
    const remember = (open: SectionName[]) => void stateDB?.save(STATE, { open });
    const content = new PanelContent(this._options, sectionsOf(saved), remember);
    (this.layout as PanelLayout).addWidget(content);
    return content;
  }

  private _content: Promise<import('./content').PanelContent> | undefined;
}

/** The sections that were open, or those that a person sees first. */
export function sectionsOf(saved: unknown): SectionName[] {
  const open = (saved as { open?: unknown } | null | undefined)?.open;
  return Array.isArray(open)
    ? SECTIONS.filter(name => open.includes(name))
    : ['course', 'case-studies'];
}
