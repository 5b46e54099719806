import { JupyterFrontEndPlugin } from '@jupyterlab/application';

import { launcher } from './launcher_plugin';
import { panel } from './panel_plugin';
import { viewer } from './viewer_plugin';

const plugins: JupyterFrontEndPlugin<any>[] = [viewer, panel, launcher];

export default plugins;
