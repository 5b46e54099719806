import { Notification } from '@jupyterlab/apputils';
import { ABCWidgetFactory, DocumentRegistry, DocumentWidget } from '@jupyterlab/docregistry';
import { DocumentModel, TextModelFactory } from '@jupyterlab/docregistry';
import { Contents } from '@jupyterlab/services';

import { ViewerContent } from './content';

export const FILE_TYPE = 'h5ad';
export const FACTORY = 'AnnData';
const MODEL = 'pm-lab-anndata';

/**
 * The document's model holds nothing: the file is read piece by piece by the server half.
 *
 * A context that could save would copy the whole file into a checkpoint as soon as it is opened;
 * JupyterLab leaves both to the server where the model says that it is collaborative.
 */
class AnnDataModel extends DocumentModel {
  get collaborative(): boolean {
    return true;
  }

  toString(): string {
    throw new Error('AnnData files are shown, not changed: there is nothing to save.');
  }
}

/** With no file format, JupyterLab never asks the contents API for the file's content. */
export class AnnDataModelFactory extends TextModelFactory {
  get name(): string {
    return MODEL;
  }

  get contentType(): Contents.ContentType {
    return 'file';
  }

  get fileFormat(): Contents.FileFormat {
    return null;
  }

  get collaborative(): boolean {
    return false;
  }

  createNew(options?: DocumentRegistry.IModelOptions): AnnDataModel {
    const model = new AnnDataModel({ languagePreference: options?.languagePreference });
    model.readOnly = true;
    return model;
  }
}

export type AnnDataDocument = DocumentWidget<ViewerContent, DocumentRegistry.IModel>;

export class AnnDataFactory extends ABCWidgetFactory<AnnDataDocument> {
  constructor(
    label: string,
    private _readOnlyText: string,
    private _makeContent: (path: string) => ViewerContent
  ) {
    super({
      name: FACTORY,
      label,
      modelName: MODEL,
      fileTypes: [FILE_TYPE],
      defaultFor: [FILE_TYPE],
      readOnly: true
    });
  }

  protected createNewWidget(context: DocumentRegistry.Context): AnnDataDocument {
    refuseSaving(context, this._readOnlyText);
    const content = this._makeContent(context.path);
    context.pathChanged.connect((_, path) => content.rename(path));
    const widget = new DocumentWidget({ content, context });
    content.addButtons(widget.toolbar);
    return widget;
  }
}

/** "Save" is offered for every document that the disk would let be written, and copies it into a checkpoint. */
function refuseSaving(context: DocumentRegistry.Context, text: string): void {
  const refuse = async () => void Notification.info(text, { autoClose: 4000 });
  context.save = refuse;
  context.createCheckpoint = async () => ({ id: '', last_modified: '' });
  context.restoreCheckpoint = refuse;
  context.saveAs = async () => {
    await refuse();
    return false;
  };
}
