// Gives the exports the names of the component model, which AssemblyScript cannot write, and lets
// the first of them initialise the module: a plugin may have no start function.
import { Transform } from "assemblyscript/transform";

const VALIDATION = "eaves:rules/validation@1.0.0";
const PROMOTION = "eaves:rules/promotion@1.0.0";
const START = "eaves_start";

export default class extends Transform {
  afterCompile(module) {
    const start = module.getExport(START);
    const initialise = this.binaryen.getExportInfo(start).value;
    module.removeExport(START);
    for (const [name, parameters, as] of [
      ["describe", 0, `${VALIDATION}#describe`],
      ["configure", 2, `${VALIDATION}#configure`],
      ["validate", 1, `${VALIDATION}#validate`],
      ["promote", 1, `${PROMOTION}#promote`],
      ["realloc", 4, "cabi_realloc"],
    ]) {
      const { i32, createType } = this.binaryen;
      const exported = module.getExport(name);
      // Only a project with assembly/promotion.ts exports `promote`.
      if (!exported) continue;
      const inner = this.binaryen.getExportInfo(exported).value;
      const types = Array(parameters).fill(i32);
      const locals = types.map((type, index) => module.local.get(index, type));
      const body = module.block(null, [
        module.call(initialise, [], this.binaryen.none),
        module.call(inner, locals, i32),
      ], i32);
      const wrapper = `eaves/${name}`;
      module.addFunction(wrapper, createType(types), i32, [], body);
      module.removeExport(name);
      module.addFunctionExport(wrapper, as);
    }
  }
}
