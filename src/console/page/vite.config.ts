import { readFileSync } from 'node:fs';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { type Plugin, defineConfig } from 'vite';

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), 'utf8');

/** Says in the bundle what is in it, and puts the license of that beside it. */
const licenses: Plugin = {
  name: 'licenses',
  enforce: 'post',
  generateBundle(_, bundle) {
    const notice = read('NOTICE');
    for (const file of Object.values(bundle)) {
      if (file.type === 'chunk') file.code = `/*!\n${notice}*/\n${file.code}`;
    }
    const source = `${notice}\n${read('node_modules/svelte/LICENSE.md')}`;
    this.emitFile({ type: 'asset', fileName: 'licenses.txt', source });
  },
};

export default defineConfig({
  plugins: [svelte(), licenses],
  build: {
    outDir: '../assets',
    emptyOutDir: true,
    target: 'es2022',
    modulePreload: { polyfill: false },
    // Names without hashes: the program embeds them by name.
    rollupOptions: { output: { entryFileNames: 'console.js', assetFileNames: 'console[extname]' } },
  },
});
