import { ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, InputDialog, showErrorMessage } from '@jupyterlab/apputils';
import { PathExt } from '@jupyterlab/coreutils';
import { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { IStateDB } from '@jupyterlab/statedb';
import { ITranslator, TranslationBundle, nullTranslator } from '@jupyterlab/translation';
import { LabIcon, buildIcon, tableRowsIcon, usersIcon } from '@jupyterlab/ui-components';

import { RequestError, request, translateBy } from './api';
import { CourseNotebook, SectionName } from './panel/answers';
import { Panel } from './panel/host';
import { panelIcon } from './panel/icon';

export namespace PanelCommands {
  export const course = 'pm-lab:show-course';
  export const caseStudies = 'pm-lab:show-case-studies';
  export const dataSets = 'pm-lab:show-data-sets';
  export const doctor = 'pm-lab:check-installation';
  export const openNotebook = 'pm-lab:open-course-notebook';
  export const explorer = 'pm-lab:open-explorer-notebook';
}

const EXPLORER = '06_patient_explorer';
const RANK = 600;

/** The side panel with the course, the data sets and the doctor, and the commands that lead to it. */
export const panel: JupyterFrontEndPlugin<void> = {
  id: 'pm-lab-extension:panel',
  description: 'The course, the case studies, data sets and the state of the installation.',
  autoStart: true,
  optional: [ITranslator, ILayoutRestorer, ICommandPalette, IDefaultFileBrowser, IStateDB],
  activate: (
    app: JupyterFrontEnd,
    translator: ITranslator | null,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null,
    browser: IDefaultFileBrowser | null,
    stateDB: IStateDB | null
  ) => {
    const start = performance.now();
    const trans = (translator ?? nullTranslator).load('pm_lab');
    translateBy(trans);
    const folder = () => browser?.model.path ?? '';
    const openNotebook = (name: string, where?: string) =>
      openCopy(app, trans, name, where ?? folder());
    const sidebar = new Panel({ trans, openNotebook, stateDB });
    app.shell.add(sidebar, 'left', { rank: RANK, type: 'PM Lab' });
    restorer?.add(sidebar, sidebar.id);
    addSectionCommands(app, trans, sidebar);
    addNotebookCommands(app, trans, openNotebook);
    const category = trans.__('Personalized medicine');
    for (const command of Object.values(PanelCommands)) {
      palette?.addItem({ command, category });
    }
    performance.measure('pm-lab:activate', { start, detail: 'panel' });
  }
};

function addSectionCommands(app: JupyterFrontEnd, trans: TranslationBundle, sidebar: Panel): void {
  const sections: [string, SectionName, LabIcon, string, string][] = [
    [
      PanelCommands.course,
      'course',
      panelIcon,
      trans.__('Course'),
      trans.__('Show the Course of PM Lab')
    ],
    [
      PanelCommands.caseStudies,
      'case-studies',
      panelIcon,
      trans.__('Case Studies'),
      trans.__('Show the Case Studies of PM Lab')
    ],
    [
      PanelCommands.dataSets,
      'data-sets',
      tableRowsIcon,
      trans.__('Data Sets'),
      trans.__('Show the Data Sets of PM Lab')
    ],
    [
      PanelCommands.doctor,
      'health',
      buildIcon,
      trans.__('Doctor'),
      trans.__('Check the PM Lab Installation')
    ]
  ];
  for (const [command, section, icon, card, label] of sections) {
    app.commands.addCommand(command, {
      label: args => (args.isLauncher ? card : label),
      caption: label,
      icon,
      execute: async () => {
        app.shell.activateById(sidebar.id);
        await sidebar.reveal(section);
      },
      describedBy: { args: launcherArgument(trans) }
    });
  }
}

function addNotebookCommands(
  app: JupyterFrontEnd,
  trans: TranslationBundle,
  openNotebook: (name: string, where?: string) => Promise<unknown>
): void {
  const label = trans.__('Open a Notebook of the Course…');
  app.commands.addCommand(PanelCommands.openNotebook, {
    label,
    icon: panelIcon,
    execute: async args => {
      const name = (args.name as string) || (await chooseNotebook(trans, label));
      return name ? openNotebook(name, args.cwd as string | undefined) : undefined;
    },
    describedBy: {
      args: {
        type: 'object',
        properties: {
          name: { type: 'string', description: trans.__('Such as 01_single_cell') },
          cwd: { type: 'string', description: trans.__('The folder for the working copy') }
        }
      }
    }
  });
  app.commands.addCommand(PanelCommands.explorer, {
    label: args =>
      args.isLauncher ? trans.__('Patient Explorer') : trans.__('New Patient Explorer Notebook'),
    caption: trans.__('A notebook that opens the patient explorer on the built-in cohort'),
    icon: usersIcon,
    execute: args => openNotebook(EXPLORER, args.cwd as string | undefined),
    describedBy: { args: launcherArgument(trans) }
  });
}

function launcherArgument(trans: TranslationBundle) {
  const description = trans.__('Whether the command is a card of the launcher');
  return { type: 'object', properties: { isLauncher: { type: 'boolean', description } } };
}

async function chooseNotebook(trans: TranslationBundle, title: string): Promise<string | null> {
  try {
    const { notebooks } = await request<{ notebooks: CourseNotebook[] }>('course');
    const items = notebooks.map(notebook => notebook.title);
    const { value } = await InputDialog.getItem({ title, items, okLabel: trans.__('Open') });
    return notebooks.find(notebook => notebook.title === value)?.name ?? null;
  } catch (error) {
    await showProblem(trans.__('The course cannot be listed'), error);
    return null;
  }
}

/** Make a working copy in a folder, show it in the file browser's list and open it. */
async function openCopy(
  app: JupyterFrontEnd,
  trans: TranslationBundle,
  name: string,
  folder: string
): Promise<unknown> {
  try {
    const options = { method: 'POST' as const, body: { name, folder } };
    const { path } = await request<{ path: string }>('course', {}, options);
    const drive = app.serviceManager.contents.driveName(folder);
    return await app.commands.execute('docmanager:open', {
      path: drive ? `${drive}:${path}` : path
    });
  } catch (error) {
    await showProblem(trans.__('%1 cannot be opened', PathExt.basename(name)), error);
    return undefined;
  }
}

function showProblem(title: string, error: unknown): Promise<void> {
  const said = error instanceof RequestError ? [error.message, error.mend] : [String(error)];
  return showErrorMessage(title, said.filter(Boolean).join(' '));
}
