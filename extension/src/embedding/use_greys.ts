import { useEffect, useState } from 'react';

import { DARK, Greys, LIGHT } from './palette';

/** The greys of the theme that JupyterLab shows, also after it changes. */
export function useGreys(): Greys {
  const [greys, setGreys] = useState(present);
  useEffect(() => {
    const watch = new MutationObserver(() => setGreys(present()));
    watch.observe(document.body, { attributes: true, attributeFilter: ['data-jp-theme-light'] });
    return () => watch.disconnect();
  }, []);
  return greys;
}

function present(): Greys {
  return document.body.dataset.jpThemeLight === 'false' ? DARK : LIGHT;
}
