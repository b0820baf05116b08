//! What is refused before it reaches the compiler.
//!
//! Running hostile code is contained; compiling it is the danger: a few bytes of
//! nested components unfold into gigabytes. So everything that multiplies is counted
//! here first, without building anything, and the rest is left to the limits of the
//! process that compiles.

use wasmparser::{CanonicalFunction, CompositeInnerType, Encoding, Parser, Payload};

/// How much of what a plugin may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanLimits {
    /// Bytes of the component.
    pub bytes: usize,
    /// How deep components may be nested.
    pub depth: usize,
    /// Nested components.
    pub components: usize,
    /// Instances of components, and of modules in nested components: they multiply.
    pub instances: usize,
    /// Instances of modules, and bundles of their exports, in the outermost component: each is
    /// there once.
    pub core_instances: usize,
    /// Core modules.
    pub modules: usize,
    /// Functions, all modules together.
    pub functions: usize,
    /// Bytes of one function.
    pub function_bytes: usize,
    /// Locals of one function.
    pub locals: usize,
    /// Parameters, and results, of one function.
    pub parameters: usize,
    /// Types, imports, exports, globals, elements and data segments, of each kind.
    pub items: usize,
    /// Bytes of component types: they unfold too.
    pub type_bytes: usize,
}

impl Default for ScanLimits {
    fn default() -> Self {
        Self {
            // A scripting language brings its interpreter: JavaScript 12 MB, Python 18 MB in 38
            // modules. What a large component may cost is up to `WorkerLimits::for_component`.
            bytes: 24 << 20,
            depth: 3,
            components: 8,
            instances: 32,
            core_instances: 128,
            modules: 48,
            functions: 20_000,
            function_bytes: 512 << 10,
            locals: 2_000,
            parameters: 64,
            items: 20_000,
            type_bytes: 64 << 10,
        }
    }
}

/// Why a plugin is not compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not WebAssembly.
    #[error("not a WebAssembly component: {0}")]
    Malformed(String),
    /// A core module.
    #[error("this is a core module, not a component: make one with `eaves plugin build`")]
    CoreModule,
    /// More of something than a plugin may have.
    #[error("{what}: {found}, and a plugin may have {limit}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much there is, or more.
        found: usize,
        /// How much there may be.
        limit: usize,
    },
    /// It wants something from outside.
    #[error("it imports {0:?}, and a plugin is given nothing: no WASI, no clock, no random numbers")]
    Import(String),
    /// It would run code before it is called.
    #[error("it has a start function")]
    StartFunction,
    /// It uses a part of the component model that a plugin has no use for.
    #[error("it uses {0}, which a plugin has no use for")]
    Feature(&'static str),
}

#[derive(Default)]
struct Counts {
    components: usize,
    instances: usize,
    core_instances: usize,
    modules: usize,
    functions: usize,
    imports: usize,
    types: usize,
    items: usize,
    type_bytes: usize,
}

fn malformed(error: wasmparser::BinaryReaderError) -> Refused {
    Refused::Malformed(error.to_string())
}

fn within(what: &'static str, found: usize, limit: usize) -> Result<(), Refused> {
    if found > limit { Err(Refused::TooMuch { what, found, limit }) } else { Ok(()) }
}

fn add(sum: &mut usize, more: u32, what: &'static str, limit: usize) -> Result<(), Refused> {
    *sum = sum.saturating_add(more as usize);
    within(what, *sum, limit)
}

/// Looks through a component, nested ones included.
pub fn scan(wasm: &[u8], limits: &ScanLimits) -> Result<(), Refused> {
    within("bytes", wasm.len(), limits.bytes)?;
    if Parser::is_core_wasm(wasm) {
        return Err(Refused::CoreModule);
    }
    let mut counts = Counts::default();
    // Whether each enclosing part is a component; the last is the current one.
    let mut nesting: Vec<Encoding> = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(malformed)?;
        match &payload {
            Payload::Version { encoding, .. } => {
                nesting.push(*encoding);
                within("nested components", nesting.len(), limits.depth + 1)?;
            }
            Payload::End(_) => drop(nesting.pop()),
            _ => {}
        }
        if nesting.last() == Some(&Encoding::Component) {
            component_part(&payload, nesting.len(), &mut counts, limits)?;
        } else {
            module_part(&payload, &mut counts, limits)?;
        }
    }
    Ok(())
}

