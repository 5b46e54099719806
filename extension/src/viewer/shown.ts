import { createContext, useContext, useRef } from 'react';

/** Whether the tab that a component is in is the one that is seen. */
export const Shown = createContext(true);

/** A value as it was when its tab was last seen: a hidden tab asks for nothing new. */
export function useWhileShown<T>(value: T): T {
  const shown = useContext(Shown);
  const last = useRef(value);
  if (shown) {
    last.current = value;
  }
  return last.current;
}
