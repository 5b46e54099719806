import React, { useEffect, useId, useState } from 'react';

import { Column } from '../api';
import { ViewerModel } from '../viewer/model';
import { Value } from '../viewer/state';

const NOTHING = ' nothing';
const GENE = ' gene';
const WAIT = 150; // milliseconds after the last key
const MOST_NAMES = 20;

interface Properties {
  model: ViewerModel;
  label: string;
  value: Value | null;
  columns: Column[];
  /** What choosing nothing is called. */
  nothing: string;
  onChange: (value: Value | null) => void;
}

/** Choose a column of obs, or a gene of X, a layer or raw. */
export function ValueChoice({ model, label, value, columns, nothing, onChange }: Properties) {
  const trans = model.trans;
  const [gene, setGene] = useState(value?.kind === 'gene');
  // By what it says: a value that was not chosen yet is made anew with each rendering.
  useEffect(() => setGene(value?.kind === 'gene'), [JSON.stringify(value)]);
  const chosen = gene ? GENE : value ? `=${value.name}` : NOTHING;
  const choose = (id: string) => {
    setGene(id === GENE);
    if (id === NOTHING) {
      onChange(null);
    } else if (id !== GENE) {
      onChange({ kind: 'obs', name: id.slice(1), layer: null });
    }
  };
  return (
    <>
      <label className="pml-Field">
        <span>{label}</span>
        <select
          className="jp-mod-styled"
          value={chosen}
          onChange={event => choose(event.target.value)}
        >
          <option value={NOTHING}>{nothing}</option>
          {model.structure.n_vars > 0 && <option value={GENE}>{trans.__('a gene …')}</option>}
          <optgroup label={trans.__('Columns of obs')}>
            {columns.map(({ name }) => (
              <option key={name} value={`=${name}`}>
                {name}
              </option>
            ))}
          </optgroup>
        </select>
      </label>
      {gene && <GeneChoice model={model} value={value} label={label} onChange={onChange} />}
    </>
  );
}

/** The matrices that hold values of genes, by the names that the server takes. */
function matrices(model: ViewerModel): { id: string; label: string }[] {
  const { x, layers, raw } = model.structure;
  return [
    ...(x ? [{ id: '', label: 'X' }] : []),
    ...layers.map(({ name }) => ({ id: name, label: `layers["${name}"]` })),
    ...(raw?.x ? [{ id: 'raw/X', label: 'raw.X' }] : [])
  ];
}

function GeneChoice({ model, value, label, onChange }: Omit<Properties, 'columns' | 'nothing'>) {
  const trans = model.trans;
  const list = useId();
  const from = matrices(model);
  const present = value?.kind === 'gene' ? value : null;
  const [typed, setTyped] = useState(present?.name ?? '');
  const [layer, setLayer] = useState(present?.layer ?? from[0]?.id ?? '');
  const names = useNames(model, typed, layer);
  useEffect(() => {
    if (present) {
      setTyped(present.name);
      setLayer(present.layer ?? '');
    }
  }, [present?.name, present?.layer]);
  const take = (name: string, of = layer) => {
    if (name) {
      onChange({ kind: 'gene', name, layer: of || null });
    }
  };
  return (
    <form
      className="pml-FieldGroup"
      onSubmit={event => {
        event.preventDefault();
        void namesLike(model, typed).then(
          found => take(best(typed, found)),
          () => take(best(typed, names))
        );
      }}
    >
      <label className="pml-Field">
        <span>{trans.__('Gene')}</span>
        <input
          className="jp-mod-styled"
          list={list}
          value={typed}
          size={14}
          spellCheck={false}
          autoComplete="off"
          placeholder={trans.__('name')}
          aria-label={trans.__('%1: gene', label)}
          onChange={event => {
            setTyped(event.target.value);
            if (chosenFromList(event.nativeEvent) && names.includes(event.target.value)) {
              take(event.target.value);
            }
          }}
        />
      </label>
      <datalist id={list}>
        {names.map(name => (
          <option key={name} value={name} />
        ))}
      </datalist>
      <label className="pml-Field">
        <span>{trans.__('in')}</span>
        <select
          className="jp-mod-styled"
          value={layer}
          aria-label={trans.__('%1: matrix', label)}
          onChange={event => {
            setLayer(event.target.value);
            if (present) {
              take(present.name, event.target.value);
            }
          }}
        >
          {from.map(({ id, label }) => (
            <option key={id} value={id}>
              {label}
            </option>
          ))}
        </select>
      </label>
      <button type="submit" className="jp-mod-styled pml-Button">
        {trans.__('Show')}
      </button>
    </form>
  );
}

/** A name taken from the list arrives as a whole, not as a key. */
function chosenFromList(event: Event): boolean {
  return (
    (event as InputEvent).inputType === undefined ||
    (event as InputEvent).inputType === 'insertReplacementText'
  );
}

/** The name as typed, or the one that differs from it by case alone, or the only one that begins with it. */
export function best(typed: string, names: string[]): string {
  const wanted = typed.trim();
  const small = wanted.toLowerCase();
  // The names may still be those of what was typed before.
  const alike = names.filter(name => name.toLowerCase().startsWith(small));
  const same =
    alike.find(name => name === wanted) ?? alike.find(name => name.length === small.length);
  return same ?? (alike.length === 1 ? alike[0] : wanted);
}

/** Names of genes that begin with what was typed. Those of raw that var lacks can be typed all the same. */
async function namesLike(model: ViewerModel, typed: string, signal?: AbortSignal) {
  const query = { axis: 'var', prefix: typed.trim(), limit: MOST_NAMES };
  return (await model.request<{ names: string[] }>('anndata/names', query, { signal })).names;
}

function useNames(model: ViewerModel, typed: string, layer: string): string[] {
  const [names, setNames] = useState<string[]>([]);
  useEffect(() => {
    const own = new AbortController();
    const ask = () => {
      namesLike(model, typed, own.signal)
        .then(setNames)
        .catch(() => own.signal.aborted || setNames([]));
    };
    const timer = window.setTimeout(ask, WAIT);
    return () => {
      window.clearTimeout(timer);
      own.abort();
    };
  }, [model, model.etag, typed, layer]);
  return names;
}
