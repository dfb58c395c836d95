import { html } from 'hono/html';
import type { HtmlEscapedString } from 'hono/utils/html';

type Html = HtmlEscapedString | Promise<HtmlEscapedString>;

/** The frame of every page of the console. Texts put into `html` templates are escaped by them. */
export function page(title: string, body: Html): Html {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${title} - s3d</title>
        <link rel="stylesheet" href="/console.css" />
      </head>
      <body>
        <header><a href="/">s3d</a><span>${title}</span></header>
        <main>${body}</main>
      </body>
    </html>`;
}

/** No script, no frame, no form to elsewhere: whatever a page shows can't act. */
export const pagePolicy =
  "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

export const stylesheet = `:root { color-scheme: light dark; --line: #8884; --quiet: #888; --good: #2a8; --warn: #c80; --bad: #d33 }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 }
header { display: flex; gap: 1rem; align-items: baseline; padding: .8rem 1.5rem; border-bottom: 1px solid var(--line) }
header a { font-weight: 700; text-decoration: none; color: inherit }
header span { color: var(--quiet) }
main { max-width: 70rem; margin: 0 auto; padding: 1rem 1.5rem 4rem }
h2 { font-size: 1rem; margin: 2rem 0 .5rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
th { font-weight: 600; color: var(--quiet) }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
td.key { overflow-wrap: anywhere }
progress { width: 8rem; vertical-align: middle }
.up, .ok { color: var(--good) } .suspect, .unknown, .candidate { color: var(--warn) } .down, .wrong { color: var(--bad) }
.quiet { color: var(--quiet) }
`;
