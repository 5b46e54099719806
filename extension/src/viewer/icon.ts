import { LabIcon } from '@jupyterlab/ui-components';

/** A matrix with the strip of its observations on the left and of its variables above. */
const SVG = `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 22 22">
  <g class="jp-icon3" fill="#616161">
    <path d="M8 8h12v12H8zm1.5 1.5v2.6h2.6V9.500zm3.900 0v2.600h2.600V9.500zm3.900 0v2.600h1.200V9.500zM9.500 13.400v2.600h2.600v-2.600zm3.900 0v2.600h2.600v-2.600zm3.900 0v2.600h1.200v-2.600zM9.500 17.300v1.200h2.600v-1.200zm3.900 0v1.200h2.600v-1.200zm3.900 0v1.200h1.200v-1.200z" fill-rule="evenodd"/>
  </g>
  <path class="jp-icon-selectable" fill="#e69f00" d="M2 8h4.500v12H2z"/>
  <path class="jp-icon-selectable" fill="#009e73" d="M8 2h12v4.500H8z"/>
</svg>`;

export const anndataIcon = new LabIcon({ name: 'pm-lab:anndata', svgstr: SVG });
