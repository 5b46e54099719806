import { useCallback, useEffect, useState } from 'react';

import { RequestError, asRequestError } from '../api';
import { Progress } from '../viewer/model';
import { useWhileShown } from '../viewer/shown';

/** What a request has brought so far. */
export interface Answer<T> {
  /** The last answer, also while the next one is awaited; null after a failure. */
  value: T | null;
  error: RequestError | null;
  busy: boolean;
  progress: Progress | null;
  cancelled: boolean;
  cancel: () => void;
  again: () => void;
}

type Ask<T> = (signal: AbortSignal, onProgress: (progress: Progress) => void) => Promise<T>;

const NOTHING = { value: null, error: null, busy: false, progress: null, cancelled: false };

/** Ask whenever the key changes and is seen; the request before is given up. A null key asks nothing. */
export function useAnswer<T>(wanted: string | null, ask: Ask<T>): Answer<T> {
  const key = useWhileShown(wanted);
  const [state, setState] = useState<Omit<Answer<T>, 'cancel' | 'again'>>(NOTHING);
  const [round, setRound] = useState(0);
  const [running, setRunning] = useState<AbortController | null>(null);
  useEffect(() => {
    if (key === null) {
      setState(NOTHING);
      return;
    }
    const own = new AbortController();
    setRunning(own);
    setState(before => ({ ...NOTHING, value: before.value, busy: true }));
    const onProgress = (progress: Progress) =>
      own.signal.aborted || setState(now => (now.busy ? { ...now, progress } : now));
    ask(own.signal, onProgress).then(
      value => own.signal.aborted || setState({ ...NOTHING, value }),
      error => own.signal.aborted || setState({ ...NOTHING, error: asRequestError(error) })
    );
    return () => own.abort();
    // `ask` is made anew with each rendering; all that it depends on is in the key.
  }, [key, round]);
  const cancel = useCallback(() => {
    running?.abort();
    setState({ ...NOTHING, cancelled: true });
  }, [running]);
  const again = useCallback(() => setRound(n => n + 1), []);
  return { ...state, cancel, again };
}
