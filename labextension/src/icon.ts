/** The extension's icon: a gauge, drawn in the theme's icon colour. */

import { LabIcon } from '@jupyterlab/ui-components';

const SVG = `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <g class="jp-icon3" fill="#616161">
    <path d="M12 4a10 10 0 0 0-10 10c0 2.2.7 4.300 2 6l1.600-1.200A8 8 0 1 1 20 14c0 1.800-.6 3.500-1.600 4.800L20 20a10 10 0 0 0-8-16z"/>
    <path d="M13.400 15.400a2 2 0 0 1-2.800-2.800c.5-.5 5.700-3.700 6-3.400.3.300-2.700 5.700-3.200 6.200z"/>
  </g>
</svg>`;

export const gaugeIcon = new LabIcon({ name: 'dpjupyter:gauge', svgstr: SVG });
