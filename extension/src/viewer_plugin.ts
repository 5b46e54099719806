import { ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, MainAreaWidget, WidgetTracker } from '@jupyterlab/apputils';
import { PathExt } from '@jupyterlab/coreutils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { FileDialog, IFileBrowserFactory } from '@jupyterlab/filebrowser';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStateDB } from '@jupyterlab/statedb';
import { ITranslator, TranslationBundle, nullTranslator } from '@jupyterlab/translation';

import { translateBy } from './api';
import { ViewerContent } from './viewer/content';
import {
  AnnDataDocument,
  AnnDataFactory,
  AnnDataModelFactory,
  FACTORY,
  FILE_TYPE
} from './viewer/document';
import { anndataIcon } from './viewer/icon';
import { DEFAULT_SETTINGS, ViewerSettings } from './viewer/model';

const PLUGIN = 'pm-lab-extension:viewer';

export namespace CommandIDs {
  export const openFile = 'pm-lab:open-file';
  export const openFolder = 'pm-lab:open-folder';
  export const openSelected = 'pm-lab:open-selected-folder';
  export const openInNotebook = 'pm-lab:open-in-notebook';
  export const explorePatients = 'pm-lab:explore-patients';
  export const reload = 'pm-lab:reload';
  export const clearFilters = 'pm-lab:clear-filters';
}

type FolderWidget = MainAreaWidget<ViewerContent>;

interface Parts {
  app: JupyterFrontEnd;
  manager: IDocumentManager;
  trans: TranslationBundle;
  restorer: ILayoutRestorer | null;
  palette: ICommandPalette | null;
  browsers: IFileBrowserFactory | null;
  files: WidgetTracker<AnnDataDocument>;
  folders: WidgetTracker<FolderWidget>;
  makeContent: (path: string) => ViewerContent;
}

/** The viewer of AnnData: file type, factory, restoration, commands. Its views load when first shown. */
export const viewer: JupyterFrontEndPlugin<void> = {
  id: PLUGIN,
  description: 'Opens .h5ad files and .zarr folders without a kernel.',
  autoStart: true,
  requires: [IDocumentManager],
  optional: [
    ITranslator,
    ISettingRegistry,
    IStateDB,
    ILayoutRestorer,
    ICommandPalette,
    IFileBrowserFactory
  ],
  activate: (
    app: JupyterFrontEnd,
    manager: IDocumentManager,
    translator: ITranslator | null,
    settings: ISettingRegistry | null,
    stateDB: IStateDB | null,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null,
    browsers: IFileBrowserFactory | null
  ) => {
    performance.mark('pm-lab:activate:start');
    const trans = (translator ?? nullTranslator).load('pm_lab');
    translateBy(trans);
    const files = new WidgetTracker<AnnDataDocument>({ namespace: 'pm-lab-anndata' });
    const folders = new WidgetTracker<FolderWidget>({ namespace: 'pm-lab-anndata-folder' });
    const current = followSettings(settings, () => {
      files.forEach(widget => widget.content.settingsChanged());
      folders.forEach(widget => widget.content.settingsChanged());
    });
    const openPath = (path: string) => void manager.openOrReveal(path);
    const makeContent = (path: string) =>
      new ViewerContent({ path, settings: current, stateDB, trans, openPath });
    const parts = { app, manager, trans, restorer, palette, browsers, files, folders, makeContent };
    registerFiles(parts);
    registerFolders(parts);
    registerCommands(parts);
    performance.mark('pm-lab:activate:end');
    performance.measure('pm-lab:activate', 'pm-lab:activate:start', 'pm-lab:activate:end');
  }
};

/** The present settings, and `changed` called whenever they differ. */
function followSettings(
  registry: ISettingRegistry | null,
  changed: () => void
): () => ViewerSettings {
  let present = DEFAULT_SETTINGS;
  registry
    ?.load(PLUGIN)
    .then(settings => {
      const read = () => {
        present = { ...DEFAULT_SETTINGS, ...(settings.composite as Partial<ViewerSettings>) };
        changed();
      };
      settings.changed.connect(read);
      read();
    })
    .catch(error => console.warn('The settings of the AnnData viewer cannot be read.', error));
  return () => present;
}

function registerFiles({ app, trans, restorer, files, makeContent }: Parts): void {
  app.docRegistry.addFileType({
    name: FILE_TYPE,
    displayName: trans.__('AnnData'),
    extensions: ['.h5ad'],
    mimeTypes: ['application/x-hdf5'],
    contentType: 'file',
    fileFormat: null,
    icon: anndataIcon
  });
  app.docRegistry.addModelFactory(new AnnDataModelFactory());
  const readOnly = trans.__('AnnData files are shown, not changed: there is nothing to save.');
  const factory = new AnnDataFactory(trans.__('AnnData viewer'), readOnly, makeContent);
  factory.widgetCreated.connect((_, widget) => {
    widget.title.icon = anndataIcon;
    widget.context.pathChanged.connect(() => void files.save(widget));
    void files.add(widget);
  });
  app.docRegistry.addWidgetFactory(factory);
  void restorer?.restore(files, {
    command: 'docmanager:open',
    args: widget => ({ path: widget.context.path, factory: FACTORY }),
    name: widget => widget.context.path
  });
}

