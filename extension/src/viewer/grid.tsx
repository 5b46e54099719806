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
import { Place, moved } from './grid_keys';
import { HEADER, Header, NAMES, ROW, Row, nameAt, range, sortBy } from './grid_parts';
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
  const { model, axis, columns, pages, selection } = props;
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
  const [menu, setMenu] = useState<number | null>(null);
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

  const { active, setActive, goTo, select, onKeyDown } = useActiveCell({
    ...{ props, box, edges, scale, position, setPosition },
    onMenu: setMenu
  });
  useImperativeHandle(handle, () => ({
    seen: () => ({ first, end: Math.min(n, Math.ceil(position + scale.viewHeight / ROW)) }),
    goTo: column => goTo({ row: active.row, column })
  }));

  const rows = Array.from({ length: Math.max(0, end - first) }, (_, i) => first + i);
  const seenActive =
    (active.row < 0 || (active.row >= first && active.row < end)) &&
    (active.column < 0 || (active.column >= from && active.column < to));
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
        <MenuOfColumn
          model={model}
          axis={axis}
          column={columns[menu]}
          left={clamp(NAMES + edges[menu] - view.left, 0, view.width - 310)}
          onClose={() => setMenu(null)}
        />
      )}
    </div>
  );
});

interface MenuProps {
  model: ViewerModel;
  axis: AxisName;
  column: Column;
  left: number;
  onClose: () => void;
}

function MenuOfColumn({ model, axis, column, left, onClose }: MenuProps): JSX.Element {
  const label = model.trans.__('Column %1', column.name);
  return (
    <Popover label={label} left={left} top={HEADER} onClose={onClose}>
      <ColumnMenu key={column.name} model={model} axis={axis} column={column} onClose={onClose} />
    </Popover>
  );
}

interface ActiveCellOptions {
  props: GridProps;
  box: React.RefObject<HTMLDivElement>;
  edges: number[];
  scale: Scale;
  position: number;
  setPosition: (position: number) => void;
  onMenu: (column: number) => void;
}

/** The cell that keys act on, and what they do: move, select, sort, copy, open a menu. */
function useActiveCell(options: ActiveCellOptions) {
  const { props, box, edges, scale, position, setPosition, onMenu } = options;
  const { model, axis, columns, selection, onSelect, onCopy } = props;
  const [active, setActive] = useState<Place>({ row: 0, column: -1 });
  const anchor = useRef(0);
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
      onMenu(active.column);
    } else if (row >= 0 && event.key === ' ') {
      select(row, event.shiftKey);
    } else {
      const limits = {
        rows: scale.n,
        columns: columns.length,
        page: Math.floor(scale.viewHeight / ROW)
      };
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
  return { active, setActive, goTo, select, onKeyDown };
}

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

/** Left edges of the columns, and the right edge of the last, from the end of the names. */
function edgesOf(columns: Column[]): number[] {
  const edges = [0];
  for (const { name, type } of columns) {
    const wide = type === 'category' || type === 'string' || type === 'date';
    edges.push(edges[edges.length - 1] + clamp(name.length * 8 + 52, wide ? 130 : 100, 280));
  }
  return edges;
}