fn component_part(
    payload: &Payload<'_>,
    depth: usize,
    counts: &mut Counts,
    limits: &ScanLimits,
) -> Result<(), Refused> {
    let items = limits.items;
    match payload {
        Payload::ModuleSection { .. } => add(&mut counts.modules, 1, "modules", limits.modules),
        Payload::ComponentSection { .. } => {
            add(&mut counts.components, 1, "nested components", limits.components)
        }
        Payload::InstanceSection(r) if depth == 1 => {
            add(&mut counts.core_instances, r.count(), "instances of modules", limits.core_instances)
        }
        Payload::InstanceSection(r) => add(&mut counts.instances, r.count(), "instances", limits.instances),
        Payload::ComponentInstanceSection(r) => {
            add(&mut counts.instances, r.count(), "instances", limits.instances)
        }
        Payload::CoreTypeSection(r) => {
            add(&mut counts.types, r.count(), "types", items)?;
            within("bytes of types", r.range().len(), limits.type_bytes)
        }
        Payload::ComponentTypeSection(r) => {
            add(&mut counts.types, r.count(), "types", items)?;
            counts.type_bytes += r.range().len();
            within("bytes of types", counts.type_bytes, limits.type_bytes)
        }
        Payload::ComponentImportSection(r) => {
            add(&mut counts.imports, r.count(), "imports", items)?;
            // A nested component is given its imports by the one around it.
            match r.clone().into_iter().next() {
                Some(import) if depth == 1 => {
                    Err(Refused::Import(import.map_err(malformed)?.name.name.into()))
                }
                _ => Ok(()),
            }
        }
        Payload::ComponentCanonicalSection(r) => {
            add(&mut counts.items, r.count(), "canonical functions", items)?;
            for function in r.clone() {
                match function.map_err(malformed)? {
                    CanonicalFunction::Lift { .. } | CanonicalFunction::Lower { .. } => {}
                    _ => return Err(Refused::Feature("resources, tasks or streams")),
                }
            }
            Ok(())
        }
        Payload::ComponentAliasSection(r) => add(&mut counts.items, r.count(), "aliases", items),
        Payload::ComponentExportSection(r) => add(&mut counts.items, r.count(), "exports", items),
        Payload::ComponentStartSection { .. } => Err(Refused::StartFunction),
        _ => Ok(()),
    }
}

fn module_part(payload: &Payload<'_>, counts: &mut Counts, limits: &ScanLimits) -> Result<(), Refused> {
    let items = limits.items;
    match payload {
        Payload::StartSection { .. } => Err(Refused::StartFunction),
        Payload::TypeSection(r) => {
            add(&mut counts.types, r.count(), "types", items)?;
            for group in r.clone() {
                let group = group.map_err(malformed)?;
                for ty in group.types() {
                    if let CompositeInnerType::Func(f) = &ty.composite_type.inner {
                        within("parameters of a function", f.params().len(), limits.parameters)?;
                        within("results of a function", f.results().len(), limits.parameters)?;
                    }
                }
            }
            Ok(())
        }
        Payload::ImportSection(r) => add(&mut counts.imports, r.count(), "imports", items),
        Payload::FunctionSection(r) => add(&mut counts.functions, r.count(), "functions", limits.functions),
        Payload::CodeSectionEntry(body) => {
            within("bytes of a function", body.range().len(), limits.function_bytes)?;
            let mut locals = 0;
            for declared in body.get_locals_reader().map_err(malformed)? {
                add(&mut locals, declared.map_err(malformed)?.0, "locals of a function", limits.locals)?;
            }
            Ok(())
        }
        Payload::TableSection(r) => add(&mut counts.items, r.count(), "tables", items),
        Payload::GlobalSection(r) => add(&mut counts.items, r.count(), "globals", items),
        Payload::ExportSection(r) => add(&mut counts.items, r.count(), "exports", items),
        Payload::ElementSection(r) => add(&mut counts.items, r.count(), "elements", items),
        Payload::DataSection(r) => add(&mut counts.items, r.count(), "data segments", items),
        _ => Ok(()),
    }
}
