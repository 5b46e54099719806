import { ReactWidget } from '@jupyterlab/ui-components';
import { TranslationBundle } from '@jupyterlab/translation';
import React, { useEffect, useReducer } from 'react';

import { asRequestError, request } from '../api';
import { Problem } from '../viewer/problem';
import { SectionName } from './answers';
import { Course } from './course';
import { DataSetList } from './data_sets';
import { HealthReport } from './health';
import { PanelOptions } from './host';
import { Asked, PanelModel } from './model';

/** What the side panel shows, loaded with the panel's first look. */
export class PanelContent extends ReactWidget {
  constructor(
    private readonly _options: PanelOptions,
    open: SectionName[],
    remember: (open: SectionName[]) => void
  ) {
    super();
    this.addClass('pml-Panel-content');
    this.model = new PanelModel(request, open, remember);
  }

  readonly model: PanelModel;

  async reveal(section: SectionName): Promise<void> {
    this.model.toggle(section, true);
    await this.renderPromise;
    requestAnimationFrame(() => {
      const heading = this.node.querySelector<HTMLElement>(`[data-section="${section}"] > summary`);
      heading?.scrollIntoView({ block: 'start' });
      heading?.focus();
    });
  }

  dispose(): void {
    this.model.dispose();
    super.dispose();
  }

  protected render(): JSX.Element {
    return <Sections model={this.model} {...this._options} />;
  }
}

interface SectionsProps extends PanelOptions {
  model: PanelModel;
}

function Sections({ model, trans, openNotebook }: SectionsProps): JSX.Element {
  const [, redraw] = useReducer((n: number) => n + 1, 0);
  useEffect(() => {
    model.changed.connect(redraw);
    model.load();
    return () => {
      model.changed.disconnect(redraw);
    };
  }, [model]);
  const course = (caseStudies: boolean) => (
    <Loaded asked={model.course} trans={trans} retry={() => void model.loadCourse()}>
      {({ notebooks }) => (
        <Course
          notebooks={notebooks.filter(one => one.case_study === caseStudies)}
          model={model}
          trans={trans}
          openNotebook={openNotebook}
        />
      )}
    </Loaded>
  );
  return (
    <>
      <Section name="course" label={trans.__('Course')} model={model}>
        {course(false)}
      </Section>
      <Section name="case-studies" label={trans.__('Case studies')} model={model}>
        {course(true)}
      </Section>
      <Section name="data-sets" label={trans.__('Data sets')} model={model}>
        <Loaded asked={model.dataSets} trans={trans} retry={() => void model.loadDataSets()}>
          {answer => <DataSetList answer={answer} model={model} trans={trans} />}
        </Loaded>
      </Section>
      <Section name="health" label={trans.__('Health')} model={model}>
        <HealthReport asked={model.health} check={() => void model.check()} trans={trans} />
      </Section>
    </>
  );
}

interface SectionProps {
  name: SectionName;
  label: string;
  model: PanelModel;
  children: React.ReactNode;
}

function Section({ name, label, model, children }: SectionProps): JSX.Element {
  return (
    <details
      className="pml-Section"
      data-section={name}
      open={model.open.has(name)}
      onToggle={event => model.toggle(name, event.currentTarget.open)}
    >
      <summary>
        <h2>{label}</h2>
      </summary>
      {model.open.has(name) && children}
    </details>
  );
}

interface LoadedProps<T> {
  asked: Asked<T>;
  trans: TranslationBundle;
  retry: () => void;
  children: (value: T) => React.ReactNode;
}

/** An answer of the server, or why there is none. What was there before stays while it is asked again. */
function Loaded<T>({ asked, trans, retry, children }: LoadedProps<T>): JSX.Element {
  if (asked.error) {
    return <Problem error={asRequestError(asked.error)} trans={trans} onRetry={retry} />;
  }
  if (asked.value === null) {
    return (
      <p className="pml-Panel-note" role="status">
        {trans.__('Loading…')}
      </p>
    );
  }
  return <>{children(asked.value)}</>;
}
