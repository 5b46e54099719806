import { JupyterFrontEndPlugin } from '@jupyterlab/application';

import { viewer } from './viewer_plugin';

const plugins: JupyterFrontEndPlugin<any>[] = [viewer];

export default plugins;
