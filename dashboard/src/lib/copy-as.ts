// Owns how an action is written for other doors: CLI, curl, GraphQL. The token is never written out.
import { stringifyDocument, type AnyVariables, type TypedDocumentNode } from '@urql/core';
import { shellWord } from './format';

export interface CopyAs {
  readonly cli: string;
  readonly curl: string;
  readonly graphql: string;
}

/** `argv` is the command of the CLI, word by word; the document and its variables are those of the page's own request. */
export function copyAs<Data, Variables extends AnyVariables>(
  argv: readonly string[],
  document: TypedDocumentNode<Data, Variables>,
  variables: Variables,
): CopyAs {
  const query = stringifyDocument(document).replace(/\s*__typename/g, '');
  const body = JSON.stringify({ query, variables });
  const address = `${location.origin}/graphql`;
  return {
    cli: argv.map(shellWord).join(' '),
    curl: [
      `curl -s ${shellWord(address)}`,
      `-H 'content-type: application/json'`,
      `-H "authorization: Bearer $BEADLE_TOKEN"`,
      `-d ${shellWord(body)}`,
    ].join(' \\\n  '),
    graphql: `${query.trim()}\n\n# Variables:\n${JSON.stringify(variables, null, 2).replace(/^/gm, '# ')}`,
  };
}
