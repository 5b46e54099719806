import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILauncher } from '@jupyterlab/launcher';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { PanelCommands } from './panel_plugin';
import { CommandIDs } from './viewer_plugin';

const CARDS = [
  PanelCommands.course,
  PanelCommands.explorer,
  CommandIDs.openFile,
  PanelCommands.dataSets,
  PanelCommands.doctor
];

/** A section of the launcher; Notebook 7 has no launcher and goes without. */
export const launcher: JupyterFrontEndPlugin<void> = {
  id: 'pm-lab-extension:launcher',
  description: 'Cards of the course, the explorer, the viewer and the doctor.',
  autoStart: true,
  optional: [ILauncher, ITranslator],
  activate: (_: JupyterFrontEnd, launcher: ILauncher | null, translator: ITranslator | null) => {
    const start = performance.now();
    const category = (translator ?? nullTranslator).load('pm_lab').__('Personalized medicine');
    CARDS.forEach((command, rank) =>
      launcher?.add({ command, category, rank, args: { isLauncher: true } })
    );
    performance.measure('pm-lab:activate', { start, detail: 'launcher' });
  }
};
