import { TranslationBundle } from '@jupyterlab/translation';
import { Message } from '@lumino/messaging';
import { PanelLayout, Widget } from '@lumino/widgets';

import type { SectionName } from './answers';
import { panelIcon } from './icon';

export interface PanelOptions {
  trans: TranslationBundle;
  /** Make a working copy of a notebook of the course and open it. */
  openNotebook: (name: string) => Promise<unknown>;
}

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
    this._content ??= import('./content').then(({ PanelContent }) => {
      const content = new PanelContent(this._options);
      (this.layout as PanelLayout).addWidget(content);
      return content;
    });
    return this._content;
  }

  private _content: Promise<import('./content').PanelContent> | undefined;
}
