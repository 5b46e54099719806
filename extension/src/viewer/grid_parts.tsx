import React from 'react';

import { AxisName, Column } from '../api';
import { cell, typeName } from './format';
import { Place } from './grid_keys';
import { ViewerModel } from './model';
import { Pages } from './pages';
import { INDEX } from './state';

/** The height of a row and of the header, and the width of the names, in pixels. */
export const ROW = 26;
export const HEADER = 46;
export const NAMES = 190;

interface HeaderProps {
  model: ViewerModel;
  axis: AxisName;
  columns: Column[];
  column: number;
  id: string;
  left: number;
  width: number;
  active: boolean;
  onMenu: () => void;
}

export function Header(props: HeaderProps): JSX.Element {
  const { model, axis, columns, column, id, left, width, active, onMenu } = props;
  const { trans } = model;
  const names = column < 0;
  const label = names ? model.structure[axis].index : columns[column].name;
  const { sort, descending } = model.state.values.tables[axis];
  const sorted = sort === nameAt(columns, column);
  const filtered = !names && isFiltered(model, axis, label);
  const classes = ['pml-Head', names && 'pml-mod-name', active && 'pml-mod-active'];
  return (
    <div
      id={id}
      role="columnheader"
      className={classes.filter(Boolean).join(' ')}
      aria-colindex={column + 2}
      aria-sort={sorted ? (descending ? 'descending' : 'ascending') : 'none'}
      style={names ? { width } : { width, left }}
    >
      <button
        className="pml-Head-sort"
        tabIndex={-1}
        title={trans.__('Sort by %1', label)}
        onClick={() => sortBy(model, axis, nameAt(columns, column))}
      >
        <span className="pml-Head-name">
          {label === '_index' ? trans.__('name') : label}
          {sorted && <span aria-hidden>{descending ? ' ▾' : ' ▴'}</span>}
        </span>
        <span className="pml-Head-type">
          {names ? trans.__('row name') : typeName(columns[column].type, trans)}
        </span>
      </button>
      {!names && (
        <button
          className={filtered ? 'pml-Head-menu pml-mod-filtered' : 'pml-Head-menu'}
          tabIndex={-1}
          aria-haspopup="dialog"
          aria-label={trans.__('Values and filter of %1', label)}
          onClick={onMenu}
        >
          <svg viewBox="0 0 16 16" width="14" height="14" aria-hidden>
            <path d="M2 3h12l-4.600 5.500V13l-2.800 1.200V8.500z" />
          </svg>
        </button>
      )}
    </div>
  );
}

function isFiltered(model: ViewerModel, axis: AxisName, column: string): boolean {
  return model.filters(axis).some(one => 'column' in one && one.column === column);
}

interface RowProps {
  row: number;
  pages: Pages;
  edges: number[];
  from: number;
  to: number;
  id: (place: Place) => string;
  active: number | null;
  selected: boolean;
  onPress: (column: number, extend: boolean) => void;
}

export function Row(props: RowProps): JSX.Element {
  const { row, pages, edges, from, to, id, active, selected, onPress } = props;
  const name = pages.name(row);
  const classes = ['pml-GridRow', row % 2 && 'pml-mod-odd', selected && 'pml-mod-selected'];
  return (
    <div
      role="row"
      aria-rowindex={row + 2}
      aria-selected={selected}
      className={classes.filter(Boolean).join(' ')}
      style={{ height: ROW }}
    >
      <div
        id={id({ row, column: -1 })}
        role="rowheader"
        aria-colindex={1}
        className={`pml-Cell pml-mod-name${active === -1 ? ' pml-mod-active' : ''}`}
        style={{ width: NAMES }}
        title={name}
        onMouseDown={event => onPress(-1, event.shiftKey)}
      >
        {name ?? '…'}
      </div>
      {range(from, to).map(column => {
        const value = pages.value(row, column);
        const numeric = typeof value === 'number';
        return (
          <div
            key={column}
            id={id({ row, column })}
            role="gridcell"
            aria-colindex={column + 2}
            className={`pml-Cell${numeric ? ' pml-mod-number' : ''}${
              active === column ? ' pml-mod-active' : ''
            }${value === null ? ' pml-mod-missing' : ''}`}
            style={{ left: NAMES + edges[column], width: edges[column + 1] - edges[column] }}
            title={value === undefined || value === null ? undefined : String(value)}
            onMouseDown={event => onPress(column, event.shiftKey)}
          >
            {value === undefined ? '…' : value === null ? '–' : cell(value)}
          </div>
        );
      })}
    </div>
  );
}

/** The next order of a column: up, down, as in the file. */
export function sortBy(model: ViewerModel, axis: AxisName, column: string): void {
  const { sort, descending } = model.state.values.tables[axis];
  if (sort !== column) {
    model.state.setTable(axis, { sort: column, descending: false });
  } else {
    model.state.setTable(axis, descending ? { sort: '', descending: false } : { descending: true });
  }
}

export function nameAt(columns: Column[], column: number): string {
  return column < 0 ? INDEX : columns[column].name;
}

/** The whole numbers from `from` to `to` (exclusive). */
export function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);
}
