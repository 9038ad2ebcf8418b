// Owns the threads that the editor thinks in. They are files of ours, so that the page's policy lets them in.
import EditorWorker from 'monaco-editor/esm/vs/editor/editor.worker.js?worker';
import JsonWorker from 'monaco-editor/esm/vs/language/json/json.worker.js?worker';
import GraphQLWorker from 'monaco-graphql/esm/graphql.worker.js?worker';

interface Environment {
  getWorker: (id: string, label: string) => Worker;
}

/** Tells the editor where its threads are; it looks for them at a global name. */
export function useOwnWorkers(): void {
  const environment: Environment = {
    getWorker(_id, label) {
      if (label === 'json') return new JsonWorker();
      if (label === 'graphql') return new GraphQLWorker();
      return new EditorWorker();
    },
  };
  Object.assign(globalThis, { MonacoEnvironment: environment });
}
