// Owns the editor: GraphiQL with our examples, our way to the daemon and our colours. Everything of React and Monaco hangs
// on this file; nothing else may import it but the playground's page, lazily.
import '@graphiql/react/style.css';
import '@graphiql/plugin-doc-explorer/style.css';
import '@graphiql/plugin-history/style.css';
import 'graphiql/graphiql.css';
import './editor.css';
import { GraphiQL } from 'graphiql';
import { createElement } from 'react';
import { createRoot } from 'react-dom/client';
import { theme } from '$lib/theme.svelte';
import { examples } from './examples';
import { openWire } from './wire';
import { useOwnWorkers } from './workers';

const wayBack = createElement(
  GraphiQL.Logo,
  null,
  createElement('a', { href: '/', className: 'way-back' }, 'Dashboard'),
);

/** Where GraphiQL keeps the tabs that the person left. */
const KEPT_TABS = 'graphiql:tabState';

/** Shows it there until the returned function is called. */
export function open(place: HTMLElement): () => void {
  useOwnWorkers();
  const wire = openWire();
  const root = createRoot(place);
  root.render(
    createElement(GraphiQL, {
      fetcher: wire.fetch,
      defaultTabs: examples.map(({ query, variables }) => ({ query, variables, headers: null })),
      // The first tab takes its variables from here, unless the person has tabs already.
      ...(localStorage.getItem(KEPT_TABS) === null ? { initialVariables: examples[0]?.variables ?? '' } : {}),
      forcedTheme: theme.isDark ? 'dark' : 'light',
      // The token is there already, and must not be kept with the tabs.
      isHeadersEditorEnabled: false,
      shouldPersistHeaders: false,
      children: wayBack,
    }),
  );
  return () => {
    root.unmount();
    wire.close();
  };
}
