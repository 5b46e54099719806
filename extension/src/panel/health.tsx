import { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import { asRequestError } from '../api';
import { Problem } from '../viewer/problem';
import { Finding, Health } from './answers';
import { Asked } from './model';
import { byGravity } from './words';

interface HealthReportProps {
  asked: Asked<Health>;
  check: () => void;
  trans: TranslationBundle;
}

/** What pm-lab doctor found, what is broken first, each with the way to mend it. */
export function HealthReport({ asked, check, trans }: HealthReportProps): JSX.Element {
  if (asked.error && !asked.loading) {
    return <Problem error={asRequestError(asked.error)} trans={trans} onRetry={check} />;
  }
  return (
    <>
      <div className="pml-Health-head">
        <p role="status">{summary(asked, trans)}</p>
        <button className="jp-mod-styled pml-Button" disabled={asked.loading} onClick={check}>
          {trans.__('Check again')}
        </button>
      </div>
      {asked.value && (
        <ul className="pml-List" aria-busy={asked.loading}>
          {byGravity(asked.value.findings).map((finding, place) => (
            <li key={place} className="pml-Finding" data-status={finding.status}>
              <p>
                <span className="pml-Finding-status">{statusName(finding.status, trans)}</span>{' '}
                <strong>{finding.check}</strong>: {finding.finding}
              </p>
              {finding.mend && <p className="pml-Finding-mend">{finding.mend}</p>}
            </li>
          ))}
        </ul>
      )}
    </>
  );
}

function summary(asked: Asked<Health>, trans: TranslationBundle): string {
  if (asked.loading) {
    return trans.__('Checking this installation…');
  }
  if (!asked.value) {
    return '';
  }
  const broken = asked.value.findings.filter(finding => finding.status === 'fail').length;
  return broken === 0
    ? trans.__('All that is needed works.')
    : trans._n('%1 thing is broken.', '%1 things are broken.', broken, broken);
}

function statusName(status: Finding['status'], trans: TranslationBundle): string {
  const names: Record<Finding['status'], string> = {
    ok: trans.__('fine'),
    info: trans.__('note'),
    warn: trans.__('warning'),
    fail: trans.__('broken')
  };
  return names[status];
}