/** A folder is no document: it opens in a widget with a tracker of its own. */
function registerFolders({ app, trans, restorer, folders, makeContent, ...parts }: Parts): void {
  const { commands, shell } = app;
  const open = (path: string): FolderWidget => {
    const opened = folders.find(widget => widget.content.path === path);
    const widget = opened ?? makeFolderWidget(makeContent(path));
    if (!opened) {
      void folders.add(widget);
      shell.add(widget, 'main');
    }
    shell.activateById(widget.id);
    return widget;
  };
  commands.addCommand(CommandIDs.openFolder, {
    label: trans.__('Open AnnData folder (.zarr)…'),
    icon: anndataIcon,
    execute: async args => {
      const path = (args.path as string) || (await chooseFolder(parts.manager, trans));
      return path ? open(path) : undefined;
    },
    describedBy: { args: pathArgument(trans.__('The folder, from the root of the server')) }
  });
  commands.addCommand(CommandIDs.openSelected, {
    label: trans.__('Open as AnnData'),
    icon: anndataIcon,
    isVisible: () => selectedZarr(parts.browsers).length > 0,
    execute: () => selectedZarr(parts.browsers).forEach(open)
  });
  app.contextMenu.addItem({
    command: CommandIDs.openSelected,
    selector: '.jp-DirListing-item[data-isdir="true"]',
    rank: 1
  });
  void restorer?.restore(folders, {
    command: CommandIDs.openFolder,
    args: widget => ({ path: widget.content.path }),
    name: widget => widget.content.path
  });
}

function makeFolderWidget(content: ViewerContent): FolderWidget {
  const widget = new MainAreaWidget({ content });
  widget.id = `pm-lab-anndata-folder-${content.path}`;
  widget.title.label = PathExt.basename(content.path);
  widget.title.caption = content.path;
  widget.title.icon = anndataIcon;
  widget.title.closable = true;
  content.addButtons(widget.toolbar);
  return widget;
}

/** The .zarr folders chosen in the file browser. */
function selectedZarr(browsers: IFileBrowserFactory | null): string[] {
  const items = [...(browsers?.tracker.currentWidget?.selectedItems() ?? [])];
  return items
    .filter(item => item.type === 'directory' && item.name.toLowerCase().endsWith('.zarr'))
    .map(item => item.path);
}

async function chooseFolder(
  manager: IDocumentManager,
  trans: TranslationBundle
): Promise<string | null> {
  const title = trans.__('Open AnnData folder (.zarr)');
  const { value } = await FileDialog.getExistingDirectory({ manager, title });
  return value?.[0]?.path ?? null;
}

async function chooseFile(
  manager: IDocumentManager,
  trans: TranslationBundle
): Promise<string | null> {
  const { value } = await FileDialog.getOpenFiles({
    manager,
    title: trans.__('Open AnnData file (.h5ad)'),
    filter: item => (item.name.toLowerCase().endsWith('.h5ad') ? {} : null)
  });
  return value?.[0]?.path ?? null;
}

function pathArgument(description: string) {
  return { type: 'object', properties: { path: { type: 'string', description } } };
}

function registerCommands(parts: Parts): void {
  const { app, manager, trans, palette } = parts;
  const { commands } = app;
  const present = (): ViewerContent | null => presentContent(parts);
  const isEnabled = () => present()?.model?.opened ?? false;
  commands.addCommand(CommandIDs.openFile, {
    label: trans.__('Open AnnData file (.h5ad)…'),
    icon: anndataIcon,
    execute: async args => {
      const path = (args.path as string) || (await chooseFile(manager, trans));
      return path ? manager.openOrReveal(path, FACTORY) : undefined;
    },
    describedBy: { args: pathArgument(trans.__('The file, from the root of the server')) }
  });
  commands.addCommand(CommandIDs.openInNotebook, {
    label: trans.__('Open AnnData in notebook'),
    isEnabled,
    execute: () => present()?.openNotebook('open')
  });
  commands.addCommand(CommandIDs.explorePatients, {
    label: trans.__('Explore patients of this cohort'),
    isEnabled: () => isEnabled() && present()!.model!.structure.cohort.is,
    execute: () => present()?.openNotebook('explore')
  });
  commands.addCommand(CommandIDs.reload, {
    label: trans.__('Reload AnnData from disk'),
    isEnabled: () => !!present()?.model,
    execute: () => present()?.model?.open()
  });
  commands.addCommand(CommandIDs.clearFilters, {
    label: trans.__('Remove all filters of the AnnData view'),
    isEnabled: () => (present()?.model?.state.values.filters.length ?? 0) > 0,
    execute: () => present()?.model?.setFilters([])
  });
  const category = trans.__('Personalized medicine');
  for (const command of Object.values(CommandIDs)) {
    if (command !== CommandIDs.openSelected) {
      palette?.addItem({ command, category });
    }
  }
}

/** The AnnData view that the person is in. */
function presentContent({ app, files, folders }: Parts): ViewerContent | null {
  const widget = app.shell.currentWidget;
  const file = files.find(one => one === widget);
  return (file ?? folders.find(one => one === widget))?.content ?? null;
}
