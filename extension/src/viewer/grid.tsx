import React, {
  forwardRef,
  useEffect,
  useImperativeHandle,
  useLayoutEffect,
  useMemo,
  useRef,
  useState
} from 'react';

import { AxisName, Column } from '../api';
import { ColumnMenu } from './column_menu';
import { cell, typeName } from './format';
import { Place, moved } from './grid_keys';
import { ViewerModel } from './model';
import { Pages } from './pages';
import { Popover } from './popover';
import {
  Scale,
  clamp,
  columnsSeen,
  isScaled,
  lastPosition,
  positionAt,
  positionToSee,
  scrollHeight,
  scrollTopOf
} from './scroll';
import { INDEX } from './state';

const ROW = 26;
const HEADER = 46;
const NAMES = 190;
const BEYOND = 2;

/** Rows from first to end (exclusive), as the table is sorted and filtered. */
export interface Selection {
  first: number;
  end: number;
}

export interface GridHandle {
  /** The rows in view. */
  seen: () => Selection;
  /** Bring a column into view. */
  goTo: (column: number) => void;
}

interface GridProps {
  model: ViewerModel;
  axis: AxisName;
  columns: Column[];
  pages: Pages;
  selection: Selection | null;
  onSelect: (selection: Selection | null) => void;
  onCopy: () => void;
}

/** A table of which only the rows and columns in view are in the page. The focus stays on the grid itself. */
export const Grid = forwardRef<GridHandle, GridProps>(function Grid(props, handle) {
  const { model, axis, columns, pages, selection, onSelect, onCopy } = props;
  const { trans } = model;
  const box = useRef<HTMLDivElement>(null);
  const view = useView(box);
  const n = pages.nMatching ?? 0;
  const scale = { n, rowHeight: ROW, viewHeight: Math.max(0, view.height - HEADER) };
  const { position, setPosition, onScroll } = usePosition(box, scale);
  const edges = useMemo(() => edgesOf(columns), [columns]);
  const total = NAMES + edges[columns.length];
  const [from, to] = columnsSeen(edges, view.left, Math.max(0, view.width - NAMES));
  const first = Math.max(0, Math.floor(position));
  const end = Math.min(n, Math.ceil(position + scale.viewHeight / ROW) + BEYOND);
  const [active, setActive] = useState<Place>({ row: 0, column: -1 });
  const [menu, setMenu] = useState<number | null>(null);
  const anchor = useRef(0);
  const id = (place: Place) => `pml-${model.id}-${axis}-${place.row}-${place.column}`;

  useEffect(() => {
    if (view.height > 0) {
      pages.want({
        firstRow: first,
        endRow: Math.max(end, first + 1),
        firstColumn: from,
        endColumn: Math.max(to, from + 1)
      });
    }
  }, [pages, first, end, from, to, view.height]);

  const seeColumn = (column: number) => {
    const element = box.current;
    if (element && column >= 0) {
      const [left, right] = [edges[column], edges[column + 1]];
      const width = element.clientWidth - NAMES;
      if (left < element.scrollLeft) {
        element.scrollLeft = left;
      } else if (right > element.scrollLeft + width) {
        element.scrollLeft = right - width;
      }
    }
  };
  const goTo = (place: Place) => {
    setActive(place);
    seeColumn(place.column);
    if (place.row >= 0) {
      setPosition(positionToSee(place.row, position, scale));
    }
  };
  useImperativeHandle(handle, () => ({
    seen: () => ({ first, end: Math.min(n, Math.ceil(position + scale.viewHeight / ROW)) }),
    goTo: column => goTo({ row: active.row, column })
  }));

  const select = (row: number, extend: boolean) => {
    if (!extend) {
      anchor.current = row;
    }
    const [low, high] = [Math.min(anchor.current, row), Math.max(anchor.current, row)];
    onSelect({ first: low, end: high + 1 });
  };
  const onKeyDown = (event: React.KeyboardEvent) => {
    const row = active.row;
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'c') {
      onCopy();
    } else if (event.key === 'Escape' && selection) {
      onSelect(null);
    } else if (row < 0 && (event.key === 'Enter' || event.key === ' ')) {
      sortBy(model, axis, nameAt(columns, active.column));
    } else if (row < 0 && active.column >= 0 && event.key === 'ArrowDown' && event.altKey) {
      setMenu(active.column);
    } else if (row >= 0 && event.key === ' ') {
      select(row, event.shiftKey);
    } else {
      const limits = { rows: n, columns: columns.length, page: Math.floor(scale.viewHeight / ROW) };
      const next = moved(active, event, limits);
      if (!next) {
        return;
      }
      if (event.shiftKey && next.row >= 0 && next.row !== row && row >= 0) {
        if (!selection) {
          anchor.current = row;
        }
        select(next.row, true);
      }
      goTo(next);
    }
    event.preventDefault();
    event.stopPropagation();
  };

  const rows = Array.from({ length: Math.max(0, end - first) }, (_, i) => first + i);
  const seenActive = active.row < 0 || (active.row >= first && active.row < end);
  return (
    <div className="pml-GridBox">
      <div
        className="pml-Grid"
        ref={box}
        role="grid"
        tabIndex={0}
        aria-label={axis === 'obs' ? trans.__('Observations') : trans.__('Variables')}
        aria-describedby={`pml-${model.id}-${axis}-keys`}
        aria-rowcount={n + 1}
        aria-colcount={columns.length + 1}
        aria-multiselectable
        aria-busy={pages.nMatching === null}
        aria-activedescendant={seenActive ? id(active) : undefined}
        onScroll={onScroll}
        onKeyDown={onKeyDown}
      >
        <div
          className="pml-Grid-space"
          style={{ height: HEADER + scrollHeight(scale), width: total }}
        >
          <div className="pml-Grid-view" style={{ height: view.height, width: total }}>
            <div
              className="pml-Grid-header"
              role="row"
              aria-rowindex={1}
              style={{ height: HEADER }}
            >
              {[-1, ...range(from, to)].map(column => (
                <Header
                  key={column}
                  model={model}
                  axis={axis}
                  columns={columns}
                  column={column}
                  id={id({ row: -1, column })}
                  left={column < 0 ? 0 : NAMES + edges[column]}
                  width={column < 0 ? NAMES : edges[column + 1] - edges[column]}
                  active={active.row === -1 && active.column === column}
                  onMenu={() => setMenu(column)}
                />
              ))}
            </div>
            <div
              role="rowgroup"
              style={{ transform: `translateY(${-(position - first) * ROW}px)` }}
            >
              {rows.map(row => (
                <Row
                  key={row}
                  row={row}
                  pages={pages}
                  edges={edges}
                  from={from}
                  to={to}
                  id={id}
                  active={active.row === row ? active.column : null}
                  selected={!!selection && row >= selection.first && row < selection.end}
                  onPress={(column, extend) => {
                    setActive({ row, column });
                    select(row, extend);
                  }}
                />
              ))}
            </div>
          </div>
        </div>
      </div>
      {pages.nMatching === 0 && (
        <p className="pml-Grid-empty" role="status">
          {model.filters(axis).length
            ? trans.__('No row is left by the filters.')
            : trans.__('The table has no rows.')}
        </p>
      )}
      <p id={`pml-${model.id}-${axis}-keys`} className="pml-Hidden">
        {trans.__(
          'Arrow keys move, space selects rows, shift extends, control C copies. In the first row, enter sorts and alt down opens the menu of the column.'
        )}
      </p>
      {menu !== null && menu < columns.length && (
        <Popover
          label={trans.__('Column %1', columns[menu].name)}
          left={clamp(NAMES + edges[menu] - view.left, 0, view.width - 310)}
          top={HEADER}
          onClose={() => setMenu(null)}
        >
          <ColumnMenu
            key={columns[menu].name}
            model={model}
            axis={axis}
            column={columns[menu]}
            onClose={() => setMenu(null)}
          />
        </Popover>
      )}
    </div>
  );
});

