import React, { useEffect, useRef } from 'react';

interface PopoverProps {
  label: string;
  /** Left edge within the positioned element around it. */
  left: number;
  top: number;
  onClose: () => void;
  children: React.ReactNode;
}

const FOCUSABLE = 'input:not([disabled]), button:not([disabled]), select, [tabindex="0"]';

/** A small dialog beside what opened it; closed by Escape or a click elsewhere, focus goes back. */
export function Popover({ label, left, top, onClose, children }: PopoverProps): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const close = useRef(onClose);
  close.current = onClose;
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    box.current?.querySelector<HTMLElement>(FOCUSABLE)?.focus();
    const outside = (event: PointerEvent) => {
      // The button that opened it closes it by its own click.
      const inside = box.current?.closest('.pml-Anchor') ?? box.current;
      if (!inside?.contains(event.target as Node)) {
        close.current();
      }
    };
    document.addEventListener('pointerdown', outside, true);
    return () => {
      document.removeEventListener('pointerdown', outside, true);
      if (!document.activeElement || document.activeElement === document.body) {
        before?.focus();
      }
    };
  }, []);
  const onKeyDown = (event: React.KeyboardEvent) => {
    event.stopPropagation();
    if (event.key === 'Escape') {
      event.preventDefault();
      close.current();
    } else if (event.key === 'Tab') {
      keepWithin(event, box.current!);
    }
  };
  return (
    <div
      className="pml-Popover"
      role="dialog"
      aria-label={label}
      ref={box}
      style={{ left, top }}
      onKeyDown={onKeyDown}
    >
      {children}
    </div>
  );
}

/** Tab goes round within the dialog. */
function keepWithin(event: React.KeyboardEvent, box: HTMLElement): void {
  const all = [...box.querySelectorAll<HTMLElement>(FOCUSABLE)];
  const [first, last] = [all[0], all[all.length - 1]];
  if (event.shiftKey && document.activeElement === first) {
    event.preventDefault();
    last.focus();
  } else if (!event.shiftKey && document.activeElement === last) {
    event.preventDefault();
    first.focus();
  }
}
