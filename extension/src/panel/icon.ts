import { LabIcon } from '@jupyterlab/ui-components';

/** A patient beside the strand that is read. */
const SVG = `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 22 22">
  <g class="jp-icon3" fill="#616161">
    <circle cx="7" cy="6" r="3.4"/>
    <path d="M1.500 19.500v-3.800c0-2.900 2.400-5.200 5.500-5.200s5.500 2.300 5.500 5.200v3.800z"/>
  </g>
  <g class="jp-icon3" fill="none" stroke="#616161" stroke-width="1.700" stroke-linecap="round">
    <path d="M14.500 2.500c0 4.300 5.500 4.300 5.500 8.500s-5.500 4.200-5.500 8.500M20 2.500c0 4.300-5.500 4.300-5.500 8.500s5.500 4.200 5.500 8.500M15.300 5h4M15.300 17h4"/>
  </g>
</svg>`;

export const panelIcon = new LabIcon({ name: 'pm-lab:panel', svgstr: SVG });