/** The size of the grid and how far it is scrolled sideways. */
function useView(box: React.RefObject<HTMLDivElement>) {
  const [view, setView] = useState({ width: 0, height: 0, left: 0 });
  useLayoutEffect(() => {
    const element = box.current!;
    const update = () => {
      const { clientWidth: width, clientHeight: height, scrollLeft: left } = element;
      if (width > 0) {
        setView(old =>
          old.width === width && old.height === height && old.left === left
            ? old
            : { width, height, left }
        );
      }
    };
    const observer = new ResizeObserver(update);
    observer.observe(element);
    element.addEventListener('scroll', update, { passive: true });
    update();
    return () => {
      observer.disconnect();
      element.removeEventListener('scroll', update);
    };
  }, [box]);
  return view;
}

/** The row at the top, kept beside the scroll bar where that is too coarse to tell it. */
function usePosition(box: React.RefObject<HTMLDivElement>, scale: Scale) {
  const [at, setAt] = useState(0);
  const present = useRef({ at, scale });
  const position = clamp(at, 0, lastPosition(scale));
  present.current = { at: position, scale };
  const expected = useRef(0);
  const setPosition = (next: number) => {
    const top = scrollTopOf(next, present.current.scale);
    expected.current = top;
    if (box.current) {
      box.current.scrollTop = top;
    }
    setAt(next);
  };
  const onScroll = () => {
    const top = box.current!.scrollTop;
    if (Math.abs(top - expected.current) >= 1) {
      expected.current = top;
      setAt(positionAt(top, present.current.scale));
    }
  };
  const scaled = isScaled(scale);
  useEffect(() => {
    const element = box.current;
    if (!scaled || !element) {
      return;
    }
    const onWheel = (event: WheelEvent) => {
      if (event.deltaY && !event.shiftKey && !event.ctrlKey) {
        event.preventDefault();
        const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 1 : 1 / ROW;
        const { at: now, scale: of } = present.current;
        setPosition(clamp(now + event.deltaY * unit, 0, lastPosition(of)));
      }
    };
    element.addEventListener('wheel', onWheel, { passive: false });
    return () => element.removeEventListener('wheel', onWheel);
  }, [scaled]);
  return { position, setPosition, onScroll };
}

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

function Header(props: HeaderProps): JSX.Element {
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

function Row(props: RowProps): JSX.Element {
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
function sortBy(model: ViewerModel, axis: AxisName, column: string): void {
  const { sort, descending } = model.state.values.tables[axis];
  if (sort !== column) {
    model.state.setTable(axis, { sort: column, descending: false });
  } else {
    model.state.setTable(axis, descending ? { sort: '', descending: false } : { descending: true });
  }
}

function nameAt(columns: Column[], column: number): string {
  return column < 0 ? INDEX : columns[column].name;
}

/** Left edges of the columns, and the right edge of the last, from the end of the names. */
function edgesOf(columns: Column[]): number[] {
  const edges = [0];
  for (const { name, type } of columns) {
    const wide = type === 'category' || type === 'string' || type === 'date';
    edges.push(edges[edges.length - 1] + clamp(name.length * 8 + 52, wide ? 130 : 100, 280));
  }
  return edges;
}

function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);
}
