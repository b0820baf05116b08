// Bundles a plugin and makes a component of it that imports nothing:
//   node build.mjs <entry> <sdk> <wit folder> <component.wasm>
import { componentize } from "@bytecodealliance/componentize-js";
import { build } from "esbuild";
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";

const [entry, sdk, wit, out] = process.argv.slice(2).map((path) => resolve(path));
const work = await mkdtemp(join(dirname(out), "js-"));
try {
  const bundle = join(work, "plugin.js");
  const { metafile } = await build({
    entryPoints: [entry],
    outfile: bundle,
    bundle: true,
    format: "esm",
    platform: "neutral",
    target: "es2022",
    alias: { "eaves-plugin-sdk": join(sdk, "src", "index.js") },
    metafile: true,
    logLevel: "error",
  });
  const promotes = Object.values(metafile.outputs).some(({ exports }) => exports.includes("promotion"));
  const { component } = await componentize({
    sourcePath: bundle,
    witPath: wit,
    worldName: promotes ? "plugin-with-promotion" : "plugin",
    // Every part of WASI that the engine could use is replaced by a stub.
    disableFeatures: ["random", "stdio", "clocks", "http", "fetch-event"],
  });
  await writeFile(`${out}.part`, component);
  await rename(`${out}.part`, out);
} catch (error) {
  // esbuild has printed what it found.
  if (!error.errors) console.error(error.message ?? error);
  process.exitCode = 1;
} finally {
  await rm(work, { recursive: true, force: true });
}
