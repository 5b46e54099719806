import { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import { RequestError } from '../api';
import { Problem } from './problem';

interface Properties {
  trans: TranslationBundle;
  children: React.ReactNode;
}

/** A view that cannot be drawn says so in its place. Without this, React would empty the whole page of the file. */
export class Boundary extends React.Component<Properties, { error: unknown }> {
  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  state = { error: null };

  render(): React.ReactNode {
    const { trans, children } = this.props;
    const { error } = this.state;
    if (error === null) {
      return children;
    }
    const said = new RequestError(
      0,
      trans.__('This view cannot be shown.'),
      String(error),
      trans.__('If it stays so, reload the page.')
    );
    const again = () => this.setState({ error: null });
    return <Problem error={said} trans={trans} onRetry={again} />;
  }
}
