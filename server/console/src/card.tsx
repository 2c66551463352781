import type { ReactNode } from "react";

interface CardProps {
  title: string;
  /** Beside the title. */
  note?: string;
  tools?: ReactNode;
  className?: string;
  children: ReactNode;
}

/** A titled part of the page. */
export function Card({ title, note, tools, className = "", children }: CardProps) {
  return (
    <section className={`card ${className}`} aria-label={title}>
      <header>
        <h2>{title}</h2>
        {note && <span className="note">{note}</span>}
        {tools && <div className="tools">{tools}</div>}
      </header>
      {children}
    </section>
  );
}

/** What stands where there is nothing to show yet. */
export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="empty">
      <b>{title}</b>
      {children && <span>{children}</span>}
    </div>
  );
}
